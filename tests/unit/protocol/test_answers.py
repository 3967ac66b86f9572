from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.protocol import amf0, answers, events
from rtmpsrv.protocol.chunks import ChunkReader
from rtmpsrv.protocol.commands import Command
from rtmpsrv.protocol.requests import Requests

REQUESTS = Requests("app", connect_transaction=4.0, publish_msid=1, play_msid=2)


def read(data: bytes, chunk_size: int = 128) -> list[tuple[int, int, Any]]:
    """Return (type id, message stream id, AMF values or body) of each message."""
    reader = ChunkReader(chunk_size)
    return [
        (kind, msid, amf0.decode(body) if kind == 20 else body)
        for kind, _, msid, body, _ in reader.feed(data)
    ]


def status(msid: int, level: str, code: str) -> tuple[int, int, list[Any]]:
    return 20, msid, ["onStatus", 0.0, None, {"level": level, "code": code, "description": "why"}]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.PublishRefused("c", "why"), [status(1, "error", "c")]),
        (events.PublishEnded("why"), [status(1, "status", "NetStream.Unpublish.Success")]),
        (events.PublishEnded(), []),
        (events.PlayAccepted(), []),
        (events.PlayRefused("c", "why"), [status(2, "error", "c")]),
        (events.PlayEnded("why"), [status(2, "status", "NetStream.Play.Stop")]),
        (events.PlayEnded(), []),
        (events.Refused("play", "c", "why", 7), [status(7, "error", "c")]),
        (events.Ping(258), [(4, 0, bytes.fromhex("000600000102"))]),
        (
            events.PublishAccepted("why"),
            [(4, 0, bytes.fromhex("000000000001")), status(1, "status", "NetStream.Publish.Start")],
        ),
        (
            events.ConnectRejected("c", "why"),
            [(20, 0, ["_error", 4.0, None, {"level": "error", "code": "c", "description": "why"}])],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_answer_says_what_happened(event: events.Event, expected: list[Any]) -> None:
    assert read(answers.encode(event, REQUESTS, 128)) == expected


def test_accepted_connect_announces_the_chunk_size_that_its_result_has() -> None:
    sent = read(answers.encode(events.ConnectAccepted(), REQUESTS, 4096))
    assert [kind for kind, _, _ in sent] == [5, 6, 1, 20]
    assert sent[2][2] == (4096).to_bytes(4, "big")
    assert sent[3][2][:2] == ["_result", 4.0]


@pytest.mark.parametrize(
    ("name", "transaction", "expected"),
    [
        ("releaseStream", 3.0, [["_result", 3.0, None, None]]),
        ("releaseStream", 0.0, []),
        ("_result", 3.0, []),
        ("getStreamLength", 3.0, [["_result", 3.0, None, 0.0]]),
        ("_checkbw", 3.0, [["_result", 3.0, None, None]]),
    ],
)
def test_courtesy_call_is_answered_if_it_wants_it(name: str, transaction: float, expected: list[Any]) -> None:
    data = answers.courtesy(Command(name, transaction, None, ["key"]), 128)
    assert [values for _, _, values in read(data)] == expected


@pytest.mark.parametrize(("arguments", "named"), [(["key"], "key"), ([], "")])
def test_fmle_calls_have_a_notice(arguments: list[Any], named: str) -> None:
    data = answers.courtesy(Command("FCPublish", 0.0, None, arguments), 128)
    information = {"code": "NetStream.Publish.Start", "description": named}
    assert [values for _, _, values in read(data)] == [["onFCPublish", 0.0, None, information]]
