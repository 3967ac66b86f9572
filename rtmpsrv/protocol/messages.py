"""Message types, user control events and the bodies of protocol control messages.

Constants and tiny encoders; what a message does to a connection is in `connection`.
A message travels as a plain tuple, see `Message`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ..errors import RemoteProtocolError
from .chunks import pack

# Message type ids (RTMP 1.0 sections 5.4, 7.1).
SET_CHUNK_SIZE: Final = 1
ABORT: Final = 2
ACKNOWLEDGEMENT: Final = 3
USER_CONTROL: Final = 4
WINDOW_ACK_SIZE: Final = 5
SET_PEER_BANDWIDTH: Final = 6
AUDIO: Final = 8
VIDEO: Final = 9
DATA_AMF3: Final = 15
SHARED_OBJECT_AMF3: Final = 16
COMMAND_AMF3: Final = 17
DATA_AMF0: Final = 18
SHARED_OBJECT_AMF0: Final = 19
COMMAND_AMF0: Final = 20
AGGREGATE: Final = 22
LAST_MESSAGE_TYPE: Final = 22  # the reference closes on anything above

# User control events (RTMP 1.0 section 7.1.7).
STREAM_BEGIN: Final = 0
STREAM_EOF: Final = 1
SET_BUFFER_LENGTH: Final = 3
PING_REQUEST: Final = 6
PING_RESPONSE: Final = 7

# Chunk streams that this server writes on; readers must not care, scrapers of the reference might.
CONTROL_CSID: Final = 2
COMMAND_CSID: Final = 3
AUDIO_CSID: Final = 4
VIDEO_CSID: Final = 5
DATA_CSID: Final = 6

_UINT32: Final = struct.Struct(">I")
_EVENT: Final = struct.Struct(">HI")


class Message(NamedTuple):
    """A complete message as the chunk reader delivers it: an undecoded payload and its header fields.

    `timestamp` is in milliseconds modulo 2^32, absolute. On the hot path these are plain tuples with
    the same fields in the same order (a tuple costs a tenth of an object).
    """

    type_id: int
    timestamp: int
    msid: int
    payload: bytes
    csid: int


def uint32(type_id: int, body: bytes) -> int:
    """Return the leading 32-bit field of a control body; RemoteProtocolError when it is short."""
    if len(body) < 4:
        raise RemoteProtocolError(f"control message type {type_id} of {len(body)} bytes, needs 4")
    return int.from_bytes(body[:4], "big")


def control(type_id: int, body: bytes) -> bytes:
    """Frame a protocol control message: chunk stream 2, message stream 0, timestamp 0."""
    return pack(CONTROL_CSID, 0, type_id, 0, body)


def window_ack_size(size_bytes: int) -> bytes:
    return control(WINDOW_ACK_SIZE, _UINT32.pack(size_bytes))


def set_peer_bandwidth(size_bytes: int, limit_type: int) -> bytes:
    return control(SET_PEER_BANDWIDTH, _UINT32.pack(size_bytes) + bytes((limit_type,)))


def set_chunk_size(size_bytes: int) -> bytes:
    return control(SET_CHUNK_SIZE, _UINT32.pack(size_bytes))


def acknowledgement(received_bytes: int) -> bytes:
    """Frame an Acknowledgement; the count wraps at 2^32."""
    return control(ACKNOWLEDGEMENT, _UINT32.pack(received_bytes & 0xFFFFFFFF))


def user_control(event: int, value: int, timestamp: int = 0) -> bytes:
    """Frame a user control message whose data is one 32-bit number."""
    body = _EVENT.pack(event, value & 0xFFFFFFFF)
    return pack(CONTROL_CSID, timestamp & 0xFFFFFFFF, USER_CONTROL, 0, body)
