"""Starting a process of ours without a fork: cheap where there is much memory, and many sockets."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from posix import close, waitpid  # those of `os` are replaced by gevent's, which knows only its own children
from time import monotonic
from typing import Final

import gevent

FIRST_DESCRIPTOR: Final = 3  # of those that are passed on, which are numbered from here
LOOK_EVERY_S: Final = 0.02
_OUT_OF_THE_WAY: Final = 64  # above all numbers that are given


class Spawned:
    """A process that was started here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = False
        self._handle: int | None = None
        with suppress(OSError):  # the system cannot; then its number must do
            self._handle = os.pidfd_open(pid)

    def kill(self) -> None:
        """End it, whatever it does. Idempotent. Never blocks."""
        if self._ended:
            return
        with suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def reap(self, timeout_s: float) -> bool:
        """Wait until it is gone, and let the system forget it. Blocks up to `timeout_s`."""
        until = monotonic() + timeout_s
        while not self._ended:
            try:
                self._ended = waitpid(self.pid, os.WNOHANG)[0] != 0
            except ChildProcessError:  # the event loop, which waits for all children, was faster
                self._ended = True
            if not self._ended:
                if monotonic() >= until:
                    return False
                gevent.sleep(LOOK_EVERY_S)
        if self._handle is not None:
            close(self._handle)
            self._handle = None
        return True


def spawn(
    arguments: Sequence[str], descriptors: Iterable[int], environ: Mapping[str, str], blocked: Iterable[int]
) -> Spawned:
    """Start this interpreter with copies of some descriptors, numbered from 3, and signals that wait.

    Others of ours it does not get: Python opens all so that they end at an `exec`. Blocks for a millisecond.
    Raises OSError.
    """
    copies: list[int] = []
    try:
        for one in descriptors:  # one by one: those before one that fails are closed
            copies.append(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY))  # noqa: PERF401
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        ]
        actions += [
            (os.POSIX_SPAWN_DUP2, copy, number) for number, copy in enumerate(copies, FIRST_DESCRIPTOR)
        ]
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            environ,
            file_actions=actions,
            setsigmask=list(blocked),
        )
    finally:
        for copy in copies:
            close(copy)
    return Spawned(pid)
