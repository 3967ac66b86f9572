from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.endpoint.media_in import decode
from rtmpsrv.endpoint.media_out import encode
from rtmpsrv.endpoint.types import (
    AudioCodec,
    AudioData,
    ScriptData,
    StreamMetadata,
    VideoCodec,
    VideoData,
)
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.amf_values import UNDEFINED, EcmaArray


def test_an_avc_end_of_sequence_is_marked_and_comes_out_again() -> None:
    data = decode(messages.VIDEO, 5, bytes.fromhex("1702000000"))
    assert data == VideoData(b"", 5, is_keyframe=True, is_end_of_sequence=True)
    assert encode(data)[3].hex() == "1702000000"  # type: ignore[index]


@pytest.mark.parametrize("size", range(5))
def test_short_video_is_dropped(size: int) -> None:
    assert decode(messages.VIDEO, 0, bytes.fromhex("17010000")[:size]) is None


@pytest.mark.parametrize(
    ("payload", "is_keyframe"), [("1701", True), ("4701", True), ("2701", False), ("3701", False)]
)
def test_keyframes_are_frame_types_1_and_4(payload: str, is_keyframe: bool) -> None:
    data = decode(messages.VIDEO, 0, bytes.fromhex(payload + "000000"))
    assert isinstance(data, VideoData)
    assert data.is_keyframe is is_keyframe


@pytest.mark.parametrize(
    ("payload", "is_keyframe"),
    [
        ("0701000000000000026588", True),
        ("0701000000000000024188", False),
        ("0700000000000000026588", False),
        ("8368766331000000022601", True),
        ("8368766331000000020201", False),
    ],
)
def test_payload_says_what_a_frame_type_of_0_does_not(payload: str, is_keyframe: bool) -> None:
    data = decode(messages.VIDEO, 0, bytes.fromhex(payload))
    assert isinstance(data, VideoData)
    assert data.is_keyframe is is_keyframe


@pytest.mark.parametrize(
    ("fourcc", "codec"),
    [
        (b"hvc1", VideoCodec.HEVC), (b"av01", VideoCodec.AV1), (b"vp09", VideoCodec.VP9),
        (b"vp08", VideoCodec.VP8), (b"vvc1", VideoCodec.VVC), (b"avc1", VideoCodec.UNKNOWN),
        (b"what", VideoCodec.UNKNOWN),
    ],
)  # fmt: skip
def test_enhanced_video_is_raw_and_named(fourcc: bytes, codec: VideoCodec) -> None:
    header = decode(messages.VIDEO, 0, b"\x90" + fourcc + b"config")
    assert header == VideoData(b"\x90" + fourcc + b"config", 0, codec, is_sequence_header=True, is_raw=True)
    end = decode(messages.VIDEO, 0, b"\x92" + fourcc)
    assert isinstance(end, VideoData)
    assert end.is_end_of_sequence


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        (b"\x2f\xff", AudioCodec.MP3), (b"\xb2x", AudioCodec.SPEEX), (b"\x95Opus", AudioCodec.UNKNOWN),
        (b"\x91Opus", AudioCodec.OPUS), (b"\x91fLaC", AudioCodec.FLAC), (b"\x91ac-3", AudioCodec.AC3),
        (b"\x91ec-3", AudioCodec.EAC3), (b"\x91mp4a", AudioCodec.UNKNOWN), (b"\xaf", AudioCodec.UNKNOWN),
        (b"", AudioCodec.UNKNOWN),
    ],
)  # fmt: skip
def test_other_audio_is_raw_and_named(payload: bytes, codec: AudioCodec) -> None:
    assert decode(messages.AUDIO, 3, payload) == AudioData(payload, 3, codec, is_raw=True)


def test_enhanced_media_that_is_cut_short_is_handed_on_whole() -> None:
    video, audio = b"\x96\x20hvc1\x00", b"\x95\x40Opu"
    assert decode(messages.VIDEO, 3, video) == VideoData(video, 3, VideoCodec.UNKNOWN, is_raw=True)
    assert decode(messages.AUDIO, 3, audio) == AudioData(audio, 3, AudioCodec.UNKNOWN, is_raw=True)


def test_video_commands_are_raw() -> None:
    assert decode(messages.VIDEO, 0, b"\x5701234") == VideoData(
        b"\x5701234", 0, VideoCodec.UNKNOWN, is_raw=True
    )


def test_metadata_comes_wrapped_or_bare_and_as_type_15() -> None:
    bare = amf0.encode("onMetaData", EcmaArray(width=1.0))
    wrapped = amf0.encode("@setDataFrame", "onMetaData", EcmaArray(width=1.0))
    for payload in (bare, wrapped):
        assert decode(messages.DATA_AMF0, 7, payload) == StreamMetadata({"width": 1.0})
    assert decode(messages.DATA_AMF3, 7, b"\0" + wrapped) == StreamMetadata({"width": 1.0})


def test_metadata_in_amf3_comes_out_in_amf0() -> None:
    value = b"\x11" + bytes.fromhex("0a0b01") + b"\x0bwidth" + bytes.fromhex("04850001")
    data = decode(messages.DATA_AMF3, 7, b"\0" + amf0.encode("@setDataFrame", "onMetaData") + value)
    assert data == StreamMetadata({"width": 640})
    message = encode(data)
    assert message is not None
    assert amf0.decode(message[3]) == ["onMetaData", {"width": 640.0}]


@pytest.mark.parametrize(
    "payload",
    [
        amf0.encode("onCuePoint", 1.0),
        amf0.encode("@clearDataFrame", "onMetaData"),
        amf0.encode("onMetaData", 5.0),
        b"\xff not AMF",
    ],
)
def test_other_data_is_handed_on_whole(payload: bytes) -> None:
    assert decode(messages.DATA_AMF0, 7, payload) == ScriptData(payload, 7)
    assert decode(messages.DATA_AMF3, 7, b"\0" + payload) == ScriptData(payload, 7)


def test_data_without_bytes_is_dropped() -> None:
    assert decode(messages.DATA_AMF0, 7, b"") is None


def test_odd_values_in_metadata_survive() -> None:
    payload = amf0.encode("onMetaData", {"odd": UNDEFINED, "list": [1.0, None]})
    data = decode(messages.DATA_AMF0, 0, payload)
    assert data == StreamMetadata({"odd": UNDEFINED, "list": [1.0, None]})
    assert encode(data)


@given(st.sampled_from([8, 9, 15, 18]), st.binary(max_size=60))
def test_whatever_comes_in_can_go_out(type_id: int, payload: bytes) -> None:
    data = decode(type_id, 5, payload)
    if data is not None:
        message = encode(data)
        assert message is not None
        if isinstance(data, VideoData | AudioData) and data.is_raw:
            assert message[3] == payload


@given(st.sampled_from(["17", "27"]), st.integers(0, 2), st.binary(min_size=3, max_size=30))
def test_avc_messages_come_out_as_they_went_in(first: str, packet_type: int, rest: bytes) -> None:
    payload = bytes.fromhex(first) + bytes([packet_type]) + rest
    assert encode(decode(messages.VIDEO, 9, payload)) == (9, 9, 1, payload, 0)  # type: ignore[arg-type]
