"""Which connections there are: within bounds, of all and of one address. Whoever waits makes room. Pure.

A connection that has asked for something is served; one that only waits, for its first request or the next,
gives way to a new one, the longest waiting first. So does one that does not take its answer. So connections
that are only held keep nobody out. Where all are served, a few more may ask whether the server is well.

Answers that are not taken are held, within bounds as well: over them, who has taken nothing for longest ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from rtmpsrv.access.limits import counted_as

MAX_IN_ALL: Final = 512
MAX_OF_ONE: Final = 64  # address
KEPT: Final = 16  # more, for whoever asks whether the server is well
KEPT_OF_ONE: Final = 4
FEW: Final = 8  # who has fewer connections may take the last ones
LAST: Final = 8  # one of so many is a last one
STUCK_S: Final = 1.0  # without taking any of an answer
MAX_HELD_BYTES: Final = 32 << 20  # of all answers that wait to be taken
MAX_HELD_OF_ONE: Final = 8 << 20


class Place:
    """That of one connection."""

    def __init__(self, address: str, end: Callable[[], object]) -> None:
        """`end` ends the connection, later."""
        self.address = counted_as(address)
        self.end = end
        self.is_new = True  # it has asked for nothing yet
        self.is_stream = False  # it is sent events until somebody ends that
        self.is_kept = False  # one of those beyond the bounds
        self.held_bytes = 0  # of its answer, which it has not taken yet
        self.taken_at = 0.0  # when it took some of it, or the answer began


class Connections:
    """All places. Never blocks."""

    def __init__(
        self,
        in_all: int = MAX_IN_ALL,
        of_one: int = MAX_OF_ONE,
        kept: int = KEPT,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.closing = False  # each is to end after the answer that it waits for
        self._in_all = in_all
        self._of_one = of_one
        self._kept = kept
        self._clock = clock
        self._places: dict[Place, None] = {}
        self._waiting: dict[Place, None] = {}  # those that wait, in the order in which they began to
        self._counts: Counter[str] = Counter()
        self._holding: dict[Place, None] = {}  # those whose answers wait
        self._held: Counter[str] = Counter()  # bytes of those, by address

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, place: Place) -> bool:
        """Take in a connection, which waits; False when there is no room, and nobody who would make some."""
        own = self._counts[place.address]
        in_all = self._in_all if own < FEW else self._in_all - self._in_all // LAST
        is_full = own >= self._of_one and not self._make_room(place.address)
        if is_full or (self._counts.total() >= in_all and not self._make_room(None)):
            if not self._may_be_kept(place.address):
                return False
            place.is_kept = True
        else:
            self._counts[place.address] += 1
        self._places[place] = self._waiting[place] = None
        return True

    def leave(self, place: Place) -> None:
        """Forget a connection. Idempotent."""
        self._waiting.pop(place, None)
        self._hold(place, 0)
        if place in self._places:
            del self._places[place]
            self._counts[place.address] -= not place.is_kept
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

    def holds(self, place: Place, count: int) -> None:
        """Note how many bytes of its answer a connection has not taken yet."""
        if place not in self._places:
            return  # it is to end
        more = count > place.held_bytes
        if count != place.held_bytes:
            place.taken_at = self._clock()
        self._hold(place, count)
        if more:
            while self._held[place.address] > MAX_HELD_OF_ONE and self._end_one(place, place.address):
                pass
            while self._held.total() > MAX_HELD_BYTES and self._end_one(place, None):
                pass

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
        until = self._clock() - STUCK_S
        stuck = [place for place in self._holding if place.taken_at <= until]
        stuck.sort(key=lambda place: place.taken_at)
        idle = [place for place in (*stuck, *self._waiting) if not place.is_kept]
        return self._end_first(idle, address)

    def _may_be_kept(self, address: str) -> bool:
        """Tell whether there is room for one that may ask for little; one of those that wait makes it."""
        kept = [place for place in self._places if place.is_kept]
        waiting = [place for place in self._waiting if place.is_kept]
        if len([1 for one in kept if one.address == address]) >= KEPT_OF_ONE:
            return self._end_first(waiting, address)
        return len(kept) < self._kept or self._end_first(waiting, None)

    def _end_one(self, but: Place, address: str | None) -> bool:
        """End the one that has taken nothing of its answer for longest, of one address or of all."""
        others = [place for place in self._holding if place is not but]
        others.sort(key=lambda place: place.taken_at)
        return self._end_first(others, address)

    def _end_first(self, places: Iterable[Place], address: str | None) -> bool:
        for place in places:
            if address is None or place.address == address:
                self.leave(place)
                place.end()
                return True
        return False

    def _hold(self, place: Place, count: int) -> None:
        self._held[place.address] += count - place.held_bytes
        if not self._held[place.address]:
            del self._held[place.address]
        place.held_bytes = count
        if count:
            self._holding[place] = None
        else:
            self._holding.pop(place, None)
