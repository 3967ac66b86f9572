from __future__ import annotations

from rtmpsrv.live import notices
from rtmpsrv.protocol import amf0
from rtmpsrv.protocol.chunks import ChunkReader

SIZE = 4096


def taken_apart(data: bytes) -> list[tuple[int, int, int, object]]:
    """Messages as (type, timestamp, message stream, contents)."""
    found: list[tuple[int, int, int, object]] = []
    for kind, timestamp, msid, payload, _csid in ChunkReader(SIZE).feed(data):
        contents: object = payload.hex()
        if kind == 20:
            contents = tuple(amf0.decode(payload)[3].values())
        elif kind == 18:
            contents = amf0.decode(payload)
        found.append((kind, timestamp, msid, contents))
    return found


def test_started_says_what_the_reference_says() -> None:
    assert taken_apart(notices.started(3, SIZE)) == [
        (4, 0, 0, "000000000003"),
        (20, 0, 3, ("status", "NetStream.Play.Reset", "Playing and resetting stream.")),
        (20, 0, 3, ("status", "NetStream.Play.Start", "Started playing stream.")),
        (18, 0, 0, ["|RtmpSampleAccess", False, False]),
    ]


def test_unpublished_is_a_status_then_the_end_of_the_stream() -> None:
    assert taken_apart(notices.unpublished(1, SIZE)) == [
        (20, 0, 1, ("status", "NetStream.Play.UnpublishNotify", "stream is now unpublished.")),
        (4, 0, 0, "000100000001"),
    ]


def test_pause_and_resume() -> None:
    assert taken_apart(notices.paused(1, SIZE)) == [
        (4, 0, 0, "000100000001"),
        (20, 0, 1, ("status", "NetStream.Pause.Notify", "Paused live")),
    ]
    assert taken_apart(notices.unpausing(1)) == [(4, 0, 0, "000000000001")]
    assert taken_apart(notices.unpaused(1, SIZE)) == [
        (20, 0, 1, ("status", "NetStream.Unpause.Notify", "Unpaused live"))
    ]


def test_metadata_and_headers_are_at_timestamp_0() -> None:
    payload = amf0.encode("onMetaData", {"width": 1.0})
    assert taken_apart(notices.metadata((payload,), 2, SIZE)) == [(18, 0, 2, ["onMetaData", {"width": 1.0}])]
    assert taken_apart(notices.headers(((8, b"\xaf\0"), (9, b"\x17\0")), 2, SIZE)) == [
        (8, 0, 2, "af00"),
        (9, 0, 2, "1700"),
    ]
    assert notices.metadata((), 1, SIZE) == notices.headers((), 1, SIZE) == b""
