"""Which connections there are: within bounds, of all and of one address. Whoever waits makes room. Pure.

A connection that has asked for something is served; one that only waits, for its first request or the next,
gives way to a new one, the longest waiting first. So connections that are only held keep nobody out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from rtmpsrv.access.limits import counted_as

MAX_IN_ALL: Final = 512
MAX_OF_ONE: Final = 64  # address


class Place:
    """That of one connection."""

    def __init__(self, address: str, end: Callable[[], object]) -> None:
        """`end` ends the connection, later."""
        self.address = counted_as(address)
        self.end = end
        self.is_new = True  # it has asked for nothing yet
        self.is_stream = False  # it is sent events until somebody ends that


class Connections:
    """All places. Never blocks."""

    def __init__(self, in_all: int = MAX_IN_ALL, of_one: int = MAX_OF_ONE) -> None:
        self.closing = False  # each is to end after the answer that it waits for
        self._in_all = in_all
        self._of_one = of_one
        self._places: dict[Place, None] = {}
        self._waiting: dict[Place, None] = {}  # those that wait, in the order in which they began to
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, place: Place) -> bool:
        """Take in a connection, which waits; False when there is no room, and nobody who would make some."""
        if self._counts[place.address] >= self._of_one and not self._make_room(place.address):
            return False
        if len(self._places) >= self._in_all and not self._make_room(None):
            return False
        self._places[place] = self._waiting[place] = None
        self._counts[place.address] += 1
        return True

    def leave(self, place: Place) -> None:
        """Forget a connection. Idempotent."""
        self._waiting.pop(place, None)
        if place in self._places:
            del self._places[place]
            self._counts[place.address] -= 1
            if not self._counts[place.address]:
                del self._counts[place.address]

    def works(self, place: Place) -> None:
        """Note that a request has come whole, and is answered."""
        place.is_new = False
        self._waiting.pop(place, None)

    def waits(self, place: Place) -> None:
        """Note that it is answered."""
        if place in self._places:
            self._waiting[place] = None

    def end_idle(self) -> None:
        """End those that are between requests, or are sent events: nobody loses an answer."""
        for place in list(self._places):
            if place.is_stream or (place in self._waiting and not place.is_new):
                place.end()

    def end_all(self) -> None:
        """End all."""
        for place in list(self._places):
            place.end()

    def _make_room(self, address: str | None) -> bool:
        for place in self._waiting:
            if address is None or place.address == address:
                self.leave(place)
                place.end()
                return True
        return False
