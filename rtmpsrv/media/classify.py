"""Decide what the channel log must know about an audio or video message, legacy or enhanced.

`classify_audio` and `classify_video` run once per media message: the usual messages are decided by
the length and two bytes. Nothing here raises, whatever the bytes: what is malformed or unknown is
relayed as a plain frame, and never used as a keyframe or a header. For whole headers see `parse`.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media import enhanced, frames
from rtmpsrv.media.enhanced import KEYFRAME_TYPES, Enhanced
from rtmpsrv.protocol.messages import AUDIO, VIDEO

# Flags of a message. 0: nothing but to relay it (a video command).
KEYFRAME: Final = 1  # of the default track: a player can start here
HEADER: Final = 2  # sequence header, video metadata or multichannel config: cache and replay it
FRAME: Final = 4  # coded media, or bytes of unknown meaning that are treated alike
END: Final = 8  # end of sequence
EMPTY: Final = 16  # no bytes at all: silence
TRACK_KEYFRAME: Final = 32  # of other tracks only; matters when the stream has no track 0, see `track_id`

# Codec ids whose second byte is a packet type, and their FourCC: AVC, and the non-standard HEVC and AV1 laid
# out alike.
PACKETIZED_VIDEO_CODECS: Final[dict[int, bytes]] = {7: b"avc1", 12: b"hvc1", 13: b"av01"}
# Sound formats likewise: AAC, and Opus in the dialect of some Chinese encoders.
PACKETIZED_SOUND_FORMATS: Final = frozenset({10, 13})
ENHANCED_SOUND_FORMAT: Final = 9
PACKETIZED_VIDEO_HEADER_SIZE: Final = 5  # bytes: codec, packet type, composition time
LEGACY_SEQUENCE_HEADER: Final = 0
LEGACY_MEDIA: Final = 1
LEGACY_END_OF_SEQUENCE: Final = 2

# Below this length a keyframe or header may be cut short, so the table does not hold.
_SURE_VIDEO_SIZE: Final = 8  # bytes: first byte, FourCC, composition time

_VIDEO_HEADER_TYPES: Final = frozenset(
    {enhanced.SEQUENCE_START, enhanced.METADATA, enhanced.VIDEO_MPEG2TS_SEQUENCE_START}
)
_VIDEO_FRAME_TYPES: Final = frozenset({enhanced.CODED_FRAMES, enhanced.VIDEO_CODED_FRAMES_X})
_PLAIN: Final = frozenset(
    set(range(8)) - KEYFRAME_TYPES - {frames.FRAME_TYPE_NONE, enhanced.FRAME_TYPE_COMMAND}
)  # types of frames
_AUDIO_FRAME_TYPES: Final = frozenset({enhanced.CODED_FRAMES})
_AUDIO_HEADER_TYPES: Final = frozenset({enhanced.SEQUENCE_START, enhanced.METADATA})


class Slot(NamedTuple):
    """A place in the header cache."""

    type_id: int  # AUDIO or VIDEO
    track_id: int
    name: Literal["config", "metadata"]  # "metadata" is the multichannel config for audio


def classify_video(payload: bytes) -> int:
    """Return the flags of a video message."""
    if len(payload) < _SURE_VIDEO_SIZE:
        return _short_video(payload)
    row = _VIDEO_ROWS[payload[0]]
    return row[payload[1]] if row is not None else _walked_video(payload)


def keyframe_inside(payload: bytes) -> int:
    """Return KEYFRAME or TRACK_KEYFRAME if the coded frame in a message is one, whatever its type says; or 0.

    For streams whose encoder never sets the flag of keyframes (older RootEncoder).
    """
    if payload[0] < 0x80:
        fourcc = PACKETIZED_VIDEO_CODECS.get(payload[0] & 0x0F)
        if fourcc is None or len(payload) < PACKETIZED_VIDEO_HEADER_SIZE or payload[1] != LEGACY_MEDIA:
            return 0
        start = PACKETIZED_VIDEO_HEADER_SIZE
        return KEYFRAME if frames.is_coded_keyframe(fourcc, payload, start, len(payload)) else 0
    try:
        headers = enhanced.walk_video(payload)
    except RemoteProtocolError:
        return 0
    if headers.command is not None or headers.packet_type not in _VIDEO_FRAME_TYPES:
        return 0
    return _coded_keyframe_flag(payload, headers)


def classify_audio(payload: bytes) -> int:
    """Return the flags of an audio message."""
    if len(payload) < 2:
        return FRAME if payload else EMPTY  # AF alone occurs
    row = _AUDIO_ROWS[payload[0]]
    return row[payload[1]] if row is not None else _enhanced_audio(payload)


def header_slots(type_id: int, payload: bytes) -> tuple[Slot, ...]:
    """Return the slots that a HEADER message fills, one per track; empty for any other message."""
    if type_id == VIDEO:
        if not payload or payload[0] < 0x80:
            return (Slot(VIDEO, 0, "config"),) if classify_video(payload) & HEADER else ()
        walk, types = enhanced.walk_video, _VIDEO_HEADER_TYPES
    else:
        if not payload or payload[0] >> 4 != ENHANCED_SOUND_FORMAT:
            return (Slot(AUDIO, 0, "config"),) if classify_audio(payload) & HEADER else ()
        walk, types = enhanced.walk_audio, _AUDIO_HEADER_TYPES
    try:
        headers = walk(payload)
    except RemoteProtocolError:
        return ()
    if headers.packet_type not in types:
        return ()
    name: Literal["config", "metadata"] = "metadata" if headers.packet_type == enhanced.METADATA else "config"
    return tuple([Slot(type_id, track.track_id, name) for track in headers.tracks])


def ends_slots(type_id: int, payload: bytes) -> tuple[Slot, ...]:
    """Return the slots that an END message empties; empty for any other message.

    The legacy end of sequence empties none: encoders that go on after it do not repeat the header.
    """
    if type_id == VIDEO:
        if not classify_video(payload) & END or payload[0] < 0x80:
            return ()
        headers = enhanced.walk_video(payload)
    else:
        if not classify_audio(payload) & END:
            return ()
        headers = enhanced.walk_audio(payload)
    slots: list[Slot] = []
    for track in headers.tracks:
        slots += Slot(type_id, track.track_id, "config"), Slot(type_id, track.track_id, "metadata")
    return tuple(slots)


def track_id(payload: bytes) -> int:
    """Return the lowest track id of a video message; 0 for legacy, command and malformed messages."""
    if not payload or payload[0] < 0x80:
        return 0
    try:
        tracks = enhanced.walk_video(payload).tracks
    except RemoteProtocolError:
        return 0
    return min((track.track_id for track in tracks), default=0)


def _short_video(payload: bytes) -> int:
    if not payload:
        return EMPTY
    first = payload[0]
    if first >= 0x80:
        return _enhanced_video(payload)
    if first & 0x0F not in PACKETIZED_VIDEO_CODECS or first >> 4 == enhanced.FRAME_TYPE_COMMAND:
        return _legacy_video_row(first)[0]
    return _walked_video(payload) if len(payload) >= PACKETIZED_VIDEO_HEADER_SIZE else FRAME


def _walked_video(payload: bytes) -> int:
    """Return the flags of a message whose first two bytes do not tell."""
    first = payload[0]
    if first >= 0x80:
        return _enhanced_video(payload)
    flags = _legacy_video_row(first)[payload[1]]
    if flags == FRAME and first >> 4 == frames.FRAME_TYPE_NONE:
        flags |= keyframe_inside(payload)
    return flags


def _enhanced_video(payload: bytes) -> int:
    if _is_plain(payload, enhanced.VIDEO_MULTITRACK, _VIDEO_FRAME_TYPES) and payload[0] >> 4 & 7 in _PLAIN:
        return FRAME
    try:
        headers = enhanced.walk_video(payload)
    except RemoteProtocolError:
        return FRAME
    if headers.command is not None:
        return 0
    packet_type = headers.packet_type
    if packet_type in _VIDEO_FRAME_TYPES:
        if headers.frame_type == frames.FRAME_TYPE_NONE:
            return FRAME | _coded_keyframe_flag(payload, headers)
        return FRAME | _keyframe_flag(headers)
    if packet_type in _VIDEO_HEADER_TYPES:
        return HEADER
    return END if packet_type == enhanced.SEQUENCE_END else FRAME


def _enhanced_audio(payload: bytes) -> int:
    if _is_plain(payload, enhanced.AUDIO_MULTITRACK, _AUDIO_FRAME_TYPES):
        return FRAME
    try:
        packet_type = enhanced.walk_audio(payload).packet_type
    except RemoteProtocolError:
        return FRAME
    if packet_type in _AUDIO_HEADER_TYPES:
        return HEADER
    return END if packet_type == enhanced.SEQUENCE_END else FRAME


def _is_plain(payload: bytes, multitrack_type: int, frame_types: frozenset[int]) -> bool:
    """Tell whether a message has frames of several tracks, which need not be looked at one by one."""
    return len(payload) > 1 and payload[0] & 0x0F == multitrack_type and payload[1] & 0x0F in frame_types


def _keyframe_flag(headers: Enhanced) -> int:
    if headers.frame_type not in KEYFRAME_TYPES:
        return 0
    # A keyframe of track 1 only (FFmpeg 8 and later send them) is no place to start track 0.
    return KEYFRAME if any(track.track_id == 0 for track in headers.tracks) else TRACK_KEYFRAME


def _coded_keyframe_flag(payload: bytes, headers: Enhanced) -> int:
    """Look at the lowest track: it alone may begin a GOP, and 32 would be much work for one message."""
    lowest, fourcc, start, end = min(headers.tracks)
    start += enhanced.composition_time_size(headers.packet_type, fourcc)
    if not frames.is_coded_keyframe(fourcc, payload, start, end):
        return 0
    return TRACK_KEYFRAME if lowest else KEYFRAME


def _legacy_video_row(first: int) -> bytes:
    """Return the flags of a legacy message of known length, by its second byte."""
    frame_type, codec_id = first >> 4, first & 0x0F
    if frame_type == enhanced.FRAME_TYPE_COMMAND:
        return bytes(256)
    media = FRAME | KEYFRAME if frame_type in KEYFRAME_TYPES else FRAME
    if codec_id not in PACKETIZED_VIDEO_CODECS:
        return bytes([media]) * 256
    # On packet type alone: encoders send sequence headers as 17 00 and as 27 00, and the end, 17 02,
    # says "keyframe" in FFmpeg and GStreamer.
    return bytes([HEADER, media, END]) + bytes([FRAME]) * 253


def _video_row(first: int) -> bytes | None:
    """Return the flags by second byte of messages that start with `first`; None: look further."""
    frame_type = first >> 4 & 7
    if frame_type == frames.FRAME_TYPE_NONE:
        return None
    if first < 0x80:
        return _legacy_video_row(first)
    if first & 0x0F not in _VIDEO_FRAME_TYPES or frame_type == enhanced.FRAME_TYPE_COMMAND:
        return None
    return bytes([FRAME | KEYFRAME if frame_type in KEYFRAME_TYPES else FRAME]) * 256


def _legacy_audio_row(first: int) -> bytes:
    if first >> 4 in PACKETIZED_SOUND_FORMATS:
        return bytes([HEADER]) + bytes([FRAME]) * 255
    return bytes([FRAME]) * 256


def _audio_row(first: int) -> bytes | None:
    if first >> 4 != ENHANCED_SOUND_FORMAT:
        return _legacy_audio_row(first)
    return bytes([FRAME]) * 256 if first & 0x0F == enhanced.CODED_FRAMES else None


_VIDEO_ROWS: Final = tuple(_video_row(first) for first in range(256))
_AUDIO_ROWS: Final = tuple(_audio_row(first) for first in range(256))
