"""Walk the headers of Enhanced RTMP (E-RTMP 2) messages down to the tracks; copies no media bytes.

What the result means for the cache is in `classify`, what it means for a program in `parse`.
"""

from __future__ import annotations

from typing import NamedTuple

from rtmpsrv.errors import RemoteProtocolError

# Packet types that audio and video share, then their own (E-RTMP 2, AudioPacketType, VideoPacketType).
SEQUENCE_START = 0
CODED_FRAMES = 1
SEQUENCE_END = 2
METADATA = 4  # video: colour; audio: MultichannelConfig
MOD_EX = 7
AUDIO_MULTITRACK = 5
VIDEO_CODED_FRAMES_X = 3
VIDEO_MPEG2TS_SEQUENCE_START = 5
VIDEO_MULTITRACK = 6

ONE_TRACK = 0
MANY_TRACKS = 1
MANY_TRACKS_MANY_CODECS = 2

FRAME_TYPE_COMMAND = 5
KEYFRAME_TYPES = frozenset({1, 4})  # 4 is a keyframe that a server made

MODIFIER_TIMESTAMP_OFFSET_NANO = 0

# CodedFrames of these start with a composition time (SI24, ms); of AV1, VP8 and VP9 they do not.
COMPOSITION_TIME_FOURCCS = frozenset({b"avc1", b"hvc1", b"vvc1"})
COMPOSITION_TIME_SIZE = 3

CHANNEL_ORDER_NATIVE = 1
CHANNEL_ORDER_CUSTOM = 2

MAX_MODIFIERS = 16  # per message; only one kind is defined
MAX_TRACKS = 32  # per message; real streams have up to 6. More are a plain frame to the relay


class Track(NamedTuple):
    """One track of a message: its body is `payload[start:end]`."""

    track_id: int
    fourcc: bytes
    start: int
    end: int


class Enhanced(NamedTuple):
    """The headers of one message. `packet_type` is the innermost, `tracks` is empty for a command."""

    frame_type: int  # 0 for audio
    packet_type: int
    multitrack: int | None
    command: int | None
    modifiers: tuple[tuple[int, bytes], ...]
    tracks: tuple[Track, ...]


def walk_video(payload: bytes, most: int = 0) -> Enhanced:
    """Return the headers of a video message whose first byte has bit 7 set (E-RTMP 2, ExVideoTagHeader).

    With `most` no more tracks than that are looked at.
    Raises RemoteProtocolError for a message that is cut short or contradicts itself.
    """
    try:
        frame_type = payload[0] >> 4 & 7
        packet_type, position, modifiers = _skip_modifiers(payload, payload[0] & 0x0F)
        if frame_type == FRAME_TYPE_COMMAND and packet_type != METADATA:
            return Enhanced(frame_type, packet_type, None, payload[position], modifiers, ())
        packet_type, multitrack, tracks = _tracks(payload, position, packet_type, VIDEO_MULTITRACK, most)
    except IndexError:
        raise RemoteProtocolError(f"enhanced video message cut short at {len(payload)} bytes") from None
    if packet_type == CODED_FRAMES:
        for _, fourcc, start, end in tracks:
            if end - start < COMPOSITION_TIME_SIZE and fourcc in COMPOSITION_TIME_FOURCCS:
                raise RemoteProtocolError(f"coded frames of {end - start} bytes, composition time needs 3")
    return Enhanced(frame_type, packet_type, multitrack, None, modifiers, tracks)


def walk_audio(payload: bytes, most: int = 0) -> Enhanced:
    """Return the headers of an audio message of sound format 9 (E-RTMP 2, ExAudioTagHeader).

    With `most` no more tracks than that are looked at.
    Raises RemoteProtocolError for a message that is cut short or contradicts itself.
    """
    try:
        packet_type, position, modifiers = _skip_modifiers(payload, payload[0] & 0x0F)
        packet_type, multitrack, tracks = _tracks(payload, position, packet_type, AUDIO_MULTITRACK, most)
    except IndexError:
        raise RemoteProtocolError(f"enhanced audio message cut short at {len(payload)} bytes") from None
    if packet_type == METADATA:
        for _, _, start, end in tracks:
            if end - start < multichannel_size(payload[start:end]):
                raise RemoteProtocolError(f"multichannel config cut short at {end - start} bytes")
    return Enhanced(0, packet_type, multitrack, None, modifiers, tracks)


def composition_time_size(packet_type: int, fourcc: bytes) -> int:
    """Return how many bytes of composition time come before a track's coded frame."""
    return COMPOSITION_TIME_SIZE if packet_type == CODED_FRAMES and fourcc in COMPOSITION_TIME_FOURCCS else 0


def multichannel_size(body: bytes) -> int:
    """Return how many bytes the multichannel config in `body` should have at least."""
    if len(body) < 2:
        return 2  # order, channel count
    if body[0] == CHANNEL_ORDER_NATIVE:
        return 6  # and a mask of 32 bits
    return 2 + body[1] if body[0] == CHANNEL_ORDER_CUSTOM else 2


def _skip_modifiers(payload: bytes, packet_type: int) -> tuple[int, int, tuple[tuple[int, bytes], ...]]:
    """Return (packet type, position behind the ModEx packets, those packets); may raise IndexError."""
    position = 1
    if packet_type != MOD_EX:
        return packet_type, position, ()
    modifiers: list[tuple[int, bytes]] = []
    while packet_type == MOD_EX:
        if len(modifiers) == MAX_MODIFIERS:
            raise RemoteProtocolError(f"more than {MAX_MODIFIERS} ModEx packets in a message")
        size = payload[position] + 1
        position += 1
        if size == 256:  # the escape to a size of 16 bits
            size = (payload[position] << 8 | payload[position + 1]) + 1
            position += 2
        data = payload[position : position + size]
        position += size
        modifier_type, packet_type = payload[position] >> 4, payload[position] & 0x0F
        position += 1
        if modifier_type == MODIFIER_TIMESTAMP_OFFSET_NANO and size < 3:
            raise RemoteProtocolError(f"nanosecond offset of {size} bytes, needs 3")
        modifiers.append((modifier_type, data))
    return packet_type, position, tuple(modifiers)


def _tracks(
    payload: bytes, position: int, packet_type: int, multitrack_type: int, most: int
) -> tuple[int, int | None, tuple[Track, ...]]:
    """Return (innermost packet type, kind of multitrack or None, tracks); may raise IndexError."""
    end = len(payload)
    if packet_type != multitrack_type:
        fourcc = _fourcc(payload, position)
        return packet_type, None, (Track(0, fourcc, position + 4, end),)
    multitrack, packet_type = payload[position] >> 4, payload[position] & 0x0F
    position += 1
    if packet_type == multitrack_type:
        raise RemoteProtocolError("multitrack inside multitrack")
    if multitrack > MANY_TRACKS_MANY_CODECS:
        raise RemoteProtocolError(f"multitrack type {multitrack}, known are 0 to 2")
    fourcc = b""
    if multitrack != MANY_TRACKS_MANY_CODECS:
        fourcc = _fourcc(payload, position)
        position += 4
    if multitrack == ONE_TRACK:
        return packet_type, multitrack, (Track(payload[position], fourcc, position + 1, end),)
    return packet_type, multitrack, _sized_tracks(payload, position, fourcc, most)


def _sized_tracks(payload: bytes, position: int, fourcc: bytes, most: int) -> tuple[Track, ...]:
    """Return the first tracks, or with 0 all, from `position` on; each names its own codec when `fourcc` is
    empty."""
    end = len(payload)
    tracks: list[Track] = []
    while position < end or not tracks:
        if len(tracks) == MAX_TRACKS:
            raise RemoteProtocolError(f"more than {MAX_TRACKS} tracks in a message")
        track_fourcc = fourcc
        if not fourcc:
            track_fourcc = _fourcc(payload, position)
            position += 4
        track_id = payload[position]
        size = payload[position + 1] << 16 | payload[position + 2] << 8 | payload[position + 3]
        position += 4
        if size > end - position:
            raise RemoteProtocolError(f"track of {size} bytes, message has {end - position} left")
        tracks.append(Track(track_id, track_fourcc, position, position + size))
        if len(tracks) == most:
            break
        position += size
    return tuple(tracks)


def _fourcc(payload: bytes, position: int) -> bytes:
    fourcc = payload[position : position + 4]
    if len(fourcc) < 4:
        raise RemoteProtocolError(f"FourCC of {len(fourcc)} bytes at byte {position}, needs 4")
    return fourcc
