from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.media.description import Description
from rtmpsrv.media.tracks import (
    MAX_HEADER_BYTES,
    MAX_TRACKS,
    configured_tracks,
    frame_sizes,
    frame_tracks,
    has_tracks,
)
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.media.test_avc import REAL as AVC
from tests.unit.media.test_hevc import REAL as HEVC
from tests.unit.media.test_open_video import AOM
from tests.unit.media.test_sounds import FLAC, OPUS

AVC_BODY = bytes.fromhex(AVC["59.94"][0])
HEVC_BODY = bytes.fromhex(HEVC["main"][0])
VP9_BODY = bytes.fromhex("01000000000b820202020000")
AAC_BODY = bytes.fromhex("119056e500")

H264 = Description("video", 0, "H264", "High", "3.2", 1280, 720, 59.94)
H265 = Description("video", 0, "H265", "Main", "4.1", 1920, 1080, 60.0)
AAC = Description("audio", 0, "MPEG-4 Audio", "LC", sample_rate=48000, channels=2, frame_ms=64 / 3)


def many(first: int, packet_type: int, *tracks: tuple[int, bytes, bytes]) -> bytes:
    """A message of several tracks, each with a codec of its own."""
    parts = [
        fourcc + bytes([number]) + len(body).to_bytes(3, "big") + body for number, fourcc, body in tracks
    ]
    return bytes([first, 0x20 | packet_type]) + b"".join(parts)


@pytest.mark.parametrize(
    ("payload", "track"),
    [
        (b"\x17\0\0\0\0" + AVC_BODY, H264),
        (b"\x1c\0\0\0\0" + HEVC_BODY, H265),
        (b"\x90avc1" + AVC_BODY, H264),
        (b"\x90hvc1" + HEVC_BODY, H265),
        (b"\x90av01" + AOM, Description("video", 0, "AV1", "Main", "2.1", 640, 360)),
        (b"\x90vp09" + VP9_BODY, Description("video", 0, "VP9", "Profile 0", "1.1")),
        (b"\x90vvc1anything", Description("video", 0, "H266")),
        (b"\x90abcdanything", Description("video", 0, "abcd", understood=False)),
        (b"\x90\xff\n\0\1anything", Description("video", 0, "", understood=False)),
        (b"\x17\0\0\0\0nothing", Description("video", 0, "H264", understood=False)),
        (b"\x95av01\0", Description("video", 0, "AV1", understood=False)),
    ],
)
def test_video_headers(payload: bytes, track: Description) -> None:
    assert configured_tracks(VIDEO, payload) == [track]


@pytest.mark.parametrize(
    ("payload", "track"),
    [
        (b"\xaf\0" + AAC_BODY, AAC),
        (b"\x90mp4a" + AAC_BODY, AAC),
        (b"\xdf\0" + OPUS, Description("audio", 0, "Opus", sample_rate=48000, channels=2, frame_ms=20.0)),
        (b"\x90Opus" + OPUS, Description("audio", 0, "Opus", sample_rate=48000, channels=2, frame_ms=20.0)),
        (
            b"\x90fLaC" + FLAC,
            Description("audio", 0, "FLAC", sample_rate=96000, channels=2, frame_ms=8192 / 96),
        ),
        (b"\x90ac-3", Description("audio", 0, "AC-3")),
        (b"\xaf\0", Description("audio", 0, "MPEG-4 Audio", understood=False)),
        (b"\x90abcd", Description("audio", 0, "abcd", understood=False)),
    ],
)
def test_audio_headers(payload: bytes, track: Description) -> None:
    assert configured_tracks(AUDIO, payload) == [track]


@pytest.mark.parametrize("type_id", [AUDIO, VIDEO])
@pytest.mark.parametrize("payload", [b"", b"\x22", b"\x91avc1frame", b"\x90av", b"\x91mp4aframe"])
def test_what_is_no_header_configures_nothing(type_id: int, payload: bytes) -> None:
    assert configured_tracks(type_id, payload) == []


def test_headers_of_several_tracks_and_no_more_than_are_described() -> None:
    payload = many(0x96, 0, (0, b"avc1", AVC_BODY), (3, b"hvc1", HEVC_BODY))
    assert configured_tracks(VIDEO, payload) == [H264, H265._replace(track=3)]
    assert has_tracks(VIDEO, payload)
    payload = many(0x95, 0, *[(number, b"mp4a", AAC_BODY) for number in range(MAX_TRACKS + 1)])
    assert len(configured_tracks(AUDIO, payload)) == MAX_TRACKS
    assert has_tracks(AUDIO, payload)


@pytest.mark.parametrize(
    ("payload", "track"),
    [
        (b"\x27\1\0\0\0frame", Description("video", 0, "H264", understood=False)),
        (b"\x24frame", Description("video", 0, "VP6")),
        (b"\x2ff", Description("video", 0, "")),
        (b"\xa1av01frame", Description("video", 0, "AV1", understood=False)),
    ],
)
def test_video_frames(payload: bytes, track: Description) -> None:
    assert frame_tracks(VIDEO, payload) == [track]


@pytest.mark.parametrize(
    ("payload", "track"),
    [
        (b"\xaf\1frame", Description("audio", 0, "MPEG-4 Audio", understood=False)),
        (
            bytes.fromhex("2ffffb906400"),  # by FFmpeg and LAME
            Description(
                "audio",
                0,
                "MPEG-1/2 Audio",
                "Layer 3",
                sample_rate=44100,
                channels=2,
                frame_ms=1152000 / 44100,
            ),
        ),
        (b"\x2ano header", Description("audio", 0, "MPEG-1/2 Audio", sample_rate=22050, channels=1)),
        (b"\xb2frame", Description("audio", 0, "Speex", sample_rate=16000, channels=1)),
        (b"\x33samples", Description("audio", 0, "LPCM", sample_rate=5512, channels=2)),
        (b"\xf3what", Description("audio", 0, "", sample_rate=5512, channels=2)),
        (b"\x91Opusframe", Description("audio", 0, "Opus", understood=False)),
        (
            b"\x91ac-3" + bytes.fromhex("0b77b50b1e40ebf8403eff99"),
            Description("audio", 0, "AC-3", sample_rate=48000, channels=6, frame_ms=32.0),
        ),
        (b"\x91ec-3what", Description("audio", 0, "E-AC-3", understood=False)),
    ],
)
def test_audio_frames(payload: bytes, track: Description) -> None:
    assert frame_tracks(AUDIO, payload) == [track]


@pytest.mark.parametrize("type_id", [AUDIO, VIDEO])
@pytest.mark.parametrize("payload", [b"", b"\x91av"])
def test_what_is_no_frame_has_no_tracks(type_id: int, payload: bytes) -> None:
    assert frame_tracks(type_id, payload) == []


def test_frames_of_several_tracks_by_size() -> None:
    payload = many(0xA6, 3, (0, b"avc1", b"four"), (2, b"av01", b"nine char"))
    assert frame_sizes(VIDEO, payload) == [(0, 4), (2, 9)]
    assert [one.track for one in frame_tracks(VIDEO, payload)] == [0, 2]
    assert frame_sizes(AUDIO, many(0x95, 1, (1, b"mp4a", b"abc"))) == [(1, 3)]
    assert frame_sizes(AUDIO, many(0x95, 0, (1, b"mp4a", b"abc"))) == []
    assert frame_sizes(VIDEO, b"\x96") == []


def test_which_messages_name_their_tracks() -> None:
    assert has_tracks(VIDEO, b"\xa7")  # perhaps, behind a modifier
    assert has_tracks(AUDIO, b"\x97")
    for type_id, payload in ((VIDEO, b"\xa1avc1"), (VIDEO, b"\x26"), (AUDIO, b"\x91mp4a"), (AUDIO, b"\xa5")):
        assert not has_tracks(type_id, payload)


def test_pictures_that_are_named_as_a_codec_of_sound_are_pictures() -> None:
    (one,) = frame_tracks(VIDEO, b"\x91ec-3" + bytes(8))
    assert (one.kind, one.codec, one.understood) == ("video", "E-AC-3", False)


@pytest.mark.parametrize(
    ("type_id", "payload", "track"),
    [
        (VIDEO, b"\x17\0\0\0\0" + AVC_BODY, H264),
        (VIDEO, b"\x90hvc1" + HEVC_BODY, H265),
        (VIDEO, many(0x96, 0, (3, b"hvc1", HEVC_BODY)), H265._replace(track=3)),
        (AUDIO, b"\xaf\0" + AAC_BODY, AAC),
    ],
)
def test_headers_of_more_bytes_than_any_real_one_are_not_understood(
    type_id: int, payload: bytes, track: Description
) -> None:
    for size in (MAX_HEADER_BYTES, MAX_HEADER_BYTES + 1):
        longer = payload + bytes(size - len(payload))
        if payload[0] == 0x96:  # which says how long its track is
            longer = many(0x96, 0, (3, b"hvc1", HEVC_BODY + bytes(size - len(payload))))
        (one,) = configured_tracks(type_id, longer)
        assert (one.codec, one.track) == (track.codec, track.track)
        assert one.understood == (size == MAX_HEADER_BYTES)


def test_no_more_frames_of_a_message_are_looked_at_than_tracks_are_described() -> None:
    pieces = [(number, b"avc1", b"four") for number in range(MAX_TRACKS + 1)]
    for more in ([], [(200, b"av01", b"x")]):
        payload = many(0xA6, 3, *pieces, *more)[: -1 if more else None]  # what lies behind is not looked at
        assert frame_sizes(VIDEO, payload) == [(number, 4) for number in range(MAX_TRACKS)]
        assert len(frame_tracks(VIDEO, payload)) == MAX_TRACKS


@given(st.sampled_from([AUDIO, VIDEO]), st.binary(min_size=1, max_size=80), st.sampled_from(range(256)))
def test_nothing_raises_whatever_the_bytes(type_id: int, noise: bytes, first: int) -> None:
    for payload in (noise, bytes([first]) + noise, bytes([first]) + b"\0avc1\0" + noise):
        for one in [*configured_tracks(type_id, payload), *frame_tracks(type_id, payload)]:
            assert one.kind == ("video" if type_id == VIDEO else "audio")
        assert len(frame_sizes(type_id, payload)) <= MAX_TRACKS
        has_tracks(type_id, payload)
