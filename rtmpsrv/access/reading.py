"""What comes from callback, Redis and control servers, bounded while it is read. Knows no protocol.

The libraries that read have limits of their own only here and there: `http.client` passes over any number of
`100 Continue`, `redis` collects whatever length a reply announces.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from rtmpsrv.access.give_way import Share

UNIT_BYTES = 128  # so many bytes are counted as one unit of work beside the read itself


class TooMuch(OSError):
    """An answer is too long or takes too long. An OSError: libraries close the connection then."""


class Meter:
    """Counts what comes of one answer, gives way for it, and refuses what is above its limits."""

    def __init__(
        self,
        share: Share,
        limit_bytes: int,
        limit_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = share
        self._limit_bytes = limit_bytes
        self._limit_s = limit_s
        self._clock = clock
        self._began = 0.0
        self._bytes = 0
        self.total_bytes = 0

    def answer_ends(self) -> None:
        """Note that an answer is complete: the next byte belongs to the next one."""
        self._bytes = 0

    def took(self, count: int) -> None:
        """Note that `count` bytes were read. Blocks when it is somebody else's turn. Raises TooMuch."""
        now = self._clock()
        if not self._bytes:
            self._began = now
        self._bytes += count
        self.total_bytes += count
        if self._bytes > self._limit_bytes:
            raise TooMuch(errno.EMSGSIZE, f"an answer of more than {self._limit_bytes} bytes")
        if now - self._began > self._limit_s:
            raise TooMuch(errno.ETIME, f"an answer that takes more than {self._limit_s:g} s")
        spend_on_read(self._share, count)


def spend_on_read(share: Share, count: int) -> None:
    """Count one read of so many bytes as work. Blocks when it was too much for now."""
    share.spend(1 + count // UNIT_BYTES)


class MeteredSocket:
    """A socket that tells what was read from it; all else is the socket's own."""

    def __init__(self, inner: Any, took: Callable[[int], None]) -> None:
        self._inner = inner
        self._took = took

    def recv(self, *arguments: Any) -> bytes:
        """Read as the socket does."""
        data: bytes = self._inner.recv(*arguments)
        self._took(len(data))
        return data

    def recv_into(self, *arguments: Any) -> int:
        """Read as the socket does."""
        count: int = self._inner.recv_into(*arguments)
        self._took(count)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
