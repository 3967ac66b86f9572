"""Where many have asked at the same moment, they are answered in turns, and others have theirs in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

import gevent
from gevent.event import Event

from ..turns import TURN_REST_S

LONG_S: Final = 0.005  # of one round of the loop


class Round:
    """For how long the loop has not looked at its sockets: since somebody asked first in this round of it.

    What the loop calls now is no measure: each timer that a greenlet starts sets it.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._began = 0.0

    def age_s(self) -> float:
        """Return that time. Never blocks."""
        now, number = monotonic(), getattr(gevent.get_hub().loop, "iteration", None)
        if number is None or number != self._number:  # of libuv nobody knows
            self._number, self._began = number, now
        return now - self._began


class Stagger:
    """One for all connections of a process."""

    def __init__(self, age: Callable[[], float] | None = None) -> None:
        self._age_s = age or Round().age_s
        self._waiting: deque[Event] = deque()
        self._giving: gevent.Greenlet[[], None] | None = None  # turns, while somebody waits for one

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> None:
        """Wait for a turn, behind those who wait already; returns at once where few have asked. Blocks."""
        if not self._waiting and self._age_s() < LONG_S:
            return
        turn = Event()
        self._waiting.append(turn)
        if self._giving is None:
            self._giving = gevent.spawn(self._give)
        try:
            turn.wait()
        finally:
            if not turn.is_set():  # it leaves
                self._waiting.remove(turn)

    def _give(self) -> None:
        """The top of a greenlet."""
        while self._waiting:
            if self._age_s() >= LONG_S:
                gevent.sleep(TURN_REST_S)  # a timer: only that lets others have their turn
            else:
                self._waiting.popleft().set()
                gevent.sleep(0)  # it is answered now
        self._giving = None
