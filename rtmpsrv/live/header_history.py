"""Which sequence headers were in force where in a log, as far as that is remembered. Never blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .budget import HEADERS, Budget

MAX_HEADER_CHANGES: Final = 8  # that are remembered; whoever is further behind is sent all headers again

Headers = tuple[tuple[int, bytes], ...]  # (type id, payload), in the order in which they are sent
Change = tuple[int, Headers]  # the position from which they are in force


class HeaderHistory:
    """Changed by its log and its channel only; read by players."""

    __slots__ = ("_budget", "_changes", "_counted_bytes")

    def __init__(self, budget: Budget) -> None:
        self._changes: list[Change] = [(0, ())]
        self._budget = budget
        self._counted_bytes = 0

    def __del__(self) -> None:
        self._budget.change(HEADERS, -self._counted_bytes)

    def note(self, position: int, headers: Headers) -> None:
        """Take note of the headers in force from the end of the log on."""
        if self._changes[-1][0] == position:
            self._changes.pop()
        self._changes.append((position, headers))
        # Nobody knows any more what was in force before the oldest that is left.
        del self._changes[:-MAX_HEADER_CHANGES]
        self._count()

    def extend(self, changes: Sequence[Change]) -> None:
        """Take note of several changes, the oldest first."""
        for position, headers in changes:
            self.note(position, headers)

    def forget_before(self, position: int) -> None:
        """Let go of headers that were replaced up to a position."""
        changes = self._changes
        while len(changes) > 1 and changes[1][0] <= position:
            del changes[0]
        self._count()

    def at(self, position: int) -> Headers:
        """Return the headers in force at a position; the oldest known ones for what lies before them."""
        for begin, headers in reversed(self._changes):
            if begin <= position:
                return headers
        return self._changes[0][1]

    def remembers(self, position: int) -> bool:
        """Tell whether the headers in force at a position are still known."""
        return self._changes[0][0] <= position

    def since(self, position: int) -> tuple[Change, ...]:
        """Return the changes at a position and behind it."""
        return tuple([change for change in self._changes if change[0] >= position])

    def snapshot(self) -> tuple[Change, ...]:
        """Return all that is remembered, as `adopt` takes it."""
        return tuple(self._changes)

    def adopt(self, changes: Sequence[Change]) -> None:
        """Remember what another process did, and nothing else."""
        self._changes = list(changes)
        self._count()

    def _count(self) -> None:
        """Count what is held, each header once."""
        held = {id(payload): len(payload) for _, headers in self._changes for _, payload in headers}
        total = sum(held.values())
        self._budget.change(HEADERS, total - self._counted_bytes)
        self._counted_bytes = total
