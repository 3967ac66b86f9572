"""The turns of recordings: however many there are, other work has its own after a millisecond of theirs."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

import gevent
from gevent.lock import Semaphore

TURN_S: Final = 0.001
REST_S: Final = 0.0001  # a timer, since only that brings a round of the loop


class Pace:
    """One for all recorders of a process."""

    def __init__(
        self, now: Callable[[], float] = monotonic, sleep: Callable[[float], object] = gevent.sleep
    ) -> None:
        self._one = Semaphore(1)
        self._now = now
        self._sleep = sleep
        self._began = float("-inf")

    def wait(self) -> None:
        """Wait for a turn, to work for a moment without blocking. Blocks while others have theirs."""
        with self._one:
            if self._now() - self._began >= TURN_S:
                self._sleep(REST_S)
                self._began = self._now()
