"""Where the messages of a derived log are in the log that it was made from. Never blocks.

Positions in the other one mean the same in all processes: whoever moves takes those.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left


class Places:
    """Changed by whoever derives the log."""

    __slots__ = ("_positions", "_sources", "begin", "end")

    def __init__(self, begin: int) -> None:
        self.begin = self.end = begin  # of what was derived, in the source
        self._positions = array("Q")
        self._sources = array("Q")

    def note(self, position: int, source: int) -> None:
        """Take note of the message that comes next."""
        self._positions.append(position)
        self._sources.append(source)

    def reach(self, source: int) -> None:
        """Take note that all up to a place in the source is there."""
        self.end = source

    def source_of(self, position: int) -> int:
        """Return where in the source a boundary is."""
        number = bisect_left(self._positions, position)
        return self._sources[number] if number < len(self._sources) else self.end

    def position_of(self, source: int) -> int | None:
        """Return the boundary that belongs to a place in the source; None: the end of what was derived."""
        number = bisect_left(self._sources, source)
        return self._positions[number] if number < len(self._positions) else None

    def has(self, source: int) -> bool:
        """Tell whether whoever was sent all up to a place in the source can go on here."""
        return self.begin <= source <= self.end

    def forget_before(self, position: int) -> None:
        """Let go of what lies before a position, which nobody can read any more."""
        number = bisect_left(self._positions, position)
        if number:
            del self._positions[:number]
            del self._sources[:number]
            self.begin = self._sources[0] if self._sources else self.end
