"""A number for each of the last seconds. Never blocks."""

from __future__ import annotations

from array import array
from typing import Any, Final

LONG: Final = 64  # seconds that are kept; powers of two
SHORT: Final = 16


class Seconds:
    """Sums by the second, in a ring. Changed by one owner."""

    __slots__ = ("_mask", "_newest", "_values")

    def __init__(self, size: int) -> None:
        self._mask = size - 1
        self._newest = 0
        self._values = array("q", bytes(8 * size))

    def add(self, second: int, number: int) -> None:
        """Add to a second, the newest or one that is kept yet."""
        mask = self._mask
        if second > self._newest:
            self._advance(second)
        elif second < self._newest - mask:
            return
        self._values[second & mask] += number

    def last(self, second: int, count: int) -> list[int]:
        """Return the numbers of so many seconds up to one, which is the last of them."""
        if second > self._newest:
            self._advance(second)
        begin = (second - count + 1) & self._mask
        behind = begin + count - len(self._values)  # how many stand at the ring's beginning again
        found = self._values[begin : begin + count].tolist()
        return found + self._values[:behind].tolist() if behind > 0 else found

    def sum(self, second: int, count: int) -> int:
        """Return the sum of these; nothing is looked at where none of them was added to."""
        return sum(self.last(second, count)) if self._newest > second - count else 0

    def snapshot(self) -> tuple[int, bytes]:
        """Return all of it, as `adopt` takes it."""
        return self._newest, self._values.tobytes()

    def adopt(self, value: Any) -> None:
        """Know what another process has counted."""
        newest, values = value
        self._newest = newest
        self._values = array("q", values)

    def _advance(self, second: int) -> None:
        values, mask = self._values, self._mask
        for one in range(max(self._newest + 1, second - mask), second + 1):
            values[one & mask] = 0
        self._newest = second
