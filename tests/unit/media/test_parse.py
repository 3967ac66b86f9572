from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.parse import AudioInfo, AudioTrack, VideoInfo, VideoTrack, parse_audio, parse_video
from tests.vectors import load, name_of

MEDIA = load("media")
LONGEST_WHOLE_BODY = 60  # bytes; the vectors give the first 32 of longer ones, and the length


@pytest.mark.parametrize("vector", MEDIA["video"], ids=name_of)
def test_video_header_parses_as_the_vector_says(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    info = parse_video(payload)
    _check_offsets(payload, info.tracks)
    assert _shape(info) == _expected(vector)


@pytest.mark.parametrize("vector", MEDIA["audio"], ids=name_of)
def test_audio_header_parses_as_the_vector_says(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    info = parse_audio(payload)
    _check_offsets(payload, info.tracks)
    assert _shape(info) == _expected(vector)


@pytest.mark.parametrize("vector", MEDIA["errors"], ids=lambda v: f"{v['kind']} {v['name']}")
def test_malformed_header_is_refused(vector: dict[str, Any]) -> None:
    parse = parse_video if vector["kind"] == "video" else parse_audio
    with pytest.raises(RemoteProtocolError):
        parse(bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize("data", ["57", "d1", "9168766331", "90"])
def test_video_cut_short_is_refused(data: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_video(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        ("1701000000", "avc1"),
        ("1c01000000", "hvc1"),
        ("1d01000000", "av01"),
        ("12", "h263"),
        ("1f", "reserved_15"),
    ],
)
def test_legacy_video_codec_has_a_name(data: str, codec: str) -> None:
    assert [track.codec for track in parse_video(bytes.fromhex(data)).tracks] == [codec]


@pytest.mark.parametrize(
    ("data", "codec"), [("af01", "mp4a"), ("df00", "Opus"), ("2f", ".mp3"), ("cf", "reserved_12")]
)
def test_legacy_audio_codec_has_a_name(data: str, codec: str) -> None:
    assert [track.codec for track in parse_audio(bytes.fromhex(data)).tracks] == [codec]


def test_opus_of_the_dialect_has_a_header() -> None:
    assert parse_audio(b"\xdf\x00OpusHead").tracks[0].is_sequence_header
    assert not parse_audio(b"\xdf\x01frame").tracks[0].is_sequence_header


def test_reserved_numbers_get_a_name() -> None:
    assert parse_video(b"\x27\x07\0\0\0").packet_type == "reserved_7"
    assert parse_video(b"\xe8abcd").packet_type == "reserved_8"
    assert parse_video(b"\xe8abcd").frame_type == "reserved_6"
    assert parse_audio(b"\x9fabcd").packet_type == "reserved_15"


def test_unknown_codec_has_no_composition_time() -> None:
    (track,) = parse_video(b"\x91zzzz\x00\x00").tracks
    assert (track.codec, track.composition_time, track.body, track.is_keyframe) == (
        "zzzz",
        None,
        b"\0\0",
        True,
    )


@given(st.binary(max_size=60))
def test_only_remote_protocol_error_comes_out(payload: bytes) -> None:
    for parse in (parse_video, parse_audio):
        try:
            info = parse(payload)
        except RemoteProtocolError:
            continue
        _check_offsets(payload, info.tracks)


def _check_offsets(payload: bytes, tracks: tuple[VideoTrack, ...] | tuple[AudioTrack, ...]) -> None:
    for track in tracks:
        assert payload[track.body_offset : track.body_offset + len(track.body)] == track.body
        assert 0 < track.body_offset <= len(payload)


def _expected(vector: dict[str, Any]) -> dict[str, Any]:
    """Return what a vector says in the shape of `_shape`."""
    expected = dict(vector["parsed"])
    legacy = expected.get("ex") is False and "command" not in expected
    if legacy:
        track = {"track_id": 0}
        for key in ("composition_time", "payload", "payload_length", "keyframe", "sequence_header"):
            if key in expected:
                track[key] = expected.pop(key)
        expected["tracks"] = [track]
    if isinstance(expected.get("frame_type"), int):
        expected["frame_type"] = f"reserved_{expected['frame_type']}"
    return expected


def _shape(info: VideoInfo | AudioInfo) -> dict[str, Any]:
    """Return what was parsed as the vectors say it: nothing that is absent, long bodies shortened."""
    if isinstance(info, AudioInfo) and info.is_silence:
        assert info.tracks == ()
        return {"silence": True}
    shape: dict[str, Any] = {
        "packet_type": info.packet_type,
        "modex": [{"type": kind, "data": data.hex()} for kind, data in info.modifiers] or None,
        "nano_offset": info.nano_offset,
        "multitrack": info.multitrack,
    }
    if isinstance(info, VideoInfo):
        shape |= {"frame_type": info.frame_type, "codec_id": info.codec_id, "command": info.command}
    else:
        shape |= {"sound_format": info.sound_format, "rate": info.rate}
        shape |= {"size": info.size, "stereo": info.stereo}
    shape["tracks"] = [_track_shape(track, info.is_enhanced) for track in info.tracks] or None
    return {"ex": info.is_enhanced} | _present(shape)


def _track_shape(track: VideoTrack | AudioTrack, is_enhanced: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {"track_id": track.track_id, "sequence_header": track.is_sequence_header}
    shape["fourcc"] = track.codec if is_enhanced else None
    body = track.body.hex()
    is_long = len(track.body) > LONGEST_WHOLE_BODY
    shape["payload"] = f"{body[:64]}..." if is_long else body
    shape["payload_length"] = len(track.body) if is_long else None
    if isinstance(track, VideoTrack):
        shape |= {"composition_time": track.composition_time, "keyframe": track.is_keyframe}
    elif track.multichannel is not None:
        config = track.multichannel
        shape |= {"channel_order": config.order, "channels": config.channels, "mask": config.mask}
        shape["mapping"] = None if config.mapping is None else config.mapping.hex()
    return _present(shape)


def _present(shape: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shape.items() if value is not None}
