"""A worker's side of being watched: it says that it lives, and notices when nobody asks any more."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import gevent

from .role import Role

BEAT_S = 1.0
READY, SUCCEEDED = b"R", b"S"  # it serves; and it has taken over all sessions that could move


class Heart:
    """Beats in a greenlet of its own until `stop`."""

    def __init__(self, role: Role, on_orphaned: Callable[[], object]) -> None:
        """Call `on_orphaned` once when the parent is gone."""
        self._role = role
        self._on_orphaned = on_orphaned
        self._beating: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Begin to beat. Never blocks."""
        self._beating = gevent.spawn(self._beat)

    def ready(self, *, succeeded: bool = False) -> None:
        """Tell the parent that this worker serves, and whether it has `succeeded` the one it was to succeed.

        Never blocks; a parent that is gone does not matter.
        """
        with contextlib.suppress(OSError):
            os.write(self._role.status, SUCCEEDED if succeeded else READY)

    def stop(self) -> None:
        """Beat no more. Idempotent."""
        if self._beating is not None:
            self._beating.kill()
            self._beating = None

    def _beat(self) -> None:
        orphaned = False
        while True:
            now = time.monotonic()  # what gunicorn compares with
            os.utime(self._role.heartbeat, (now, now))
            if not orphaned and os.getppid() != self._role.parent:
                orphaned = True
                self._on_orphaned()
            gevent.sleep(BEAT_S)
