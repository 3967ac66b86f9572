"""How the times of one kind of frames go, audio or video, and when they arrive. Arithmetic; never blocks.

It is given the frames of one second at once: where all is well, that is a few calls for all of them.
"""

from __future__ import annotations

from array import array
from collections import deque
from itertools import compress
from operator import sub
from typing import Any, Final

from ..protocol.timestamps import signed_difference

WINDOW_S: Final = 10  # over which rates are measured
JUMP_MS: Final = 1000  # a step of more is a jump, unless so much time has passed
SHORTEST_S: Final = 2.0  # of media from which its rate is told
LOOKED_AT: Final = 10  # frames of a second whose arrival is compared with their time, or more
_FEW_MS: Final = 1  # which encoders round by

Mark = tuple[int, float, int]  # a second; arrival and media time of its last frame

Spread = tuple[int, float, float]  # a second; how early and how late its frames came, ms


class Pace:
    """One kind of frames of one publication. Changed by its vitals only."""

    __slots__ = (
        "_marks", "_shift", "_spreads", "arrived_at", "back_ms", "frame_ms", "jump_ms", "last", "since",
        "uneven",
    )  # fmt: skip

    def __init__(self) -> None:
        self.since = 0.0  # when the first one of this publisher arrived
        self.last: int | None = None  # timestamp of the last one
        self.arrived_at = 0.0  # when it did
        self.back_ms = 0  # of steps back that are none: those of several tracks, one in the other
        self.frame_ms = 0.0  # that one is known to last; 0: not known; less: it need not be even
        self.uneven = 0  # of the last ones taken: steps that are more than one frame off
        self.jump_ms = 0  # of the last ones taken: how far time jumped
        self._shift = 0  # from timestamps to a time without jumps
        self._marks: deque[Mark] = deque(maxlen=WINDOW_S + 1)
        self._spreads: deque[Spread] = deque(maxlen=WINDOW_S)

    def take(
        self, second: int, times: list[int], arrivals: array[float], selector: bytearray, measures: bool
    ) -> int:
        """Take note of the frames of one second, at least one; return how many jumps of time are in them.

        `arrivals` are those of all messages, of which `selector` chooses. `measures` says whether it is of
        interest how unevenly they came.
        """
        last = self.last
        if last is None:
            last = times[0]
            self.since = arrivals[selector.find(1)]
            self._shift = self._elapsed() - last  # as if nothing had passed
        middle = times[len(times) // 2]
        jumps = 0
        # Where time does not go back, no step is longer than the half in which it lies.
        if (
            last <= times[0]
            and middle - last <= JUMP_MS
            and times[-1] - middle <= JUMP_MS
            and times == sorted(times)
        ):
            steps = list(map(sub, times, [last, *times])) if self.frame_ms >= 0 else []
            if measures:
                self._note_spread(second, times, arrivals, selector)
        else:
            jumps, steps = self._look(times, list(compress(arrivals, selector)), last)
        self.uneven = self._count_uneven(steps) if self.frame_ms >= 0 else 0
        self.last = times[-1]
        self.arrived_at = arrivals[selector.rfind(1)]
        mark = second, self.arrived_at, self.last + self._shift
        if self._marks and self._marks[-1][0] == second:
            self._marks[-1] = mark
        else:
            self._marks.append(mark)
        return jumps

    def media_time(self, timestamp: int) -> int:
        """Return the time of a frame, one of the last, without the jumps before it."""
        return timestamp + self._shift

    def rate(self, now: float) -> float | None:
        """Return media time over the time that passed, over the last ones of 10 s; None where too few are."""
        marks = self._marks
        while len(marks) > 1 and marks[0][0] < int(now) - WINDOW_S:
            marks.popleft()
        if not marks:
            return None
        # From arrival to arrival, so that it does not matter how frames are bundled; but a pause counts.
        _, began, first = marks[0]
        _, ended, last = marks[-1]
        if now - ended > 1.0:
            ended = now
        return (last - first) / 1000 / (ended - began) if ended - began >= SHORTEST_S else None

    def jitter_s(self, now: float) -> float | None:
        """Return how unevenly frames arrived in the last 10 s, from the earliest to the latest."""
        oldest, spreads = int(now) - WINDOW_S, self._spreads
        while spreads and spreads[0][0] <= oldest:
            spreads.popleft()
        if not spreads:
            return None
        _, early, late = zip(*spreads, strict=True)
        jitter_ms: float = max(late) - min(early)
        return jitter_ms / 1000

    def break_off(self) -> None:
        """Take note that what comes next is another publisher's."""
        self._shift = self._elapsed()  # of a timestamp of 0, to be taken from that of the next
        self.last = None
        self._marks.clear()
        self._spreads.clear()

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, as `adopt` takes it."""
        return {
            "since": self.since,
            "last": self.last,
            "arrived_at": self.arrived_at,
            "shift": self._shift,
            "marks": list(self._marks),
            "spreads": list(self._spreads),
        }

    def adopt(self, value: dict[str, Any]) -> None:
        """Know what another process has seen."""
        self.since, self.last, self.arrived_at = value["since"], value["last"], value["arrived_at"]
        self._shift = value["shift"]
        self._marks.extend([tuple(mark) for mark in value["marks"]])
        self._spreads.extend([tuple(spread) for spread in value["spreads"]])

    # --- private ----------------------------------------------------------------------------------

    def _elapsed(self) -> int:
        return self._shift if self.last is None else self.last + self._shift

    def _note_spread(
        self, second: int, times: list[int], arrivals: array[float], selector: bytearray
    ) -> None:
        # Some are enough: who follows a late one is late, too.
        stride = 1 + len(times) // LOOKED_AT
        places = list(compress(range(len(selector)), selector))[::stride]
        late = [arrivals[place] * 1000 - time for place, time in zip(places, times[::stride], strict=True)]
        early_ms, late_ms = min(late) - self._shift, max(late) - self._shift
        if self._spreads and self._spreads[-1][0] == second:
            _, before_ms, after_ms = self._spreads.pop()
            early_ms, late_ms = min(early_ms, before_ms), max(late_ms, after_ms)
        self._spreads.append((second, early_ms, late_ms))

    def _count_uneven(self, steps: list[int]) -> int:
        frame_ms = self.frame_ms
        if max(steps) <= 2 * frame_ms + _FEW_MS and min(steps) >= 0:
            return 0
        limit = 2 * max(frame_ms, sorted(steps)[len(steps) // 2]) + _FEW_MS
        return len([step for step in steps if step < 0 or step > limit])

    def _look(self, times: list[int], arrivals: list[float], last: int) -> tuple[int, list[int]]:
        """Look at each step; return how many are jumps, and the steps, each the shorter way round."""
        jumps = 0
        steps: list[int] = []
        arrived_at = self.arrived_at if self.last is not None else arrivals[0]
        shift = self._shift
        for time, arrival in zip(times, arrivals, strict=True):
            step = signed_difference(time, last)
            passed_ms = round((arrival - arrived_at) * 1000)
            if step < -self.back_ms or (step > JUMP_MS and step - passed_ms > JUMP_MS):
                jumps += 1
                self.jump_ms = step if step < 0 else step - passed_ms
                shift += last - time + passed_ms  # as if no time but that had passed
            else:
                shift += step - (time - last)  # where timestamps begin again at 0
            steps.append(step)
            last, arrived_at = time, arrival
        self._shift = shift
        return jumps, steps
