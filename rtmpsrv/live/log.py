"""One publication's messages in one framing, by absolute position: what the cache keeps and players read.

A position counts the bytes of the log since the publication began, so it is a plain number that means the
same in another process. The log knows where a joiner may start, which headers were in force where, and what
it may forget; it knows no players and sends nothing. Never blocks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Final

from .budget import Budget
from .header_history import HeaderHistory
from .segment import AUDIO, HEADER, INDEX_BYTES, KEYFRAME, VIDEO, Segment

MESSAGE_OVERHEAD: Final = 65  # bytes counted for each cached message, as the reference does
# A segment holds at least so much for each one that is kept already. So a channel that keeps 256 MiB has some
# 45 of them, whatever its keyframes, and one that keeps 1 MiB gives memory back in small pieces.
SEGMENT_BYTES = 256 << 10
COUNTED_FROM_BYTES = 16 << 10  # added bytes are told to the budget in portions of this size

# Messages at the time of the media; metadata is at 0.
_MEDIA: Final = (AUDIO, VIDEO, VIDEO | KEYFRAME, AUDIO | HEADER, VIDEO | HEADER)

Part = tuple[Segment, int, int]  # of a segment: offset and count of bytes, never 0


class Log:
    """Changed by its output only; read by players, whose positions may be anywhere in it."""

    __slots__ = (
        "_bases", "_budget", "_cached_bytes", "_kept_from", "_kept_number", "_limit_bytes", "_segments",
        "_uncounted_bytes", "closed", "count", "end", "flushed", "headers", "is_mirror", "joint", "keyframe",
        "oldest_unsent_at", "tail", "unsent",
    )  # fmt: skip

    def __init__(self, budget: Budget, limit_bytes: int) -> None:
        self.end = 0  # position behind the last message
        self.count = 0  # messages so far
        self.flushed = 0  # position up to which players may be sent
        self.unsent: list[bytes] = []  # what lies behind it, message by message
        self.oldest_unsent_at = 0.0  # arrival of the first of them
        self.joint: int | None = 0 if limit_bytes else None  # where joiners start; None: nowhere yet
        self.keyframe: int | None = None  # the newest, where a laggard may go on
        self.closed = False  # nothing comes any more
        self.is_mirror = False  # of a log in another process, which begins its segments
        self.tail = Segment(0, 0, budget)
        self.headers = HeaderHistory(budget)
        self._budget = budget
        self._limit_bytes = limit_bytes  # of the cache
        self._segments = [self.tail]
        self._bases = [0]  # of the segments, to find one by position
        self._kept_from = 0  # the cache begins here
        self._kept_number = 0
        self._cached_bytes = 0  # payload and overhead of frames since the joint
        self._uncounted_bytes = 0

    # --- appending --------------------------------------------------------------------------------

    def append(self, data: bytes, flags: int, timestamp: int, now: float, cached_bytes: int | None) -> None:
        """Add one framed message, which counts for so many bytes in the cache; a header for None."""
        tail = self.tail
        if tail.size >= SEGMENT_BYTES and tail.size >= SEGMENT_BYTES * len(self._segments):
            tail = self._open_segment()
        tail.append(data, flags, timestamp, now)
        if not self.unsent:
            self.oldest_unsent_at = now
        self.unsent.append(data)
        self.count += 1
        self.end += len(data)
        self._uncounted_bytes += len(data) + INDEX_BYTES
        if self._uncounted_bytes > COUNTED_FROM_BYTES:
            self._settle()
        if cached_bytes is not None:
            self._cached_bytes += cached_bytes + MESSAGE_OVERHEAD
            if self._cached_bytes > self._limit_bytes:
                self.forget()

    def mark_keyframe(self, keep_stream: bool) -> None:
        """Let joiners and laggards start at the message that comes next."""
        self.keyframe = self.end
        self.mark_joint(keep_stream)

    def mark_joint(self, keep_stream: bool) -> None:
        """Let joiners start at the message that comes next; with `keep_stream` older ones are kept, too."""
        self._cached_bytes = 0
        self.joint = self.end if self._limit_bytes else None
        if not keep_stream or not self._limit_bytes:
            self.keep_from(self.end, self.count)

    def take_unsent(self) -> list[bytes]:
        """Let everything appended so far be sent; return what was added since the last time."""
        unsent, self.unsent = self.unsent, []
        self.flushed = self.end
        return unsent

    def close(self) -> None:
        """Nothing comes any more: what is left is there for those who still read."""
        self.closed = True
        self.forget()
        self._settle()

    # --- forgetting -------------------------------------------------------------------------------

    def keep_from(self, position: int, number: int) -> None:
        """Let the cache begin at a message, given by position and number."""
        self._kept_from, self._kept_number = position, number

    def keep_from_joint(self) -> None:
        """Keep no more than joiners need."""
        if self.joint is not None:
            self.keep_from(self.joint, self.number_at(self.joint))

    def forget(self) -> None:
        """Keep nothing for joiners, who start at the next keyframe."""
        self.joint = None
        self.keyframe = None
        self._cached_bytes = 0
        self.keep_from(self.end, self.count)

    def shed(self) -> None:
        """Give back the oldest part of the cache: a segment of it, or all."""
        joint = self.joint
        if joint is None or self._kept_from >= joint:
            self.forget()
            self.cut()
            return
        number = bisect_right(self._bases, self._kept_from)
        if number < len(self._bases) and self._bases[number] < joint:
            self.keep_from(self._bases[number], self._segments[number].first_number)
        else:
            self.keep_from_joint()

    def cut(self) -> None:
        """Begin a new segment, so that what lies behind can be given back."""
        if self.tail.size and not self.is_mirror:
            self._open_segment()

    def may_trim(self) -> bool:
        """Tell whether the cache no longer needs the oldest segment."""
        return len(self._segments) > 1 and self._segments[0].end <= self._kept_from

    def trim(self, lowest: int | None) -> None:
        """Let go of segments that neither the cache nor a player at `lowest` or above needs."""
        needed = min(self._kept_from, self.flushed)
        if lowest is not None:
            needed = min(needed, lowest)
        segments = self._segments
        count = 0
        while count < len(segments) - 1 and segments[count].end <= needed:
            count += 1
        if count:
            del segments[:count], self._bases[:count]
            self.headers.forget_before(segments[0].base)

    # --- reading ----------------------------------------------------------------------------------

    @property
    def begin(self) -> int:
        """The lowest position that can still be read."""
        return self._bases[0]

    @property
    def first(self) -> int:
        """Where the cache begins."""
        return self._kept_from

    def segment_at(self, position: int) -> Segment:
        """Return the segment that holds the byte at a position; the last one at the end."""
        return self._segments[bisect_right(self._bases, position) - 1]

    def is_boundary(self, position: int) -> bool:
        """Tell whether a message begins, or the log ends, at a position."""
        return self.next_boundary(position) == position

    def next_boundary(self, position: int) -> int:
        """Return the first message boundary at or after a position; the position itself behind the end."""
        if position >= self.end:
            return position
        segment = self.segment_at(position)
        return segment.base + segment.next_boundary(position - segment.base)

    def number_at(self, position: int) -> int:
        """Return the number of the message at a boundary, counted from the beginning of the publication."""
        segment = self.segment_at(position)
        return segment.first_number + segment.message_at(position - segment.base)

    def arrival_at(self, position: int) -> float | None:
        """Return when the message that holds a position arrived; None at the end."""
        segment = self.segment_at(position)
        number = segment.message_at(position - segment.base)
        return segment.arrivals[number] if number < len(segment.arrivals) else None

    def find(self, position: int, kinds: tuple[int, ...]) -> tuple[int, int] | None:
        """Return flags and timestamp of the first message of these flags from a boundary on."""
        number = bisect_right(self._bases, position) - 1
        begin = self._segments[number].message_at(position - self._bases[number])
        for segment in self._segments[number:]:
            found = segment.find(kinds, begin)
            if found is not None:
                return segment.flags[found], segment.timestamps[found]
            begin = 0
        return None

    def time_from(self, position: int, kinds: tuple[int, ...]) -> int:
        """Return the timestamp of the first such frame from a boundary on; the newest while there is none."""
        found = self.find(position, kinds)
        if found is not None:
            return found[1]
        for segment in reversed(self._segments):
            newest = segment.find_last(_MEDIA)
            if newest is not None:
                return segment.timestamps[newest]
        return 0

    def parts(self, begin: int, end: int) -> list[Part]:
        """Return where the bytes from one position to another are."""
        found: list[Part] = []
        number = bisect_right(self._bases, begin) - 1
        while begin < end:
            segment = self._segments[number]
            upto = min(end, segment.base + segment.size)
            found.append((segment, begin - segment.base, upto - begin))
            begin = upto
            number += 1
        return found

    def read(self, begin: int, end: int) -> bytes:
        """Return a copy of the bytes from one position to another."""
        return b"".join([segment.read(offset, count) for segment, offset, count in self.parts(begin, end)])

    def messages(self, begin: int) -> Iterator[tuple[bytes, int, int, float]]:
        """Yield (framed bytes, flags, timestamp, arrival) of each message from a boundary to the end."""
        for segment, offset, _count in self.parts(begin, self.end):
            for number in range(segment.message_at(offset), len(segment.offsets)):
                start = segment.offsets[number]
                data = segment.read(start, segment.offset_of(number + 1) - start)
                yield data, segment.flags[number], segment.timestamps[number], segment.arrivals[number]

    def oldest_kept_s(self) -> float | None:
        """Return when the oldest message of the cache arrived; None when it is empty."""
        return self.arrival_at(self._kept_from) if self._kept_from < self.end else None

    # --- to another process -----------------------------------------------------------------------

    def marks(self) -> dict[str, Any]:
        """Return what is kept, and where players may start: numbers only."""
        return {
            "joint": self.joint,
            "keyframe": self.keyframe,
            "kept_from": self._kept_from,
            "kept_number": self._kept_number,
            "cached_bytes": self._cached_bytes,
        }

    def follow_another(self) -> None:
        """Be the mirror of the log in another process, which appends to it."""
        self.is_mirror = True

    def follow(self, marks: dict[str, Any]) -> None:
        """Keep what another process keeps of this log, but for what was let go of here."""
        self.keyframe = marks["keyframe"]
        self._cached_bytes = marks["cached_bytes"]
        if marks["kept_from"] > self._kept_from:
            self.keep_from(marks["kept_from"], marks["kept_number"])
        joint: int | None = marks["joint"]
        self.joint = joint if joint is not None and joint >= self._kept_from and self._limit_bytes else None

    def snapshot(self, fds: list[int]) -> dict[str, Any]:
        """Return what another process needs, as `adopt` takes it; appends the descriptors of the segments."""
        return {
            "flushed": self.flushed,
            "closed": self.closed,
            "headers": self.headers.snapshot(),
            "segments": [segment.snapshot(0, fds) for segment in self._segments],
            **self.marks(),
        }

    def records(self, begin: int, fds: list[int], known: int) -> list[dict[str, Any]]:
        """Return the messages from a boundary to the end, as `extend` takes them.

        Appends the descriptors of their segments, but for the one at the position `known`.
        """
        return [
            segment.snapshot(segment.message_at(offset), None if segment.base == known else fds)
            for segment, offset, _ in self.parts(begin, self.end)
        ]

    def adopt(self, value: dict[str, Any], fds: list[int]) -> None:
        """Become the log that another process had, descriptors included. Only for one without messages."""
        first = value["segments"][0]
        self.tail = Segment(first["base"], first["first_number"], self._budget)
        self._segments, self._bases = [self.tail], [self.tail.base]
        self._take(value["segments"], fds)
        self.headers.adopt(value["headers"])
        self.flushed, self.closed = value["flushed"], value["closed"]
        self.follow(value)

    def extend(self, records: list[dict[str, Any]], fds: list[int]) -> None:
        """Add messages that another process has added to this log; they wait to be sent."""
        begin = self.end
        self._take(records, fds)
        if self.end > begin:
            self.unsent.append(self.read(begin, self.end))

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        held = sum(segment.size for segment in self._segments)
        return {
            "bytes": self.end,
            "messages": self.count,
            "cache_bytes": self.end - self._kept_from,
            "held_bytes": held,
            "segments": len(self._segments),
            "joinable": self.joint is not None,
        }

    # --- private ----------------------------------------------------------------------------------

    def _open_segment(self) -> Segment:
        self._settle()
        if self.joint is None:
            self.keep_from(self.end, self.count)
        while self.joint is not None and self._kept_from < self.joint and self._is_over():
            self.shed()
        self.tail = Segment(self.end, self.count, self._budget)
        self._segments.append(self.tail)
        self._bases.append(self.end)
        return self.tail

    def _take(self, records: list[dict[str, Any]], fds: list[int]) -> None:
        for record in records:
            if record["base"] != self.tail.base:
                self.tail = Segment(record["base"], record["first_number"], self._budget)
                self._segments.append(self.tail)
                self._bases.append(self.tail.base)
            self.tail.extend(record, fds)
        self.end = self.tail.end
        self.count = self.tail.first_number + len(self.tail.offsets)

    def _is_over(self) -> bool:
        """Tell whether the cache is over its limit, counted no lower than the reference counts its own."""
        count = self.count - self._kept_number
        return self.end - self._kept_from + count * MESSAGE_OVERHEAD > self._limit_bytes

    def _settle(self) -> None:
        self._uncounted_bytes = 0
        self.tail.settle()
