"""Decode the whole header of an audio or video message, for programs that work on the media.

The relay does not come here: it needs `classify` only. Malformed input raises RemoteProtocolError.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media import enhanced, frames
from rtmpsrv.media.classify import (
    ENHANCED_SOUND_FORMAT,
    LEGACY_END_OF_SEQUENCE,
    LEGACY_MEDIA,
    LEGACY_SEQUENCE_HEADER,
    PACKETIZED_SOUND_FORMATS,
    PACKETIZED_VIDEO_CODECS,
    PACKETIZED_VIDEO_HEADER_SIZE,
)
from rtmpsrv.media.enhanced import Enhanced, Track

# Names as in FLV and E-RTMP 2; what has none is "reserved_" and the number.
FRAME_TYPES = {1: "key", 2: "inter", 3: "disposable", 4: "generated_key", 5: "command"}
MULTITRACK_TYPES = {
    enhanced.ONE_TRACK: "OneTrack",
    enhanced.MANY_TRACKS: "ManyTracks",
    enhanced.MANY_TRACKS_MANY_CODECS: "ManyTracksManyCodecs",
}
VIDEO_PACKET_TYPES = {
    enhanced.SEQUENCE_START: "SequenceStart",
    enhanced.CODED_FRAMES: "CodedFrames",
    enhanced.SEQUENCE_END: "SequenceEnd",
    enhanced.VIDEO_CODED_FRAMES_X: "CodedFramesX",
    enhanced.METADATA: "Metadata",
    enhanced.VIDEO_MPEG2TS_SEQUENCE_START: "MPEG2TSSequenceStart",
}
AUDIO_PACKET_TYPES = {
    enhanced.SEQUENCE_START: "SequenceStart",
    enhanced.CODED_FRAMES: "CodedFrames",
    enhanced.SEQUENCE_END: "SequenceEnd",
    enhanced.METADATA: "MultichannelConfig",
}
LEGACY_VIDEO_PACKET_TYPES = {
    LEGACY_SEQUENCE_HEADER: "sequence_header",
    LEGACY_MEDIA: "nalu",
    LEGACY_END_OF_SEQUENCE: "end_of_sequence",
}
LEGACY_AUDIO_PACKET_TYPES = {LEGACY_SEQUENCE_HEADER: "sequence_header", LEGACY_MEDIA: "raw"}

# FourCCs where there is one; ids 12 and 13 are non-standard.
VIDEO_CODECS = {
    2: "h263",
    3: "screen",
    4: "vp6",
    5: "vp6-alpha",
    6: "screen2",
    7: "avc1",
    8: "real-h263",
    9: "mpeg4",
    12: "hvc1",
    13: "av01",
}
SOUND_FORMATS = {
    0: "pcm",
    1: "adpcm",
    2: ".mp3",
    3: "pcm-le",
    4: "nellymoser-16k",
    5: "nellymoser-8k",
    6: "nellymoser",
    7: "g711-alaw",
    8: "g711-mulaw",
    10: "mp4a",
    11: "speex",
    13: "Opus",
    14: "mp3-8k",
    15: "device",
}


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """One track of a video message; `body` is behind the composition time and starts at `body_offset`."""

    track_id: int
    codec: str
    composition_time: int | None  # ms, presentation minus decoding time; None when not sent
    body_offset: int
    body: bytes
    is_keyframe: bool
    is_sequence_header: bool


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video message. A legacy one has one track, with id 0; a command has none."""

    is_enhanced: bool
    frame_type: str
    codec_id: int | None  # legacy only
    packet_type: str | None  # None where the legacy codec has none
    command: int | None
    modifiers: tuple[tuple[int, bytes], ...]
    nano_offset: int | None  # ns, to add to the presentation time
    multitrack: str | None
    tracks: tuple[VideoTrack, ...]


@dataclass(frozen=True, slots=True)
class MultichannelConfig:
    """Where the channels of an audio track go."""

    order: int  # 0 unspecified, 1 native (`mask`), 2 custom (`mapping`)
    channels: int
    mask: int | None
    mapping: bytes | None


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One track of an audio message; `body` starts at `body_offset`."""

    track_id: int
    codec: str
    body_offset: int
    body: bytes
    is_sequence_header: bool
    multichannel: MultichannelConfig | None


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """An audio message. A legacy one has one track, with id 0; silence has none."""

    is_enhanced: bool
    is_silence: bool
    sound_format: int | None  # this and the next three: legacy only, and meaningless but for PCM and MP3
    rate: int | None  # 0 to 3: 5.5, 11, 22, 44 kHz
    size: int | None  # 0: 8 bit samples, 1: 16 bit
    stereo: int | None
    packet_type: str | None  # None where the legacy codec has none
    modifiers: tuple[tuple[int, bytes], ...]
    nano_offset: int | None
    multitrack: str | None
    tracks: tuple[AudioTrack, ...]


def parse_video(payload: bytes) -> VideoInfo:
    """Decode the header of a video message."""
    if not payload:
        raise RemoteProtocolError("video message without bytes")
    if payload[0] >= 0x80:
        return _enhanced_video(payload)
    frame_type, codec_id = payload[0] >> 4, payload[0] & 0x0F
    if frame_type == enhanced.FRAME_TYPE_COMMAND:
        if len(payload) < 2:
            raise RemoteProtocolError("video command without its byte")
        return VideoInfo(False, "command", codec_id, None, payload[1], (), None, None, ())
    packet_type = composition_time = packet_type_name = None
    offset = 1
    fourcc = PACKETIZED_VIDEO_CODECS.get(codec_id, b"")
    if fourcc:
        offset = PACKETIZED_VIDEO_HEADER_SIZE
        if len(payload) < offset:
            raise RemoteProtocolError(f"video message of {len(payload)} bytes, its header has {offset}")
        packet_type = payload[1]
        packet_type_name = _name(LEGACY_VIDEO_PACKET_TYPES, packet_type)
        composition_time = _signed_24(payload, 2)
    track = VideoTrack(
        track_id=0,
        codec=_name(VIDEO_CODECS, codec_id),
        composition_time=composition_time,
        body_offset=offset,
        body=payload[offset:],
        is_keyframe=packet_type in (None, LEGACY_MEDIA)
        and frames.is_keyframe(frame_type, fourcc, payload, offset, len(payload)),
        is_sequence_header=packet_type == LEGACY_SEQUENCE_HEADER,
    )
    name = _name(FRAME_TYPES, frame_type)
    return VideoInfo(False, name, codec_id, packet_type_name, None, (), None, None, (track,))


def parse_audio(payload: bytes) -> AudioInfo:
    """Decode the header of an audio message; one without bytes is silence."""
    if not payload:
        return AudioInfo(False, True, None, None, None, None, None, (), None, None, ())
    first = payload[0]
    sound_format = first >> 4
    if sound_format == ENHANCED_SOUND_FORMAT:
        return _enhanced_audio(payload)
    packet_type = packet_type_name = None
    offset = 1
    if sound_format in PACKETIZED_SOUND_FORMATS:
        offset = 2
        if len(payload) < offset:
            raise RemoteProtocolError(f"audio message of {len(payload)} bytes, its header has {offset}")
        packet_type = payload[1]
        packet_type_name = _name(LEGACY_AUDIO_PACKET_TYPES, packet_type)
    codec = _name(SOUND_FORMATS, sound_format)
    is_header = packet_type == LEGACY_SEQUENCE_HEADER
    return AudioInfo(
        is_enhanced=False,
        is_silence=False,
        sound_format=sound_format,
        rate=first >> 2 & 3,
        size=first >> 1 & 1,
        stereo=first & 1,
        packet_type=packet_type_name,
        modifiers=(),
        nano_offset=None,
        multitrack=None,
        tracks=(AudioTrack(0, codec, offset, payload[offset:], is_header, None),),
    )


def _enhanced_video(payload: bytes) -> VideoInfo:
    headers = enhanced.walk_video(payload)
    return VideoInfo(
        is_enhanced=True,
        frame_type=_name(FRAME_TYPES, headers.frame_type),
        codec_id=None,
        packet_type=_name(VIDEO_PACKET_TYPES, headers.packet_type),
        command=headers.command,
        modifiers=headers.modifiers,
        nano_offset=_nano_offset(headers),
        multitrack=_multitrack(headers),
        tracks=tuple(_video_track(payload, headers, track) for track in headers.tracks),
    )


def _video_track(payload: bytes, headers: Enhanced, track: Track) -> VideoTrack:
    packet_type, start = headers.packet_type, track.start
    composition_time = None
    if size := enhanced.composition_time_size(packet_type, track.fourcc):
        composition_time = _signed_24(payload, start)
        start += size
    is_coded = packet_type in (enhanced.CODED_FRAMES, enhanced.VIDEO_CODED_FRAMES_X)
    return VideoTrack(
        track_id=track.track_id,
        codec=str(track.fourcc, "latin-1"),
        composition_time=composition_time,
        body_offset=start,
        body=payload[start : track.end],
        is_keyframe=is_coded
        and frames.is_keyframe(headers.frame_type, track.fourcc, payload, start, track.end),
        is_sequence_header=packet_type in (enhanced.SEQUENCE_START, enhanced.VIDEO_MPEG2TS_SEQUENCE_START),
    )


def _enhanced_audio(payload: bytes) -> AudioInfo:
    headers = enhanced.walk_audio(payload)
    return AudioInfo(
        is_enhanced=True,
        is_silence=False,
        sound_format=None,
        rate=None,
        size=None,
        stereo=None,
        packet_type=_name(AUDIO_PACKET_TYPES, headers.packet_type),
        modifiers=headers.modifiers,
        nano_offset=_nano_offset(headers),
        multitrack=_multitrack(headers),
        tracks=tuple(_audio_track(payload, headers, track) for track in headers.tracks),
    )


def _audio_track(payload: bytes, headers: Enhanced, track: Track) -> AudioTrack:
    body = payload[track.start : track.end]
    return AudioTrack(
        track_id=track.track_id,
        codec=str(track.fourcc, "latin-1"),
        body_offset=track.start,
        body=body,
        is_sequence_header=headers.packet_type == enhanced.SEQUENCE_START,
        multichannel=_multichannel(body) if headers.packet_type == enhanced.METADATA else None,
    )


def _multichannel(body: bytes) -> MultichannelConfig:
    """Decode a config whose length `enhanced.walk_audio` has checked."""
    order, channels = body[0], body[1]
    mask = int.from_bytes(body[2:6], "big") if order == enhanced.CHANNEL_ORDER_NATIVE else None
    mapping = body[2 : 2 + channels] if order == enhanced.CHANNEL_ORDER_CUSTOM else None
    return MultichannelConfig(order, channels, mask, mapping)


def _nano_offset(headers: Enhanced) -> int | None:
    """Return the last offset; E-RTMP allows 0 to 999999, more is handed on as sent."""
    offset = None
    for modifier_type, data in headers.modifiers:
        if modifier_type == enhanced.MODIFIER_TIMESTAMP_OFFSET_NANO:
            offset = int.from_bytes(data[:3], "big")
    return offset


def _multitrack(headers: Enhanced) -> str | None:
    return None if headers.multitrack is None else MULTITRACK_TYPES[headers.multitrack]


def _name(names: dict[int, str], number: int) -> str:
    return names.get(number) or f"reserved_{number}"


def _signed_24(payload: bytes, position: int) -> int:
    return int.from_bytes(payload[position : position + 3], "big", signed=True)
