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
                running = self._pool.spawn(_tried, lambda: work(*args, **kwargs))
                result, exc = cast("tuple[object, Exception | None]", running.get())
        except TooSlow:
            if running is None:  # all threads hang, and more than one waits for them
                late()
            else:
                running.rawlink(lambda _: late())
            raise
        if exc is not None:
            raise exc
        return cast("Result", result)


def _tried(work: Callable[[], object]) -> tuple[object, Exception | None]:
    """Return what a function returns or raises: the pool would print the latter."""
    try:
        return work(), None
    except Exception as exc:  # noqa: BLE001 - raised where it is waited for
        return None, exc


def _nothing() -> None:
    """Nothing is to be done."""
