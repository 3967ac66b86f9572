"""Reading many publishers without a switch of greenlets for each.

A wake-up of a publisher's greenlet costs about 50 us, whatever it brings. So where many publish, their
readers rest, and one timer reads for all of them: bytes in, media appended, right there in the hub. A reader
is woken only for what is not media, or anything unusual.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Protocol

import gevent
from greenlet import getcurrent, greenlet

from .clock import LoopClock
from .turns import TURN_REST_S

REST_PER_PUBLISHER_S = 0.0005  # between two reads of a publisher, for each other one
MAX_REST_S = 0.05  # three frames at 60 fps, one and a half at 30, while the process is not busy
BUSY_REST_FACTOR = 2.0  # how much longer both are at a whole core: up to 100 ms
# With up to ten publishers a common timer would fire more often than there is something to read.
SWEEP_FROM_S = 0.005
SWEEP_TURN_S = 0.002  # after which a sweep gives way, twice a session's: it reads for many


class Resting(Protocol):
    """A publisher's reader at rest. Declared here, built by the session."""

    def take(self, now: float) -> bool:
        """Read once and append what came. False: there is more to it, its greenlet has to go on.

        Runs in the hub: never blocks, never raises.
        """


class Ingest:
    """The publishers of one hub, and the common timer that reads those at rest."""

    def __init__(self, clock: LoopClock, enabled: bool = True) -> None:
        """Make one; where it is not `enabled` every reader reads for itself, at once."""
        self.publishers = 0
        self.rest_s = 0.0  # 0.0: nobody rests
        self._clock = clock
        self._enabled = enabled
        self._resting: dict[Resting, greenlet] = {}
        self._to_read: deque[Resting] = deque()  # the rest of a sweep that gave way
        self._began = 0.0  # the last sweep
        self._timer: object = None

    def __len__(self) -> int:
        """Count those at rest."""
        return len(self._resting)

    def publisher_began(self) -> None:
        self._count(1)

    def publisher_ended(self) -> None:
        self._count(-1)

    def rest(self, reader: Resting) -> bool:
        """Let the common timer read; False when the reader has to go on, True when nobody rests any more.

        Blocks; for the reader's greenlet.
        """
        self._resting[reader] = getcurrent()
        if self._timer is None:
            self._began = monotonic()
            self._timer = self._clock.call_later(self.rest_s, self._sweep)
        try:
            return bool(gevent.get_hub().switch())
        finally:
            self._resting.pop(reader, None)

    def forget(self, reader: Resting) -> None:
        """Read for it no more; somebody else sees to its greenlet. Idempotent, never blocks."""
        self._resting.pop(reader, None)

    def _count(self, by: int) -> None:
        self.publishers += by
        self._set_rest()

    def _set_rest(self) -> None:
        if self._enabled:
            self.rest_s = rest_s(self.publishers, self._clock.pressure)

    def _sweep(self) -> None:
        """Run in the hub: read all, a turn at a time."""
        resting, to_read = self._resting, self._to_read
        now = monotonic()
        if not to_read:
            self._began = now
            to_read.extend(resting)
        until = now + SWEEP_TURN_S
        try:
            while to_read and now < until:
                reader = to_read.popleft()
                sleeper = resting.get(reader)
                together = self.rest_s > 0
                # One that is gone was woken by somebody else, or ended.
                if sleeper is not None and not (together and reader.take(now)):
                    del resting[reader]
                    sleeper.switch(not together)  # it comes back here when it waits again
                now = monotonic()
        finally:
            self._after_sweep(now)

    def _after_sweep(self, now: float) -> None:
        """Start the timer again: for the rest of this sweep, or for the next one."""
        self._timer = None
        if not self._resting:
            self._to_read.clear()
            return
        if self._to_read:
            delay_s = 0.0  # a round of the loop all the same
        else:
            self._set_rest()
            delay_s = max(TURN_REST_S, self._began + self.rest_s - now)
        self._timer = self._clock.call_later(delay_s, self._sweep)


def rest_s(publishers: int, pressure: float) -> float:
    """Return how long publishers rest between reads, given how many there are and the clock's pressure."""
    factor = 1 + (BUSY_REST_FACTOR - 1) * pressure
    rest = factor * min(MAX_REST_S, REST_PER_PUBLISHER_S * max(0, publishers - 1))
    return rest if rest >= SWEEP_FROM_S else 0.0
