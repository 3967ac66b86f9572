"""What audio and video messages hold for a file format: configurations and coded frames, by track. Pure.

Nothing here raises: what is malformed holds nothing. Frames without bytes, with which FFmpeg ends Opus and
FLAC, are none.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media import enhanced, frames
from rtmpsrv.media.classify import (
    ENHANCED_SOUND_FORMAT,
    LEGACY_MEDIA,
    LEGACY_SEQUENCE_HEADER,
    PACKETIZED_VIDEO_CODECS,
    PACKETIZED_VIDEO_HEADER_SIZE,
)
from rtmpsrv.media.enhanced import Enhanced
from rtmpsrv.protocol.messages import AUDIO, VIDEO

MP3: Final = b".mp3"
# Legacy sound formats by their FourCC; those with a packet type in the second byte have a configuration.
_SOUNDS: Final = {2: MP3, 10: b"mp4a", 13: b"Opus", 14: MP3}
_WITH_CONFIG: Final = frozenset({10, 13})
_CODED: Final = frozenset({enhanced.CODED_FRAMES, enhanced.VIDEO_CODED_FRAMES_X})


class Config(NamedTuple):
    """What a decoder of one track must know before its frames; `body` may be empty."""

    kind: int  # AUDIO or VIDEO
    track_id: int
    fourcc: bytes
    body: bytes


class Coded(NamedTuple):
    """One frame of one track, as a decoder takes it."""

    kind: int
    track_id: int
    fourcc: bytes  # empty for what has none: a codec of old FLV
    offset: int  # ms, presentation minus decoding time
    is_keyframe: bool
    data: bytes


def configs_of(type_id: int, payload: bytes) -> list[Config]:
    """Return the configurations in a message; none in any but a sequence header."""
    if len(payload) < 2:
        return []
    first = payload[0]
    if type_id == VIDEO:
        if first < 0x80:
            fourcc = PACKETIZED_VIDEO_CODECS.get(first & 0x0F, b"")
            is_config = fourcc and payload[1] == LEGACY_SEQUENCE_HEADER and first >> 4 != 5
            return [Config(VIDEO, 0, fourcc, payload[PACKETIZED_VIDEO_HEADER_SIZE:])] if is_config else []
    elif first >> 4 != ENHANCED_SOUND_FORMAT:
        is_config = first >> 4 in _WITH_CONFIG and payload[1] == LEGACY_SEQUENCE_HEADER
        return [Config(AUDIO, 0, _SOUNDS[first >> 4], payload[2:])] if is_config else []
    headers = _walked(type_id, payload)
    if headers is None or headers.packet_type != enhanced.SEQUENCE_START:
        return []
    return [Config(type_id, one.track_id, one.fourcc, payload[one.start : one.end]) for one in headers.tracks]


def frames_of(type_id: int, payload: bytes) -> list[Coded]:
    """Return the coded frames in a message."""
    if len(payload) < 2:
        return []
    if type_id == VIDEO:
        return _legacy_video(payload) if payload[0] < 0x80 else _enhanced(VIDEO, payload)
    return _legacy_audio(payload) if payload[0] >> 4 != ENHANCED_SOUND_FORMAT else _enhanced(AUDIO, payload)


def _legacy_video(payload: bytes) -> list[Coded]:
    frame_type, codec_id = payload[0] >> 4, payload[0] & 0x0F
    if frame_type == enhanced.FRAME_TYPE_COMMAND:
        return []
    fourcc = PACKETIZED_VIDEO_CODECS.get(codec_id, b"")
    if not fourcc:
        return [Coded(VIDEO, 0, b"", 0, frame_type in enhanced.KEYFRAME_TYPES, payload[1:])]
    begin, end = PACKETIZED_VIDEO_HEADER_SIZE, len(payload)
    if payload[1] != LEGACY_MEDIA or begin >= end:
        return []
    offset = int.from_bytes(payload[2:begin], "big", signed=True)
    is_keyframe = frames.is_keyframe(frame_type, fourcc, payload, begin, end)
    return [Coded(VIDEO, 0, fourcc, offset, is_keyframe, payload[begin:])]


def _legacy_audio(payload: bytes) -> list[Coded]:
    sound_format = payload[0] >> 4
    fourcc = _SOUNDS.get(sound_format, b"")
    if sound_format not in _WITH_CONFIG:
        return [Coded(AUDIO, 0, fourcc, 0, True, payload[1:])]
    if payload[1] == LEGACY_SEQUENCE_HEADER or len(payload) == 2:
        return []
    return [Coded(AUDIO, 0, fourcc, 0, True, payload[2:])]


def _enhanced(kind: int, payload: bytes) -> list[Coded]:
    headers = _walked(kind, payload)
    if headers is None or headers.packet_type not in _CODED:
        return []
    found: list[Coded] = []
    for track_id, fourcc, start, end in headers.tracks:
        offset, is_keyframe = 0, True
        if kind == VIDEO:
            if enhanced.composition_time_size(headers.packet_type, fourcc):
                offset = int.from_bytes(payload[start : start + 3], "big", signed=True)
                start += enhanced.COMPOSITION_TIME_SIZE
            is_keyframe = frames.is_keyframe(headers.frame_type, fourcc, payload, start, end)
        if start < end:
            found.append(Coded(kind, track_id, fourcc, offset, is_keyframe, payload[start:end]))
    return found


def _walked(kind: int, payload: bytes) -> Enhanced | None:
    try:
        return enhanced.walk_video(payload) if kind == VIDEO else enhanced.walk_audio(payload)
    except RemoteProtocolError:
        return None
