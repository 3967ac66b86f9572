from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.media.coded import Coded, Config, configs_of, frames_of
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.media.test_tracks import many


@pytest.mark.parametrize(
    ("type_id", "payload", "config"),
    [
        (VIDEO, b"\x17\0\0\0\0avcC", Config(VIDEO, 0, b"avc1", b"avcC")),
        (VIDEO, b"\x1c\0\0\0\0hvcC", Config(VIDEO, 0, b"hvc1", b"hvcC")),
        (VIDEO, b"\x90av01av1C", Config(VIDEO, 0, b"av01", b"av1C")),
        (VIDEO, b"\x96\0av01\2av1C", Config(VIDEO, 2, b"av01", b"av1C")),
        (AUDIO, b"\xaf\0\x11\x90", Config(AUDIO, 0, b"mp4a", b"\x11\x90")),
        (AUDIO, b"\xdf\0OpusHead", Config(AUDIO, 0, b"Opus", b"OpusHead")),
        (AUDIO, b"\x90Opus", Config(AUDIO, 0, b"Opus", b"")),
    ],
)
def test_a_sequence_header_is_a_configuration(type_id: int, payload: bytes, config: Config) -> None:
    assert configs_of(type_id, payload) == [config]
    assert frames_of(type_id, payload) == []


@pytest.mark.parametrize(
    ("type_id", "payload", "frame"),
    [
        (VIDEO, b"\x17\1\0\0\x28slice", Coded(VIDEO, 0, b"avc1", 40, True, b"slice")),
        (VIDEO, b"\x27\1\xff\xff\xffslice", Coded(VIDEO, 0, b"avc1", -1, False, b"slice")),
        (VIDEO, b"\x12picture", Coded(VIDEO, 0, b"", 0, True, b"picture")),
        (VIDEO, b"\x91hvc1\0\0\x28slice", Coded(VIDEO, 0, b"hvc1", 40, True, b"slice")),
        (VIDEO, b"\xa3hvc1slice", Coded(VIDEO, 0, b"hvc1", 0, False, b"slice")),
        (VIDEO, b"\x91av01obu", Coded(VIDEO, 0, b"av01", 0, True, b"obu")),
        (AUDIO, b"\xaf\1raw", Coded(AUDIO, 0, b"mp4a", 0, True, b"raw")),
        (AUDIO, b"\x2fmpeg", Coded(AUDIO, 0, b".mp3", 0, True, b"mpeg")),
        (AUDIO, b"\xb6speex", Coded(AUDIO, 0, b"", 0, True, b"speex")),
        (AUDIO, b"\x91Opusraw", Coded(AUDIO, 0, b"Opus", 0, True, b"raw")),
    ],
)
def test_a_frame_is_told_with_its_codec_and_offset(type_id: int, payload: bytes, frame: Coded) -> None:
    assert frames_of(type_id, payload) == [frame]
    assert configs_of(type_id, payload) == []


@pytest.mark.parametrize(
    ("type_id", "payload"),
    [
        (VIDEO, b""),
        (VIDEO, b"\x17"),
        (VIDEO, b"\x57\0"),  # a command
        (VIDEO, b"\x17\2\0\0\0"),  # the end
        (VIDEO, b"\x17\1\0\0\0"),  # no bytes
        (VIDEO, b"\x91av0"),
        (VIDEO, b"\x91hvc1\0\0\0"),
        (VIDEO, b"\x92av01"),
        (AUDIO, b"\xaf\1"),
        (AUDIO, b"\x91Opus"),  # FFmpeg ends Opus and FLAC so
        (AUDIO, b"\x91Op"),
    ],
)
def test_what_holds_neither(type_id: int, payload: bytes) -> None:
    assert configs_of(type_id, payload) == []
    assert frames_of(type_id, payload) == []


def test_each_track_of_a_message_is_told() -> None:
    payload = many(0x96, 1, (0, b"avc1", b"\0\0\1one"), (1, b"av01", b"two"))

    assert frames_of(VIDEO, payload) == [
        Coded(VIDEO, 0, b"avc1", 1, True, b"one"),
        Coded(VIDEO, 1, b"av01", 0, True, b"two"),
    ]


@given(st.sampled_from([AUDIO, VIDEO]), st.binary(max_size=60))
def test_whatever_the_bytes_nothing_is_raised_and_no_frame_is_empty(type_id: int, payload: bytes) -> None:
    configs_of(type_id, payload)
    assert all(frame.data for frame in frames_of(type_id, payload))
