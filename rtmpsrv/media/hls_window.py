"""The segments of a channel that players may have: those in the playlist, and those that just left it. Pure.

Segments leave from the front only, and can be had for a while after that (RFC 8216, 6.2.2).
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final, NamedTuple

from rtmpsrv.media.hls_numbers import Numbering

LEAST_TARGETS: Final = 3  # a playlist is at least so many target durations long, once there were as many
PARTS_TARGETS: Final = 3  # so far from the end parts are named
LEAST_SEGMENTS: Final = 64  # whatever their length there may be so many; or one for each second of a window

_NAME: Final = re.compile(
    r"(?P<prefix>[a-z0-9]{1,32})-(?:init(?P<init>\d{1,9})|(?P<msn>\d{1,15})(?:-(?P<part>\d{1,9}))?)\.m4s"
)


class Part(NamedTuple):
    """A part of a segment, which is its parts one behind the other."""

    data: bytes
    duration_ms: int
    is_independent: bool


class Segment:
    """A segment, open until it is complete."""

    __slots__ = (
        "discontinuity", "duration_ms", "frames", "init", "lines", "number", "parts", "size", "until",
        "wall_ms",
    )  # fmt: skip

    def __init__(self, number: int, init: int, wall_ms: int, discontinuity: bool) -> None:
        self.number = number
        self.init = init  # number of its first part
        self.wall_ms = wall_ms  # by the wall clock, when it began
        self.discontinuity = discontinuity
        self.parts: list[Part] = []
        self.size = self.duration_ms = 0  # of all parts
        self.frames = 0  # of the leading track
        self.lines = ""  # that stand for it in playlists; kept by whoever writes them
        self.until = 0.0  # how long it can be had, once it is out of the playlist


class Window:
    """Changed by one maker only. Never blocks."""

    def __init__(self, numbering: Numbering, window_ms: int) -> None:
        """`window_ms` is how long the playlist is to be; never shorter than the rules allow."""
        self.numbering = numbering
        self.segments: list[Segment] = []  # complete, in the playlist
        self.open: Segment | None = None  # that gets parts
        self.inits: dict[int, bytes] = {}
        self.discontinuity_sequence = numbering.discontinuities
        self.size = 0  # bytes held
        self.locks: tuple[bytes | None, ...] = ()  # that stand for the keys of those who published it
        self._is_locked = False
        self._window_ms = window_ms
        self._most = max(LEAST_SEGMENTS, window_ms // 1000)
        self._left: deque[Segment] = deque()  # left the playlist
        self._by_number: dict[int, Segment] = {}

    # --- its maker --------------------------------------------------------------------------------

    def add_init(self, data: bytes) -> int:
        """Take a first part in; return its number."""
        number = self.numbering.init()
        self.inits[number] = data
        self.size += len(data)
        self._forget_inits()
        return number

    def add_part(self, data: bytes, duration_ms: int, is_independent: bool, frames: int = 0) -> None:
        """Take the next part of the open segment in, with so many frames of the leading track."""
        segment = self.open
        assert segment is not None, "a segment is begun before"
        segment.parts.append(Part(data, duration_ms, is_independent))
        segment.size += len(data)
        segment.duration_ms += duration_ms
        segment.frames += frames
        self.size += len(data)

    def begin(self, init: int, wall_ms: int, discontinuity: bool) -> None:
        """Begin a segment."""
        assert self.open is None, "one at a time"
        numbering = self.numbering
        if discontinuity:
            numbering.discontinuities += 1
        self.open = segment = Segment(numbering.segment(), init, wall_ms, discontinuity)
        self._by_number[segment.number] = segment

    def end(self, now: float, duration_ms: int = 0) -> None:
        """Complete the open segment, and let the oldest go.

        It may last longer than its parts say, where a frame lasts longer than a part may.
        """
        segment = self.open
        assert segment is not None, "there is one"
        assert segment.parts, "with something in it"
        segment.duration_ms = max(segment.duration_ms, duration_ms)
        self.open = None
        self.segments.append(segment)
        self._trim(now, self._window_ms)

    def shed(self, now: float) -> None:
        """Hold as little as the rules allow."""
        self._trim(now, 0)
        for segment in self._left:
            segment.until = now
        self._forget(now)

    def be_locked(self) -> None:
        """From now on hold nothing of two publishers who have different keys."""
        self._is_locked = True

    def change_lock(self, lock: bytes | None, *, goes_on: bool) -> bool:
        """Take note of the lock of what comes; tell whether there was another one. No segment is open.

        Where it `goes_on` with what another publisher has sent, who has either key may have all of it.
        """
        if lock in self.locks:
            return False
        before, self.locks = self.locks, (*self.locks, lock) if goes_on else (lock,)
        if self._is_locked and not goes_on:
            self._clear()
        return bool(before)

    # --- playlists --------------------------------------------------------------------------------

    @property
    def last(self) -> int:
        """Number of the last complete segment; of the one before the first, where there is none."""
        return (
            self.segments[-1].number
            if self.segments
            else self.numbering.next_segment - (2 if self.open else 1)
        )

    @property
    def open_parts(self) -> int:
        """How many parts the segment after the last has."""
        return len(self.open.parts) if self.open is not None else 0

    def parts_from(self) -> int:
        """Return the number of the first segment whose parts are named."""
        left_ms = PARTS_TARGETS * self.numbering.target_s * 1000
        if self.open is not None:
            left_ms -= self.open.duration_ms
        for segment in reversed(self.segments):
            left_ms -= segment.duration_ms
            if left_ms < 0:
                return segment.number + 1
        return self.segments[0].number if self.segments else 0

    @property
    def peak_bits(self) -> int:
        """The bits a second of the segment that has most."""
        return max([one.size * 8000 // max(one.duration_ms, 1) for one in self.segments], default=0)

    @property
    def peak_fps(self) -> float:
        """The frames a second of the leading track, where there are most."""
        return max([one.frames * 1000 / max(one.duration_ms, 1) for one in self.segments], default=0.0)

    # --- media ------------------------------------------------------------------------------------

    def find(self, name: str) -> tuple[bytes, ...] | None:
        """Return what has a name, in pieces; None where there is nothing, no more, or not yet."""
        match = _NAME.fullmatch(name)
        if match is None or match["prefix"] != self.numbering.prefix:
            return None
        if match["init"] is not None:
            data = self.inits.get(int(match["init"]))
            return None if data is None else (data,)
        segment = self._by_number.get(int(match["msn"]))
        if segment is None:
            return None
        if match["part"] is None:
            return None if segment is self.open else tuple([part.data for part in segment.parts])
        number = int(match["part"])
        return (segment.parts[number].data,) if number < len(segment.parts) else None

    @property
    def next_name(self) -> str:
        """What the part will be called that comes next."""
        return part_name(self.numbering.prefix, self.last + 1, self.open_parts)

    # --- private ----------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Hold nothing, as if there never had been any; numbers go on."""
        self.segments.clear()
        self._left.clear()
        self._by_number.clear()
        self.inits.clear()
        self.size = 0
        self.discontinuity_sequence = self.numbering.discontinuities

    def _trim(self, now: float, window_ms: int) -> None:
        """Take segments out of the playlist from the front, and forget those that have been out for long."""
        least_ms = max(window_ms, LEAST_TARGETS * self.numbering.target_s * 1000)
        whole_ms = sum([segment.duration_ms for segment in self.segments])
        while self.segments and (
            whole_ms - self.segments[0].duration_ms >= least_ms or len(self.segments) > self._most
        ):
            segment = self.segments.pop(0)
            segment.until = now + (segment.duration_ms + whole_ms) / 1000
            whole_ms -= segment.duration_ms
            if segment.discontinuity:
                self.discontinuity_sequence += 1
            self._left.append(segment)
        self._forget(now)

    def _forget(self, now: float) -> None:
        left = self._left
        while left and (left[0].until <= now or len(left) > self._most):
            segment = left.popleft()
            self.size -= segment.size
            del self._by_number[segment.number]
        self._forget_inits()

    def _forget_inits(self) -> None:
        used = {segment.init for segment in self._by_number.values()}
        newest = max(self.inits, default=0)  # for the segment that is open, or comes
        for number in [one for one in self.inits if one not in used and one != newest]:
            self.size -= len(self.inits.pop(number))

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        return {
            "segments": len(self.segments),
            "left": len(self._left),
            "first": self.segments[0].number if self.segments else None,
            "bytes": self.size,
        }


def segment_name(prefix: str, number: int) -> str:
    """Return what a segment is called."""
    return f"{prefix}-{number}.m4s"


def part_name(prefix: str, number: int, part: int) -> str:
    """Return what a part is called."""
    return f"{prefix}-{number}-{part}.m4s"


def init_name(prefix: str, number: int) -> str:
    """Return what a first part is called."""
    return f"{prefix}-init{number}.m4s"
