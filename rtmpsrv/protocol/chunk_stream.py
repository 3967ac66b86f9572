"""What is remembered of one chunk stream between two chunks (RTMP 1.0 section 5.3.1). Data only."""

from __future__ import annotations

from dataclasses import dataclass

from ..pickling import Reduced, by_fields


@dataclass(slots=True)
class ChunkStream:
    """What the reader remembers of one chunk stream id."""

    csid: int
    timestamp: int = 0  # ms, of the message being read or the last one
    delta: int = 0  # ms, added by a type 3 chunk that starts a message
    extended: bool = False  # the last type 0, 1 or 2 header had an extended timestamp
    extended_value: int = 0
    length: int = 0  # bytes, of the message
    type_id: int = 0
    msid: int = 0
    partial: bytearray | None = None  # payload so far; None between messages

    def __reduce__(self) -> Reduced:
        return by_fields(self)
