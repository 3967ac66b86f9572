"""How a session waits for its peer: for bytes, or until a time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from greenlet import getcurrent, greenlet


class ReadWait:
    """Waits for one socket to have something to read. One greenlet at a time.

    gevent's own timeouts make, start and stop a timer for each wait, which was a third of the cost of a
    read. Here one timer is left running although most waits end before it, and looks, when it fires,
    whether it is needed any more.
    """

    def __init__(self, descriptor: int) -> None:
        self._hub = gevent.get_hub()
        self._watcher: Any = self._hub.loop.io(descriptor, 1)  # 1: to read
        self._timer: Any = None
        self._timer_at = float("inf")
        self._until = 0.0
        self._waiting: greenlet | None = None

    def wait(self, until: float) -> bool:
        """Block until there is something to read (True), or until monotonic seconds `until` (False)."""
        self._until = until
        if until < self._timer_at:
            self._start_timer(until - monotonic())
        self._waiting = me = getcurrent()
        self._watcher.start(me.switch, True)
        try:
            return bool(self._hub.switch())
        finally:
            self._waiting = None
            self._watcher.stop()

    def watch(self, readable: Callable[[], None], until: float) -> bool:
        """Block until `wake`, or until monotonic seconds `until` (False); for bytes `readable` is called.

        That happens in the hub, as long as there are any: it reads them, or wakes who waits. Never blocks.
        """
        self._until = until
        if until < self._timer_at:
            self._start_timer(until - monotonic())
        self._waiting = getcurrent()
        self._watcher.start(readable)
        try:
            return bool(self._hub.switch())
        finally:
            self._waiting = None
            self._watcher.stop()

    def wake(self, result: bool) -> None:
        """End `watch`, which returns `result`. For the hub."""
        if self._waiting is not None:
            self._waiting.switch(result)

    def close(self) -> None:
        """Give everything back; before the socket is closed. Idempotent."""
        self._stop_timer()
        self._watcher.stop()
        self._watcher.close()

    def _start_timer(self, delay_s: float) -> None:
        self._stop_timer()
        self._timer_at = self._until
        self._timer = self._hub.loop.timer(max(0.0, delay_s))
        self._timer.start(self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
            self._timer_at = float("inf")

    def _ring(self) -> None:
        """Run in the hub."""
        self._stop_timer()
        waiting = self._waiting
        if waiting is None:
            return  # the next wait starts a timer
        left = self._until - monotonic()
        if left > 0:
            self._start_timer(left)
        else:
            waiting.switch(False)
