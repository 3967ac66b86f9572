"""Split aggregate messages (type 22) into the messages they carry, a few at a time."""

from __future__ import annotations

from dataclasses import dataclass

from ..pickling import Reduced, by_fields
from . import timestamps
from .messages import AUDIO, DATA_AMF0, DATA_AMF3, VIDEO

_TAG_HEADER_SIZE = 11  # bytes: type, size (24 bits), timestamp (24 low, 8 high), message stream id (24)
_BACK_POINTER_SIZE = 4  # bytes, behind each tag; not looked at
_CARRIED_TYPES = frozenset({AUDIO, VIDEO, DATA_AMF3, DATA_AMF0})


@dataclass(slots=True)
class Aggregate:
    """An aggregate message and how far it was split; plain data, may be pickled at any moment.

    Timestamps in the body count from its first one, which stands for the aggregate's own. Messages of
    other types are skipped, aggregates among them; a truncated last one is dropped.
    """

    timestamp: int
    msid: int
    body: bytes
    csid: int
    position: int = 0
    offset: int | None = None  # ms, from the timestamps in the body to those of the stream
    finished: bool = False
    judged: int = 0  # messages passed so far, skipped ones among them

    def __reduce__(self) -> Reduced:
        return by_fields(self)

    def take(self, most: int) -> list[tuple[int, int, int, bytes, int]]:
        """Return the next messages, having looked at no more than `most`. Never raises."""
        body = self.body
        end = len(body)
        position = self.position
        messages: list[tuple[int, int, int, bytes, int]] = []
        for _ in range(most):
            start = position + _TAG_HEADER_SIZE
            if start > end:
                self.finished = True
                break
            after = start + int.from_bytes(body[position + 1 : position + 4], "big")
            if after > end:
                self.finished = True
                break
            tag_timestamp = (
                int.from_bytes(body[position + 4 : position + 7], "big") | body[position + 7] << 24
            )
            if self.offset is None:
                self.offset = self.timestamp - tag_timestamp
            if body[position] in _CARRIED_TYPES:
                timestamp = timestamps.add(tag_timestamp, self.offset)
                messages.append((body[position], timestamp, self.msid, body[start:after], self.csid))
            position = after + _BACK_POINTER_SIZE
            self.judged += 1
        self.position = position
        return messages
