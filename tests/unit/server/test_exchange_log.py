from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from rtmpsrv import log
from rtmpsrv.config import Config
from rtmpsrv.protocol import amf0, events
from rtmpsrv.protocol.amf_values import EcmaArray
from rtmpsrv.server import exchange_log

SECRET = "stream-key-7Q"


@pytest.fixture(autouse=True)
def _restore_loggers() -> Iterator[None]:
    root = logging.getLogger("rtmpsrv")
    saved = root.handlers, root.propagate, root.level
    yield
    root.handlers, root.propagate = saved[0], saved[1]
    root.setLevel(saved[2])


def lines_of(*batch: tuple[int, int, int, bytes, int], trace: str = "NO") -> list[str]:
    """Log messages as received; return the lines without their heads."""
    stream = io.StringIO()
    log.setup(Config.load({"LOG_DEBUG": "YES", "LOG_TRACE": trace}, memory_bytes=0)[0], stream)
    exchange_log.received(log.session_logger("SERVER:TCP", 1), batch)
    return [line.partition("[#1] ")[2] for line in stream.getvalue().splitlines()]


def command(*values: object, type_id: int = 20) -> tuple[int, int, int, bytes, int]:
    return (type_id, 0, 1, (b"\0" if type_id == 17 else b"") + amf0.encode(*values), 3)


def test_commands_are_named_with_their_transaction() -> None:
    assert lines_of(command("publish", 5.0, None, SECRET), command("createStream", 2.0, type_id=17)) == [
        "[DEBUG] < publish transaction=5 msid=1",
        "[DEBUG] < createStream transaction=2 msid=1",
    ]


def test_data_is_named_with_its_length() -> None:
    payload = amf0.encode("@setDataFrame", "onMetaData", EcmaArray({"title": SECRET}))
    assert lines_of((18, 0, 1, payload, 4), (15, 0, 1, b"\0" + payload, 4)) == [
        f"[DEBUG] < data onMetaData msid=1, {len(payload)} bytes",
        f"[DEBUG] < data onMetaData msid=1, {len(payload) + 1} bytes",
    ]


def test_control_messages_that_change_something_are_told() -> None:
    batch = [(kind, 0, 0, (4096).to_bytes(4, "big"), 2) for kind in (1, 3, 5)]
    assert lines_of(*batch, (4, 0, 0, bytes(6), 2)) == [
        "[DEBUG] < Set Chunk Size 4096",
        "[DEBUG] < Window Acknowledgement Size 4096",
    ]


def test_media_is_never_told() -> None:
    assert (
        lines_of((8, 0, 1, b"\xaf\x01", 4), (9, 0, 1, b"\x17\x01", 6), (22, 0, 1, b"", 6), trace="YES") == []
    )


def test_trace_shows_contents_without_texts_of_the_peer() -> None:
    properties = {
        "app": SECRET,
        "objectEncoding": 3.0,
        "list": [True, None, {"a": {"b": {"c": 1.0}}}],
        SECRET: "live",
    }
    (_, line) = lines_of(command("connect", 1.0, properties), trace="YES")
    assert line == (
        f"[TRACE] < type=20 csid=3 msid=1 timestamp=0 bytes={len(command('connect', 1.0, properties)[3])} "
        "connect, 1.0, {app: <13 characters>, objectEncoding: 3.0, <4 characters>: [True, None, "
        "{<1 characters>: {<1 characters>: <dict>}}], <13 characters>: live}"
    )


@pytest.mark.parametrize("payload", [SECRET.encode(), b"\x02\x00\xff" + SECRET.encode(), b"", b"\x05"])
@pytest.mark.parametrize("type_id", [0, 15, 16, 17, 18, 19, 20])
def test_what_does_not_decode_is_not_shown(type_id: int, payload: bytes) -> None:
    lines = lines_of((type_id, 0, 1, payload, 3), trace="YES")
    assert lines
    assert not [line for line in lines if SECRET in line or SECRET.encode().hex() in line]


def test_control_bodies_are_shown_by_trace() -> None:
    (line,) = lines_of((4, 0, 0, bytes.fromhex("000300000001000003e8"), 2), trace="YES")
    assert line.endswith(" 000300000001000003e8")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (events.PublishRefused("NetStream.Publish.BadName", "why"), "NetStream.Publish.BadName"),
        (events.PublishAccepted(f"/app/{SECRET} is now published."), "PublishAccepted()"),
        (events.PublishEnded(f"/app/{SECRET} is now unpublished."), "PublishEnded()"),
    ],
)
def test_answers_are_told_without_the_key(event: events.Event, text: str) -> None:
    stream = io.StringIO()
    log.setup(Config.load({"LOG_DEBUG": "YES"}, memory_bytes=0)[0], stream)
    exchange_log.sent(log.session_logger("SERVER:TCP", 1), event)
    assert text in stream.getvalue()
    assert SECRET not in stream.getvalue()
