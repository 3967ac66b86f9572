"""What players get that know one track of a kind: messages of several tracks, reduced to the default ones.

Pure. Nothing here raises, whatever the bytes: what is not understood stays as it is.
"""

from __future__ import annotations

from typing import Final

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media import enhanced
from rtmpsrv.media.classify import ENHANCED_SOUND_FORMAT, header_slots
from rtmpsrv.media.tracks import configured_tracks
from rtmpsrv.protocol.messages import AUDIO, VIDEO

Headers = tuple[tuple[int, bytes], ...]  # (type id, payload)

_ENHANCED_VIDEO: Final = 0x80
_VIDEO_WRAPPERS: Final = frozenset({enhanced.MOD_EX, enhanced.VIDEO_MULTITRACK})
_AUDIO_WRAPPERS: Final = frozenset({enhanced.MOD_EX, enhanced.AUDIO_MULTITRACK})


def default_track(type_id: int, headers: Headers) -> int:
    """Return the default track of a kind by the headers in force: 0, or the lowest that is configured."""
    found = [
        slot.track_id
        for kind, payload in headers
        if kind == type_id
        for slot in header_slots(kind, payload)
        if slot.name == "config"
    ]
    return min(found, default=0)


def only_track(type_id: int, payload: bytes, track_id: int) -> bytes | None:
    """Return an audio or video message with nothing but a track; None where it has none of that one.

    A message that names no tracks is of the default one, whichever that is, and stays as it is.
    """
    if not _may_wrap(type_id, payload):
        return payload
    try:
        headers = (enhanced.walk_video if type_id == VIDEO else enhanced.walk_audio)(payload)
    except RemoteProtocolError:
        return payload
    if headers.multitrack is None:
        return payload
    for number, fourcc, start, end in headers.tracks:
        if number == track_id:
            first = ENHANCED_SOUND_FORMAT if type_id == AUDIO else 8 | headers.frame_type
            return bytes([first << 4 | headers.packet_type]) + fourcc + payload[start:end]
    return None


def only_tracks(headers: Headers, audio_track: int, video_track: int) -> Headers:
    """Return headers with nothing but a track of each kind."""
    kept: list[tuple[int, bytes]] = []
    for type_id, payload in headers:
        one = only_track(type_id, payload, video_track if type_id == VIDEO else audio_track)
        if one is not None:
            kept.append((type_id, one))
    return tuple(kept)


def codec_of(type_id: int, payload: bytes) -> str:
    """Return the codec that a header configures; "" for a message that configures none."""
    tracks = configured_tracks(type_id, payload)
    return tracks[0].codec if tracks else ""


def _may_wrap(type_id: int, payload: bytes) -> bool:
    """Tell by its first byte whether a message may name its tracks."""
    if not payload:
        return False
    first = payload[0]
    if type_id == VIDEO:
        return first >= _ENHANCED_VIDEO and first & 0x0F in _VIDEO_WRAPPERS
    return first >> 4 == ENHANCED_SOUND_FORMAT and first & 0x0F in _AUDIO_WRAPPERS
