"""File work in threads, so that no disk holds up a stream; what takes too long is waited for no more."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

SIZE: Final = 4  # a disk that hangs takes these, and none that others need
DEADLINE_S: Final = 10.0

P = ParamSpec("P")
Result = TypeVar("Result")


class TooSlow(OSError):
    """The disk did not answer in time."""


class Threads:
    """The threads of one process for recordings."""

    def __init__(self, deadline_s: float = DEADLINE_S, size: int = SIZE) -> None:
        self._deadline_s = deadline_s
        self._pool = ThreadPool(size)

    def call(self, work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Return or raise what a function does. Blocks this greenlet for the deadline at most.

        Raises TooSlow after that; the function may still be at work then.
        """
        return self.call_or(_nothing, work, *args, **kwargs)

    def call_or(
        self, late: Callable[[], object], work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        """As `call`; when it raises TooSlow, `late` is called as soon as the function is not at work."""
        too_slow = TooSlow(errno.ETIMEDOUT, f"the disk did not answer within {self._deadline_s:g} s")
        running: AsyncResult[Any] | None = None
        try:
            with gevent.Timeout(self._deadline_s, too_slow):
                running = self._pool.spawn(work, *args, **kwargs)
                return cast("Result", running.get())
        except TooSlow:
            if running is None:  # all threads hang, and more than one waits for them
                late()
            else:
                running.rawlink(lambda _: late())
            raise


def _nothing() -> None:
    """Nothing is to be done."""
