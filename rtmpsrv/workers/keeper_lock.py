"""Which process is the keeper: the one that holds `keeper.lock` in RUN_DIR, where its number is written.

It does so before it listens, and while it retires: who finds nobody to connect to asks here before it starts
another one.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from time import monotonic
from typing import Final

import gevent

LOCK: Final = "keeper.lock"
LOOK_EVERY_S: Final = 0.02
_DIGITS: Final = 20


class Lock:
    """Held by the one process that is the keeper; given up with its end, whatever that is."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def take(self, timeout_s: float) -> bool:
        """Wait until nobody else has it. Blocks up to `timeout_s`."""
        until = monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() >= until:
                    return False
                gevent.sleep(LOOK_EVERY_S)
            else:
                os.ftruncate(self._fd, 0)
                os.pwrite(self._fd, b"%d" % os.getpid(), 0)
                return True

    def release(self) -> None:
        """Let the next one have it. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def holder(run_dir: str) -> int | None:
    """Return the process that is the keeper, perhaps not for others yet; None for nobody. Never blocks."""
    try:
        fd = os.open(os.path.join(run_dir, LOCK), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        number = os.pread(fd, _DIGITS, 0)
        return int(number) if number.isdigit() else None
    finally:
        os.close(fd)
    return None


def end(run_dir: str, pid: int) -> bool:
    """Kill a process that is the keeper and does not act as one; False where it is none (any more)."""
    if holder(run_dir) != pid:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True
