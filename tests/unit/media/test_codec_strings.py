from __future__ import annotations

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.codec_strings import can_be_in_mp4, codec_string, normal_config
from tests.unit.media.test_tracks import AAC_BODY, AVC_BODY, HEVC_BODY, VP9_BODY


@pytest.mark.parametrize(
    ("fourcc", "config", "text"),
    [
        (b"avc1", AVC_BODY, "avc1.640020"),
        (b"hvc1", HEVC_BODY, "hvc1.1.6.L123.90"),
        (b"hvc1", bytes.fromhex("016120000000b0000000000078"), "hvc1.A1.4.H120.B0"),
        (b"av01", bytes.fromhex("81050c00"), "av01.0.05M.08"),
        (b"av01", bytes.fromhex("812dcc00"), "av01.1.13H.10"),
        (b"vp09", VP9_BODY, "vp09.00.11.08"),
        (b"mp4a", AAC_BODY, "mp4a.40.2"),
        (b"mp4a", bytes.fromhex("f94640"), "mp4a.40.42"),
        (b"Opus", b"", "opus"),
        (b"fLaC", b"", "flac"),
        (b".mp3", b"", "mp3"),
        (b"ac-3", b"", "ac-3"),
        (b"ec-3", b"", "ec-3"),
    ],
)
def test_the_string_of_a_codec(fourcc: bytes, config: bytes, text: str) -> None:
    assert can_be_in_mp4(fourcc)
    assert codec_string(fourcc, config) == text


def test_codecs_that_are_not_put_into_mp4() -> None:
    assert not can_be_in_mp4(b"")
    assert not can_be_in_mp4(b"vvc1")


@pytest.mark.parametrize("fourcc", [b"avc1", b"hvc1", b"av01", b"vp09", b"mp4a"])
def test_a_configuration_that_is_too_short(fourcc: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="of 0 bytes"):
        codec_string(fourcc, b"")


def test_flac_comes_down_to_its_stream_info() -> None:
    info = bytes(range(34))

    for form in (info, b"\x80\0\0\x22" + info, b"fLaC\x80\0\0\x22" + info):
        assert normal_config(b"fLaC", form) == info


def test_vp9_gets_the_head_of_its_box() -> None:
    assert normal_config(b"vp09", VP9_BODY[4:]) == VP9_BODY
    assert normal_config(b"vp09", VP9_BODY) == VP9_BODY


def test_opus_without_a_header_is_stereo() -> None:
    assert normal_config(b"Opus", b"")[:10] == b"OpusHead\1\2"
    assert normal_config(b"Opus", b"OpusHead\1\1") == b"OpusHead\1\1"
    assert normal_config(b"mp4a", b"") == b""
