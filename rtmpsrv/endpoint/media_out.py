"""Media of a registrant as messages for a channel: (type id, timestamp, msid, payload, csid). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import LocalProtocolError
from ..media import classify
from ..media.metadata import METADATA_NAME
from ..protocol import amf0, messages
from ..protocol.amf_values import EcmaArray
from .types import (
    AudioCodec,
    AudioData,
    MediaData,
    ScriptData,
    StreamMetadata,
    VideoCodec,
    VideoData,
)

MAX_PAYLOAD_BYTES = 0xFFFFFF  # the length field of a message has 24 bits
_UINT32_MASK = 0xFFFFFFFF
_MSID = 1  # the channel frames for this one anyway

_KEYFRAME_AVC = 0x17
_INTERFRAME_AVC = 0x27
_AAC_44K_16BIT_STEREO = 0xAF  # what every AAC message says, whatever its configuration

Message = tuple[int, int, int, bytes, int]


def encode(data: MediaData) -> Message | None:
    """Return the message; None for a codec that cannot be wrapped.

    Raises ValueError for what RTMP cannot carry, TypeError for what is no media.
    """
    encoder = _ENCODERS.get(type(data))
    if encoder is None:
        raise TypeError(f"{type(data).__name__} is no media")
    type_id, timestamp, payload = encoder(data)
    try:
        timestamp &= _UINT32_MASK
    except TypeError:
        raise TypeError(f"timestamp is a whole number of ms, not {timestamp!r}") from None
    if payload is None:
        return None
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"message of {len(payload)} bytes, limit {MAX_PAYLOAD_BYTES}")
    return type_id, timestamp, _MSID, payload, 0


def _video(data: VideoData) -> tuple[int, int, bytes | None]:
    payload: bytes | None = None
    if data.is_raw:
        payload = _body(data.data)
    elif data.codec is VideoCodec.H264:
        packet_type = classify.LEGACY_MEDIA
        if data.is_sequence_header:
            packet_type = classify.LEGACY_SEQUENCE_HEADER
        elif data.is_end_of_sequence:
            packet_type = classify.LEGACY_END_OF_SEQUENCE
        first = _KEYFRAME_AVC if data.is_keyframe else _INTERFRAME_AVC
        try:
            offset = data.composition_time_offset.to_bytes(3, "big", signed=True)
        except OverflowError:
            raise ValueError(
                f"composition time offset of {data.composition_time_offset} ms, it has 24 bits with sign"
            ) from None
        except AttributeError:
            raise TypeError(
                f"composition time offset is a whole number of ms, not {data.composition_time_offset!r}"
            ) from None
        payload = b"".join((bytes((first, packet_type)), offset, _body(data.data)))
    return messages.VIDEO, data.timestamp, payload


def _audio(data: AudioData) -> tuple[int, int, bytes | None]:
    payload: bytes | None = None
    if data.is_raw:
        payload = _body(data.data)
    elif data.codec is AudioCodec.AAC:
        packet_type = classify.LEGACY_SEQUENCE_HEADER if data.is_sequence_header else classify.LEGACY_MEDIA
        payload = bytes((_AAC_44K_16BIT_STEREO, packet_type)) + _body(data.data)
    return messages.AUDIO, data.timestamp, payload


def _metadata(data: StreamMetadata) -> tuple[int, int, bytes]:
    try:
        return messages.DATA_AMF0, 0, amf0.encode(METADATA_NAME, EcmaArray(data.properties))
    except LocalProtocolError as exc:
        raise ValueError(f"metadata that cannot be written: {exc}") from exc


def _script(data: ScriptData) -> tuple[int, int, bytes]:
    return messages.DATA_AMF0, data.timestamp, _body(data.data)


def _body(given: Any) -> bytes:
    """Return a body as bytes; a copy of anything mutable, for the log and caches keep it."""
    if type(given) is bytes:
        return given
    try:
        return bytes(memoryview(given))
    except TypeError:
        raise TypeError(f"the data of media is bytes, this is {type(given).__name__}") from None


_ENCODERS: dict[type, Callable[[Any], tuple[int, int, bytes | None]]] = {
    VideoData: _video,
    AudioData: _audio,
    StreamMetadata: _metadata,
    ScriptData: _script,
}
