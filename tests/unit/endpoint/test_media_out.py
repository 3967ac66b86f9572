from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.endpoint.media_out import MAX_PAYLOAD_BYTES, encode
from rtmpsrv.endpoint.types import (
    AudioCodec,
    AudioData,
    ScriptData,
    StreamMetadata,
    VideoCodec,
    VideoData,
)
from rtmpsrv.protocol import amf0


@pytest.mark.parametrize("offset", [-0x800000, -1, 0, 0x7FFFFF])
def test_composition_times_of_24_bits_are_carried(offset: int) -> None:
    message = encode(VideoData(b"x", 0, composition_time_offset=offset))
    assert message is not None
    assert int.from_bytes(message[3][2:5], "big", signed=True) == offset


@pytest.mark.parametrize("offset", [-0x800001, 0x800000])
def test_larger_composition_times_are_refused(offset: int) -> None:
    with pytest.raises(ValueError, match=f"offset of {offset} ms"):
        encode(VideoData(b"x", 0, composition_time_offset=offset))


def test_the_longest_message_and_one_past_it() -> None:
    assert encode(VideoData(bytes(MAX_PAYLOAD_BYTES - 5), 0))
    with pytest.raises(ValueError, match="limit"):
        encode(VideoData(bytes(MAX_PAYLOAD_BYTES - 4), 0))


def test_codecs_that_cannot_be_wrapped_are_not_sent() -> None:
    assert encode(VideoData(b"x", 0, VideoCodec.HEVC)) is None
    assert encode(AudioData(b"x", 0, AudioCodec.OPUS)) is None


@pytest.mark.parametrize("properties", [{"x": object()}, {1: 2.0}, {"x": {"y": {1, 2}}}, {"x" * 70_000: 1.0}])
def test_metadata_that_amf_has_no_form_for_is_refused(properties: Any) -> None:
    with pytest.raises(ValueError, match="metadata"):
        encode(StreamMetadata(properties))


@pytest.mark.parametrize("data", [b"bytes", None, ("key", b"")])
def test_what_is_no_media_is_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError, match="is no media"):
        encode(data)


def test_mutable_bodies_are_copied() -> None:
    body: Any = bytearray(b"\x91hvc1")  # the hints say bytes; callers may not check theirs
    for data in (VideoData(body, 0, is_raw=True), AudioData(body, 0, is_raw=True), ScriptData(body, 0)):
        message = encode(data)
        assert message is not None
        assert type(message[3]) is bytes


def test_timestamps_wrap() -> None:
    assert encode(AudioData(b"x", 0x1_0000_0005))[1] == 5  # type: ignore[index]


def test_metadata_is_an_array_at_time_0() -> None:
    message = encode(StreamMetadata({"width": 1920, "encoder": "me"}))
    assert message is not None
    assert message[:2] == (18, 0)
    assert amf0.decode(message[3]) == ["onMetaData", {"width": 1920.0, "encoder": "me"}]


def test_script_data_keeps_body_and_time() -> None:
    assert encode(ScriptData(b"body", 7)) == (18, 7, 1, b"body", 0)


@pytest.mark.parametrize("kind", [VideoData, AudioData, ScriptData])
@pytest.mark.parametrize("body", ["x", 5, None, [1]])
def test_a_body_that_is_no_bytes_is_a_type_error_that_says_so(kind: Any, body: Any) -> None:
    values = [kind(body, 0)]
    if kind is not ScriptData:
        values.append(kind(body, 0, is_raw=True))
    for data in values:
        with pytest.raises(TypeError, match=f"the data of media is bytes, this is {type(body).__name__}"):
            encode(data)


@pytest.mark.parametrize("time", [0.5, None, "1"])
def test_times_are_whole_numbers(time: Any) -> None:
    for data in (VideoData(b"x", time), AudioData(b"x", time), ScriptData(b"x", time)):
        with pytest.raises(TypeError, match="timestamp is a whole number of ms, not"):
            encode(data)
    with pytest.raises(TypeError, match="composition time offset is a whole number of ms, not"):
        encode(VideoData(b"x", 0, composition_time_offset=time))
