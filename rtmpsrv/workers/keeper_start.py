"""Who starts the keeper: any worker that misses it, one at a time. Whoever the manager is, or was.

So a keeper that was killed is replaced as soon as somebody misses it, and one that lets nobody in is killed.
It ends by itself when all workers are gone: at once if their manager is, too, or after SIGTERM. Only the
manager starts one beside it, which takes its place: a worker's leaves where there is one.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import gevent

from rtmpsrv.log import Logger
from rtmpsrv.workers import keeper_lock

COMMAND: Final = ("-m", "rtmpsrv.keeper")
UNLESS_THERE: Final = "unless-there"  # what a worker adds
WAITING: Final = (signal.SIGTERM, signal.SIGINT)  # until a keeper that starts can act on them
LOCK: Final = "keeper-start.lock"  # in RUN_DIR; held by the worker that starts one
LOOK_S: Final = 0.1
START_S: Final = 10.0  # for a keeper to be there
PATIENCE_S: Final = 30.0  # with a keeper that is there, and lets nobody in
LONGEST_PAUSE_S: Final = 30.0  # between two attempts


class KeeperStarter:
    """One worker's eye on the keeper."""

    def __init__(self, run_dir: str, missing: Callable[[], bool], log: Logger) -> None:
        """Start a keeper when it is `missing`, which is asked often."""
        self._run_dir = run_dir
        self._missing = missing
        self._log = log
        self._watching: gevent.Greenlet[[], None] | None = None
        self._silent: int | None = None  # the keeper that lets nobody in
        self._silent_since = 0.0

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
            if not self._missing():
                pause_s, self._silent = LOOK_S, None
            elif not self._see_to_it():
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
            pid = keeper_of(self._run_dir)
            if pid is None:  # the next one of one that has retired is about to take its place
                gevent.sleep(LOOK_S)
                pid = keeper_of(self._run_dir)
            if pid is None:
                return self._start_one()
            self._wait_for(pid)
            return True
        except BlockingIOError:
            return True
        except OSError as exc:
            self._log.error("no keeper can be started: %s", exc.strerror or exc)
            return False
        finally:
            os.close(lock)

    def _start_one(self) -> bool:
        environ = os.environ | {"RUN_DIR": self._run_dir}  # whose default is not the same under gunicorn
        command = [sys.executable, *COMMAND, UNLESS_THERE]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITING)
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environ)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._log.info("started a keeper, process %d", process.pid)
        until = monotonic() + START_S
        while monotonic() < until and process.poll() is None:
            if keeper_of(self._run_dir) is not None:
                return True
            gevent.sleep(LOOK_S)
        if process.poll() == 0:  # there was one already
            return True
        self._log.error("the keeper does not start")
        return False

    def _wait_for(self, pid: int) -> None:
        """Lose patience with a keeper that starts or retires for too long."""
        if pid != self._silent:
            self._silent, self._silent_since = pid, monotonic()
        elif monotonic() - self._silent_since >= PATIENCE_S and keeper_lock.end(self._run_dir, pid):
            self._log.warning("the keeper, process %d, lets nobody in: it is killed", pid)
            self._silent = None


def keeper_of(run_dir: str) -> int | None:
    """Return the process that is the keeper now, or about to be; None when there is none. Never blocks."""
    return keeper_lock.holder(run_dir)
