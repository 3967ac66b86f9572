"""Try again without end, more and more slowly: what the background tasks of this package share.

`describe` is here too: who tries again has a failure to tell the operator about, without telling secrets.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import gevent

from rtmpsrv.log import Logger

FIRST_WAIT_S = 1.0  # docs/control.md, "Timings"
LONGEST_WAIT_S = 10.0
GROWTH = 2.0
MAX_CAUSES = 8  # a chain of causes may be a ring
JITTER = 0.2  # of each wait; a fleet of servers must not return to its coordinator in one instant


class Stopped(ConnectionAbortedError):
    """The owner of a task ends it. An OSError, so that a library that is connecting closes its socket.

    Killed by GreenletExit, `redis` and `websocket` leave the socket of an unfinished connect() open.
    """


class Backoff:
    """Say how long to wait before the next attempt: 1, 2, 4, 8, 10 ... seconds, each a bit less at random."""

    def __init__(
        self,
        first_s: float = FIRST_WAIT_S,
        longest_s: float = LONGEST_WAIT_S,
        jitter: float = JITTER,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._draw = draw
        self._next_s = first_s

    def next_s(self) -> float:
        """Return the wait before the next attempt, and make the one after it longer."""
        wait_s = self._next_s
        self._next_s = min(wait_s * GROWTH, self._longest_s)
        return wait_s * (1 - self._jitter * self._draw())

    def reset(self) -> None:
        """Start again from the shortest wait: what was tried has worked for a while."""
        self._next_s = self._first_s


def keep_trying(
    attempt: Callable[[], None],
    *,
    expected: tuple[type[Exception], ...],
    failed: Callable[[Exception, float], None],
    backoff: Backoff,
    stable_after_s: float,
    log: Logger,
) -> None:
    """Call `attempt` again and again, waiting in between. Blocks until `stop_trying`.

    An attempt that ran for `stable_after_s` counts as a success and resets the back-off; one that a peer
    accepts and closes at once does not, or the two would spin. `failed` gets the error and the wait that
    follows.
    """
    while True:
        began = time.monotonic()
        problem: Exception | None = None
        try:
            attempt()
        except expected as exc:
            problem = exc
        except Stopped:
            return
        except Exception:
            log.exception("internal error, the task goes on")
        if problem is not None and any(isinstance(cause, Stopped) for cause in _causes(problem)):
            return
        if time.monotonic() - began >= stable_after_s:
            backoff.reset()
        wait_s = backoff.next_s()
        if problem is not None:
            failed(problem, wait_s)
        try:
            gevent.sleep(wait_s)
        except Stopped:
            return


def stop_trying(task: gevent.Greenlet[..., None], timeout_s: float) -> None:
    """End a greenlet that runs `keep_trying`. Blocks up to twice `timeout_s`."""
    gevent.sleep(0)  # one that has not begun yet would die of Stopped with a traceback
    task.kill(Stopped, timeout=timeout_s)
    task.kill(timeout=timeout_s)  # if a library swallowed it


def describe(error: BaseException) -> str:
    """Name an error for the log, with the system's words for its cause but never a library's text.

    The texts of `requests`, `redis` and `websocket` quote what was sent or received: URLs with their query,
    headers, a server's answer to `AUTH`. Those may hold a token or a password; an `errno` text cannot.
    """
    name = type(error).__name__
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return f"{name}: status {status}"
    for cause in _causes(error):
        if isinstance(cause, OSError) and isinstance(cause.strerror, str):
            return f"{name}: {cause.strerror}"
    return name


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what it came from, the latest first."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(found) < MAX_CAUSES:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
