"""Messages of a publisher as media for a registrant. Pure; never raises, whatever the bytes.

H.264 and AAC in the legacy layout come out as bare payloads, everything else raw, so that nothing is lost.
"""

from __future__ import annotations

from ..errors import AmfError, LocalProtocolError, RemoteProtocolError
from ..media import classify, parse
from ..media.enhanced import FRAME_TYPE_COMMAND, KEYFRAME_TYPES
from ..media.frames import FRAME_TYPE_NONE
from ..media.metadata import METADATA_NAME, DataKind, metadata_from
from ..protocol import amf0, messages
from .types import (
    AudioCodec,
    AudioData,
    MediaData,
    ScriptData,
    StreamMetadata,
    VideoCodec,
    VideoData,
)

MIN_VIDEO_BYTES = classify.PACKETIZED_VIDEO_HEADER_SIZE  # shorter ones are dropped: docs/endpoint.md
_AVC = 7
_AAC = 10

VIDEO_CODECS = {
    "avc1": VideoCodec.UNKNOWN,  # enhanced, or it would be bare: nobody must take it for a NAL unit
    "hvc1": VideoCodec.HEVC,
    "av01": VideoCodec.AV1,
    "vp08": VideoCodec.VP8,
    "vp09": VideoCodec.VP9,
    "vvc1": VideoCodec.VVC,
}
AUDIO_CODECS = {
    ".mp3": AudioCodec.MP3,
    "Opus": AudioCodec.OPUS,
    "fLaC": AudioCodec.FLAC,
    "ac-3": AudioCodec.AC3,
    "ec-3": AudioCodec.EAC3,
    "speex": AudioCodec.SPEEX,
}


def decode(type_id: int, timestamp: int, payload: bytes) -> MediaData | None:
    """Return what a media or data message says; None for what is dropped."""
    if type_id == messages.VIDEO:
        return _video(timestamp, payload)
    if type_id == messages.AUDIO:
        return _audio(timestamp, payload)
    return _data(timestamp, payload, type_id == messages.DATA_AMF3)


def _video(timestamp: int, payload: bytes) -> VideoData | None:
    if len(payload) < MIN_VIDEO_BYTES:
        return None
    first = payload[0]
    frame_type = first >> 4
    if first & 0x8F != _AVC or frame_type == FRAME_TYPE_COMMAND:
        return _raw_video(timestamp, payload)
    packet_type = payload[1]
    return VideoData(
        payload[MIN_VIDEO_BYTES:],
        timestamp,
        VideoCodec.H264,
        frame_type in KEYFRAME_TYPES
        or (frame_type == FRAME_TYPE_NONE and classify.keyframe_inside(payload) > 0),
        packet_type == classify.LEGACY_SEQUENCE_HEADER,
        int.from_bytes(payload[2:MIN_VIDEO_BYTES], "big", signed=True),
        packet_type == classify.LEGACY_END_OF_SEQUENCE,
    )


def _raw_video(timestamp: int, payload: bytes) -> VideoData:
    flags = classify.classify_video(payload)
    offset, codec = 0, VideoCodec.UNKNOWN
    try:
        tracks = parse.parse_video(payload).tracks
    except RemoteProtocolError:
        tracks = ()
    if tracks:
        codec = VIDEO_CODECS.get(tracks[0].codec, VideoCodec.UNKNOWN)
        offset = tracks[0].composition_time or 0
    return VideoData(
        payload,
        timestamp,
        codec,
        is_keyframe=bool(flags & (classify.KEYFRAME | classify.TRACK_KEYFRAME)),
        is_sequence_header=bool(flags & classify.HEADER),
        composition_time_offset=offset,
        is_end_of_sequence=bool(flags & classify.END),
        is_raw=True,
    )


def _audio(timestamp: int, payload: bytes) -> AudioData:
    if len(payload) >= 2 and payload[0] >> 4 == _AAC:
        return AudioData(
            payload[2:], timestamp, AudioCodec.AAC, payload[1] == classify.LEGACY_SEQUENCE_HEADER
        )
    flags = classify.classify_audio(payload)
    try:
        tracks = parse.parse_audio(payload).tracks
    except RemoteProtocolError:
        tracks = ()
    codec = AUDIO_CODECS.get(tracks[0].codec, AudioCodec.UNKNOWN) if tracks else AudioCodec.UNKNOWN
    return AudioData(payload, timestamp, codec, bool(flags & classify.HEADER), is_raw=True)


def _data(timestamp: int, payload: bytes, format_byte: bool) -> MediaData | None:
    message = metadata_from(payload, format_byte)
    if message.kind is DataKind.STORE and message.name == METADATA_NAME:
        try:
            values = amf0.decode(message.payload)
            amf0.encode(*values)  # what cannot be said in AMF0 again must not reach `send` as properties
        except (AmfError, LocalProtocolError):
            values = []
        if len(values) == 2 and isinstance(values[1], dict):
            return StreamMetadata(dict(values[1]))
    if format_byte and payload[:1] == b"\x00":
        payload = payload[1:]
    return ScriptData(payload, timestamp) if payload else None
