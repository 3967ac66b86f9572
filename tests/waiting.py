"""How tests in the server's own process wait for what happens by itself; not a test."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

import gevent

PATIENCE_S = 15.0  # on a busy machine


def eventually(is_so: Callable[[], object], what: str = "it", timeout_s: float = PATIENCE_S) -> None:
    """Let everybody else run until something is so. Blocks up to `timeout_s`."""
    until = monotonic() + timeout_s
    while not is_so():
        assert monotonic() < until, f"{what} did not happen"
        gevent.sleep(0.001)


def at_next_round(act: Callable[[], object]) -> None:
    """Do something, which must not block, as soon as gevent looks at sockets again. Never blocks."""
    ready = os.eventfd(1)
    watcher = gevent.get_hub().loop.io(ready, 1)

    def look() -> None:
        watcher.stop()
        watcher.close()
        os.close(ready)
        act()

    watcher.start(look)
