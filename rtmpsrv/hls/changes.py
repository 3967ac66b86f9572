"""Who waits for more of a channel is woken some at a time: all at once would hold up everybody else."""

from __future__ import annotations

from typing import Final

import gevent
from gevent.event import Event

from rtmpsrv.server.turns import TURN_REST_S

TOGETHER: Final = 16  # each of whom is answered at once, which takes 100 us or more


class Changes:
    """Of one maker. Never blocks."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._room = 0  # of the last one

    def event(self) -> Event:
        """Return what one of those who wait is to wait for; it is set once."""
        if not self._room:
            self._events.append(Event())
            self._room = TOGETHER
        self._room -= 1
        return self._events[-1]

    def tell(self) -> None:
        """Wake all who wait, the first ones now."""
        events, self._events, self._room = self._events, [], 0
        if events:
            events[0].set()
        if len(events) > 1:
            gevent.spawn(_set, events[1:])


def _set(events: list[Event]) -> None:
    """The top of a greenlet."""
    for one in events:
        gevent.sleep(TURN_REST_S)  # a timer: only that lets others have their turn
        one.set()
