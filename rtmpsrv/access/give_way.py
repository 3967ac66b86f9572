"""How a task that reads from a callback, Redis or control server leaves the process to the streams.

A greenlet that always finds something to read never lets others run, and no deadline of its own fires either.
So each such task has a share, spends it as it works, and waits when it is used up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import gevent

UNITS_PER_S = 5_000  # a unit is about the work of one small message
BURST_S = 1.0  # so much of it may come at once
TURN_UNITS = 50  # how often the clock is looked at
TURN_S = 0.002  # then others have their turn
REST_S = (
    0.001  # a timer: after gevent.sleep(0) the same greenlet may run again before any socket is looked at
)


class Share(Protocol):
    """One task's part of the process."""

    def spend(self, units: int = 1) -> None:
        """Count work that was done. Blocks when it was too much for now."""


class GiveWay(Protocol):
    """Who hands out shares; `server` has the one that sessions use."""

    def share(self) -> Share:
        """Give a new task its share."""


class Paced:
    """What there is when nobody passes another."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep

    def share(self) -> PacedShare:
        """Give a new task its share."""
        return PacedShare(self._clock, self._sleep)


class PacedShare:
    """Rests when its turn has been long enough, and for as long as it is ahead of `UNITS_PER_S`."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], object]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._spent = 0
        self._turn_began = clock()
        self._paid_until = float("-inf")  # the time up to which what was spent would have lasted

    def spend(self, units: int = 1) -> None:
        """Count work that was done. Blocks when it was too much for now."""
        self._spent += units
        if self._spent < TURN_UNITS:
            return
        now = self._clock()
        self._paid_until = max(self._paid_until, now) + self._spent / UNITS_PER_S
        self._spent = 0
        ahead_s = self._paid_until - now - BURST_S
        if ahead_s > 0 or now - self._turn_began >= TURN_S:
            self._sleep(max(ahead_s, REST_S))
            self._turn_began = self._clock()
