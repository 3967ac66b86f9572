"""How messages become bytes, and what a player is told before and after them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.live.framing import FlvFraming, RtmpFraming
from rtmpsrv.media import flv
from rtmpsrv.protocol import amf0
from rtmpsrv.protocol.chunks import ChunkReader

SIZE = 4096
FRAMING = RtmpFraming(SIZE)
AUDIO_HEADER, VIDEO_HEADER = (8, b"\xaf\0"), (9, b"\x17\0")

type_ids = st.sampled_from([8, 9, 18])
timestamps = st.integers(0, 0xFFFFFFFF)
payloads = st.binary(max_size=1000)


def taken_apart(data: bytes, size: int = SIZE) -> list[tuple[int, int, int, object]]:
    """Messages as (type, timestamp, message stream, contents)."""
    found: list[tuple[int, int, int, object]] = []
    for kind, timestamp, msid, payload, _csid in ChunkReader(size).feed(data):
        contents: object = payload.hex()
        if kind == 20:
            contents = tuple(amf0.decode(payload)[3].values())
        elif kind == 18:
            contents = amf0.decode(payload)
        found.append((kind, timestamp, msid, contents))
    return found


STARTED: list[tuple[int, int, int, object]] = [
    (4, 0, 0, "000000000003"),
    (20, 0, 3, ("status", "NetStream.Play.Reset", "Playing and resetting stream.")),
    (20, 0, 3, ("status", "NetStream.Play.Start", "Started playing stream.")),
    (18, 0, 0, ["|RtmpSampleAccess", False, False]),
]


@given(type_ids, timestamps, payloads, st.integers(1, 2000))
def test_what_was_framed_comes_out_again(type_id: int, timestamp: int, payload: bytes, size: int) -> None:
    framing = RtmpFraming(size)
    data = framing.frame(type_id, timestamp, payload)
    assert framing.payload(data) == payload
    (message,) = ChunkReader(size).feed(data)
    assert message[:4] == (type_id, timestamp, 1, payload)


@given(type_ids, timestamps, payloads)
def test_what_was_framed_as_a_tag_comes_out_again(type_id: int, timestamp: int, payload: bytes) -> None:
    framing = FlvFraming()
    data = framing.frame(type_id, timestamp, payload)
    assert framing.payload(data) == payload
    assert flv.TagReader().feed(flv.header(True, True) + data) == [(type_id, timestamp, payload)]


@given(type_ids, timestamps, payloads, st.integers(1, 2000), st.integers(0, 0xFFFFFFFF))
def test_readdressed_is_the_same_message_on_another_stream(
    type_id: int, timestamp: int, payload: bytes, size: int, msid: int
) -> None:
    framing = RtmpFraming(size)
    data = framing.readdressed(framing.frame(type_id, timestamp, payload), msid)
    (message,) = ChunkReader(size).feed(data)
    assert message[:4] == (type_id, timestamp, msid, payload)


def test_bytes_for_the_shared_stream_are_not_copied() -> None:
    data = FRAMING.frame(9, 0, b"payload")
    assert FRAMING.readdressed(data, 1) is data


def test_start_says_what_the_reference_says() -> None:
    assert taken_apart(FRAMING.start((), (), 0, 3)) == STARTED


def test_start_tells_metadata_at_timestamp_0_then_headers_at_that_of_the_media() -> None:
    metadata = (amf0.encode("onMetaData", {"width": 1.0}), amf0.encode("other", None))
    assert taken_apart(FRAMING.start(metadata, (AUDIO_HEADER, VIDEO_HEADER), 1 << 24, 3)) == [
        *STARTED,
        (18, 0, 3, ["onMetaData", {"width": 1.0}]),
        (18, 0, 3, ["other", None]),
        (8, 1 << 24, 3, "af00"),
        (9, 1 << 24, 3, "1700"),
    ]


def test_unpublished_is_a_status_then_the_end_of_the_stream() -> None:
    assert taken_apart(FRAMING.unpublished(1)) == [
        (20, 0, 1, ("status", "NetStream.Play.UnpublishNotify", "stream is now unpublished.")),
        (4, 0, 0, "000100000001"),
    ]


def test_pause_and_its_end() -> None:
    assert taken_apart(FRAMING.paused(2)) == [
        (4, 0, 0, "000100000002"),
        (20, 0, 2, ("status", "NetStream.Pause.Notify", "Paused live")),
    ]
    assert taken_apart(FRAMING.resumed((VIDEO_HEADER,), 40, 2)) == [
        (4, 0, 0, "000000000002"),
        (9, 40, 2, "1700"),
        (20, 0, 2, ("status", "NetStream.Unpause.Notify", "Unpaused live")),
    ]


def test_headers_alone() -> None:
    assert FRAMING.headers((), 0, 1) == b""
    assert taken_apart(FRAMING.headers((AUDIO_HEADER, VIDEO_HEADER), 40, 2)) == [
        (8, 40, 2, "af00"),
        (9, 40, 2, "1700"),
    ]


@pytest.mark.parametrize("size", [64, 100])
def test_statuses_are_cut_at_the_chunk_size(size: int) -> None:
    framing = RtmpFraming(size)
    assert taken_apart(framing.start((), (), 0, 3), size) == STARTED
    assert len(framing.unpublished(3)) != len(FRAMING.unpublished(3))


@pytest.mark.parametrize(("has_audio", "has_video"), [(True, True), (False, True), (True, False)])
def test_flv_starts_with_its_header_then_metadata_and_headers(has_audio: bool, has_video: bool) -> None:
    metadata = (amf0.encode("onMetaData", {"width": 1.0}),)
    known = amf0.encode("onMetaData", {"width": 1.0, "hasAudio": has_audio, "hasVideo": has_video})
    data = FlvFraming().start(metadata, (AUDIO_HEADER, VIDEO_HEADER), 40, has_audio, has_video)
    reader = flv.TagReader()
    assert reader.feed(data) == [(18, 0, known), (8, 40, b"\xaf\0"), (9, 40, b"\x17\0")]
    assert (reader.has_audio, reader.has_video) == (has_audio, has_video)
