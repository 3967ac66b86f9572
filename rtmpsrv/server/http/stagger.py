"""Where many have asked at the same moment, they are answered in turns, and others have theirs in between."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Final

import gevent
from gevent.lock import Semaphore

from ..turns import TURN_REST_S

LONG_S: Final = 0.005  # of one round of the loop


def age_s() -> float:
    """Return for how long the round of the loop goes on that this is part of."""
    return time() - float(gevent.get_hub().loop.now())


class Stagger:
    """One for all connections of a process."""

    def __init__(self, age: Callable[[], float] = age_s) -> None:
        self._age_s = age
        self._one = Semaphore(1)

    def wait(self) -> None:
        """Wait for a turn, behind those who wait already; returns at once where few have asked. Blocks."""
        if not self._one.locked() and self._age_s() < LONG_S:
            return
        with self._one:
            if self._age_s() >= LONG_S:
                gevent.sleep(TURN_REST_S)
