"""Fragments of one movie: once for all who watch it, each of whom is at a place. Never blocks.

Kept are those that who comes now begins with, and before them what somebody has not taken yet, within bounds:
who is behind those goes on at a fragment that a player can begin with.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from rtmpsrv.live.budget import WINDOWS
from rtmpsrv.live.making import Memory
from rtmpsrv.media.mp4_live import Cut

MAX_BYTES: Final = 16 << 20
MAX_CUTS: Final = 10_000
LAG_S: Final = 10.0  # behind the newest beginning, as for players
MAX_TAKEN_BYTES: Final = 256 << 10  # at one go; one fragment may be more


class Reader:
    """Who watches, as the shelf knows them."""

    def __init__(self, ends: Callable[[str], None] = lambda reason: None) -> None:
        """`ends` is called where it may not go on: it holds too much. Must not block."""
        self.place: int | None = None  # number of the next fragment; None: the next that can begin
        self.left_out = 0  # fragments
        self.ends = ends
        self.has: int | None = None  # number of a large fragment that is on its way to it


class Shelf:
    """Filled by one maker; emptied by readers, each in a greenlet of its own."""

    def __init__(self, memory: Memory) -> None:
        self.size = 0
        self.lent = 0  # bytes of large fragments that are on their way, and here no more
        self._memory = memory
        self._cuts: deque[tuple[Cut, float]] = deque()
        self._end = 0  # the number of the next fragment
        self._start: int | None = None  # where who comes now begins
        self._readers: dict[Reader, None] = {}
        self._taken: Counter[int] = Counter()  # how many each large fragment is on its way to
        self._lent: dict[int, int] = {}  # the bytes of those that are here no more
        self._is_over = False

    # --- the maker --------------------------------------------------------------------------------

    def put(self, cut: Cut, now: float) -> None:
        """Add a fragment, and let go of what nobody needs, or of what is too much."""
        if cut.is_start:
            self._start = lowest = self._end
            for reader in self._readers:
                if reader.place is None:
                    reader.place = self._end
                lowest = min(lowest, reader.place)
            self._drop_before(lowest)
        self._cuts.append((cut, now))
        self._end += 1
        self.size += len(cut.data)
        start = self._end - 1 if self._start is None else self._start
        if self._memory.is_pressed(WINDOWS):
            self._drop_before(start)
        while self._begin < start and self._cuts[0][1] < now - LAG_S:
            self._drop_first()
        while (self.size > MAX_BYTES or len(self._cuts) > MAX_CUTS) and len(self._cuts) > 1:
            self._drop_first()
        self._memory.hold(WINDOWS, self, self.size + self.lent)

    def end(self) -> None:
        """Nothing more comes; what is there is for those who have not taken it yet."""
        self._is_over = True
        self._let_go()

    def drop(self, reason: str) -> None:
        """Let go of all but what those who are not behind take next; `Holder`."""
        while self.size > MAX_TAKEN_BYTES:
            self._drop_first()
        if self.lent:
            for reader in [one for one in self._readers if one.has in self._lent]:
                reader.ends(reason)

    # --- readers ----------------------------------------------------------------------------------

    def welcome(self, reader: Reader) -> None:
        """Let one begin where it can."""
        self._readers[reader] = None
        reader.place = self._start

    def take(self, reader: Reader) -> bytes:
        """Return what comes next for a reader, as much as is sent at one go; nothing: there is none."""
        self._give_back(reader)
        place = reader.place
        if place is not None and place < self._begin:
            following = self._start if self._start is not None and self._start >= place else None
            reader.left_out += (self._end if following is None else following) - place
            place = reader.place = following
        if place is None:
            return b""
        found: list[bytes] = []
        size = 0
        while place < self._end:
            data = self._cuts[place - self._begin][0].data
            if found and size + len(data) > MAX_TAKEN_BYTES:
                break
            found.append(data)
            size += len(data)
            place += 1
        reader.place = place
        if size > MAX_TAKEN_BYTES:  # it is one, and stays in memory until it was sent
            reader.has = place - 1
            self._taken[place - 1] += 1
            return found[0]
        return b"".join(found)

    def leave(self, reader: Reader) -> None:
        """Forget one. Idempotent."""
        self._readers.pop(reader, None)
        self._give_back(reader)
        self._let_go()

    # --- private ----------------------------------------------------------------------------------

    @property
    def _begin(self) -> int:
        return self._end - len(self._cuts)

    def _give_back(self, reader: Reader) -> None:
        number, reader.has = reader.has, None
        if number is None:
            return
        self._taken[number] -= 1
        if not self._taken[number]:
            del self._taken[number]
            self.lent -= self._lent.pop(number, 0)
            self._memory.hold(WINDOWS, self, self.size + self.lent)

    def _let_go(self) -> None:
        if self._is_over and not self._readers:
            self._drop_before(self._end)
            self._memory.hold(WINDOWS, self, 0)

    def _drop_before(self, place: int) -> None:
        while self._begin < place:
            self._drop_first()

    def _drop_first(self) -> None:
        number = self._begin
        if self._start == number:
            self._start = None
        count = len(self._cuts.popleft()[0].data)
        self.size -= count
        if number in self._taken:
            self._lent[number] = count
            self.lent += count
