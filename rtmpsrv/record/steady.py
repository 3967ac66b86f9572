"""Whether the wall clock can be believed: only while it goes on as time does are files deleted by age."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

JUMP_S: Final = 60.0  # between two looks, more than time that passed
PROBATION_S: Final = 3600.0  # after a jump, which may be one to a wrong time


def passed() -> float:
    """Return a time that goes on also while the machine sleeps, in s."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Looks at the clock; used by one thread."""

    def __init__(self, wall: Callable[[], float] = time.time, passed: Callable[[], float] = passed) -> None:
        self.now = wall
        self._passed = passed
        self._last = wall() - passed()
        self._jumped_at = float("-inf")

    def is_steady(self) -> bool:
        """Look; tell whether it has not jumped for long enough."""
        passed = self._passed()
        offset = self.now() - passed
        if abs(offset - self._last) > JUMP_S:
            self._jumped_at = passed
        self._last = offset
        return passed - self._jumped_at >= PROBATION_S
