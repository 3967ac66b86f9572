"""Split aggregate messages (type 22) into the messages they carry. This server never sends any."""

from __future__ import annotations

from rtmpsrv.protocol import timestamps
from rtmpsrv.protocol.messages import AUDIO, DATA_AMF0, DATA_AMF3, VIDEO

_TAG_HEADER_SIZE = 11  # bytes: type, size (24 bits), timestamp (24 low, 8 high), message stream id (24)
_BACK_POINTER_SIZE = 4  # bytes, behind each tag; not looked at
_CARRIED_TYPES = frozenset({AUDIO, VIDEO, DATA_AMF3, DATA_AMF0})


def split(timestamp: int, body: bytes) -> list[tuple[int, int, bytes]]:
    """Return (type id, timestamp, payload) of each message in the aggregate's body.

    Timestamps in the body count from its first one, which stands for the aggregate's own. Other types
    are skipped, aggregates among them; a truncated last one is dropped. Never raises; the message size
    limit bounds the result.
    """
    messages: list[tuple[int, int, bytes]] = []
    offset: int | None = None
    position = 0
    while len(body) - position >= _TAG_HEADER_SIZE:
        start = position + _TAG_HEADER_SIZE
        end = start + int.from_bytes(body[position + 1 : position + 4], "big")
        if end > len(body):
            break
        tag_timestamp = int.from_bytes(body[position + 4 : position + 7], "big") | body[position + 7] << 24
        if offset is None:
            offset = timestamp - tag_timestamp
        if body[position] in _CARRIED_TYPES:
            messages.append((body[position], timestamps.add(tag_timestamp, offset), body[start:end]))
        position = end + _BACK_POINTER_SIZE
    return messages
