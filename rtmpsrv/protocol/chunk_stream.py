"""What is remembered of one chunk stream between two chunks (RTMP 1.0 section 5.3.1), and whole messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..pickling import Reduced, by_fields

LARGE_CHUNK: Final = 1024  # bytes, from which on a message is few pieces, so that joining them is cheap


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
    used: int = 0  # how many messages the peer had sent when the last one began here

    def __reduce__(self) -> Reduced:
        return by_fields(self)

    def continued_by(self, fields: bytes) -> bool:
        """Tell whether a header means the message being read, by its `fields` behind the timestamp."""
        own = self.length.to_bytes(3, "big") + bytes((self.type_id,)) + self.msid.to_bytes(4, "little")
        return own.startswith(fields)


def make_room(streams: dict[int, ChunkStream]) -> bool:
    """Forget the chunk stream that was idle longest; False when all are in the middle of a message."""
    idle = [stream for stream in streams.values() if stream.partial is None]
    if not idle:
        return False
    del streams[min(idle, key=lambda stream: stream.used).csid]
    return True


def joined(data: bytes, position: int, length: int, chunk_size: int, csid: int) -> tuple[bytes | None, int]:
    """Return a message that is here as a whole, in large chunks one behind the other, and where it ends.

    Otherwise None, and the position as it is.
    """
    end = position + length + (length - 1) // chunk_size
    if end > len(data) or csid > 63:
        return None, position
    joint = 0xC0 | csid
    pieces: list[bytes] = []
    begin = position
    while end - begin > chunk_size:
        until = begin + chunk_size
        if data[until] != joint:
            return None, position
        pieces.append(data[begin:until])
        begin = until + 1
    pieces.append(data[begin:end])
    return b"".join(pieces), end
