"""What other workers answered, while viewers of this one are sent it: each once in memory, and counted.

Who needs so long for it that there is no room for what others are sent is sent no more. Never blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from rtmpsrv.live.budget import WINDOWS

MAX_BORROWED_BYTES: Final = 128 << 20  # of one worker
TOO_SLOW: Final = "took a segment of another worker too slowly"

Name = tuple[str, str]  # of a channel, and in it
Body = bytes | Sequence[bytes]  # in pieces


class Memory(Protocol):
    """The budget."""

    def hold(self, kind: str, holder: Any, count: int) -> None:
        """Take note that `holder`, who can be dropped, holds so many bytes now; 0 forgets it."""


class Taker(Protocol):
    """The connection that it is sent over."""

    def drop(self, reason: str) -> None:
        """End it. Never blocks."""


class _Loan:
    """One answer, and who is sent it."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.size = size_of(body)
        self.takers: dict[object, Taker] = {}
        self.is_over = False  # nobody else is sent it

    def drop(self, reason: str) -> None:
        self.is_over = True
        for taker in list(self.takers.values()):
            taker.drop(reason)


class Borrowed:
    """All of a process."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._loans: dict[_Loan, None] = {}  # that count, the oldest first
        self._last: dict[Name, _Loan] = {}
        self._size = 0

    @contextmanager
    def of(self, name: Name, body: Body, taker: Taker) -> Iterator[Body]:
        """Give what to send in place of `body`, which is its like, and count it while the caller sends it."""
        loan = self._last.get(name)
        if loan is None or loan.is_over or loan.body != body:
            loan = _Loan(body)
        del body  # there may be one already
        mark = object()
        loan.takers[mark] = taker
        try:
            self._count(name, loan)
            yield loan.body
        finally:
            del loan.takers[mark]
            if not loan.takers:
                self._forget(loan)
                if self._last.get(name) is loan:
                    del self._last[name]

    def _count(self, name: Name, loan: _Loan) -> None:
        if loan in self._loans:
            return
        self._loans[loan], self._last[name] = None, loan
        self._size += loan.size
        while self._size > MAX_BORROWED_BYTES and len(self._loans) > 1:
            oldest = next(iter(self._loans))
            self._forget(oldest)
            oldest.drop(TOO_SLOW)
        self._memory.hold(WINDOWS, loan, loan.size)  # which may drop it

    def _forget(self, loan: _Loan) -> None:
        if loan in self._loans:
            del self._loans[loan]
            self._size -= loan.size
            self._memory.hold(WINDOWS, loan, 0)


def size_of(body: Body) -> int:
    """Return how many bytes an answer has."""
    return len(body) if isinstance(body, bytes) else sum(map(len, body))
