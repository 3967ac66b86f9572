"""Who starts the keeper: any worker that misses it, one at a time. Whoever the manager is, or was.

So a keeper that was killed is replaced as soon as somebody misses it. It ends by itself when all workers are
gone, or at SIGTERM; one that is started beside it takes its place.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

import gevent

from rtmpsrv.log import Logger
from rtmpsrv.workers import doors

COMMAND: Final = ("-m", "rtmpsrv.workers.keeper_process")
LOCK: Final = "keeper-start.lock"  # in RUN_DIR; held by the worker that starts one
LOOK_S: Final = 0.1
START_S: Final = 10.0  # for a keeper to be there
LONGEST_PAUSE_S: Final = 30.0  # between two attempts
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group


class KeeperStarter:
    """One worker's eye on the keeper."""

    def __init__(self, run_dir: str, missing: Callable[[], bool], log: Logger) -> None:
        """Start a keeper when it is `missing`, which is asked often."""
        self._run_dir = run_dir
        self._missing = missing
        self._log = log
        self._watching: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Begin to look. Never blocks."""
        self._watching = gevent.spawn(self._watch)

    def stop(self) -> None:
        """Look no more. Idempotent. Blocks for a moment."""
        if self._watching is not None:
            self._watching.kill()
            self._watching = None

    def _watch(self) -> None:
        pause_s = LOOK_S
        while True:
            if self._missing() and not self._see_to_it():
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                pause_s = LOOK_S
            gevent.sleep(pause_s)

    def _see_to_it(self) -> bool:
        """Start a keeper, unless there is one, or another worker is at it; False when that failed."""
        try:
            lock = os.open(Path(self._run_dir) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            self._log.error("no keeper can be started: %s", exc.strerror or exc)
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return keeper_of(self._run_dir) is not None or self._start_one()
        except BlockingIOError:
            return True
        except OSError as exc:
            self._log.error("no keeper can be started: %s", exc.strerror or exc)
            return False
        finally:
            os.close(lock)

    def _start_one(self) -> bool:
        process = subprocess.Popen([sys.executable, *COMMAND], stdin=subprocess.DEVNULL)
        self._log.info("started a keeper, process %d", process.pid)
        until = monotonic() + START_S
        while monotonic() < until and process.poll() is None:
            if keeper_of(self._run_dir) is not None:
                return True
            gevent.sleep(LOOK_S)
        self._log.error("the keeper does not start")
        return False


def keeper_of(run_dir: str) -> int | None:
    """Return the process that is the keeper now; None when there is none. Never blocks for long."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(doors.path_of(run_dir, doors.KEEPER))
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(found)[0]
        return pid
    return None
