"""A keeper that retires, as the next one sees it: it reports the ends of what its authority granted.

A control server forgets what it granted with the connection over which it did, and that cannot be handed on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time
from typing import Final

import gevent

from rtmpsrv.access.gate import Grant
from rtmpsrv.log import Logger
from rtmpsrv.workers import doors
from rtmpsrv.workers.calls import CallLost, Calls, Handler
from rtmpsrv.workers.wire import Wire, WireLost

ANSWER_S: Final = 2.0
_PREFIX: Final = f"{doors.KEEPER}-"  # of the names of keepers that retire


class Former:
    """One of them; `held` is what it has, with the workers' names."""

    def __init__(self, wire: Wire, log: Logger) -> None:
        """Ask it what it has. Blocks up to `ANSWER_S`. Raises CallLost."""
        self._kills: list[tuple[int, str]] = []
        self._kill: Callable[[int, str], None] = lambda serial, reason: self._kills.append((serial, reason))
        self.doors: list[int] = []  # sockets that listen, for who is there beside the keeper
        tells: dict[str, Handler] = {
            "kill": lambda serial, reason: self._kill(serial, reason),
            "door": lambda fds: self.doors.append(fds.pop()),
        }
        self._calls = Calls(wire, log, tells, {})
        self._reading = gevent.spawn(self._calls.serve)
        try:
            self.held: list[tuple[Grant, str]] = self._calls.call("held", timeout_s=ANSWER_S)
        except CallLost:
            self.close()
            raise

    def serve(self, kill: Callable[[int, str], None]) -> None:
        """Pass on what it ends, by serial, until it is gone. Blocks."""
        self._kill = kill
        for serial, reason in self._kills:
            kill(serial, reason)
        self._reading.join()

    def release(self, serial: int) -> None:
        """Tell it that a publication has ended, perhaps one of its own. Never blocks."""
        self._calls.tell("release", serial)

    def close(self) -> None:
        """Hear no more of it."""
        self._calls.close()


def door_of(formers: list[Former]) -> int | None:
    """Return the socket that the last of them hands on, which is the caller's now; None for none."""
    doors = [door for one in formers for door in one.doors]
    for one in formers:
        one.doors.clear()
    for door in doors[:-1]:
        close(door)
    return doors[-1] if doors else None


def name_of(pid: int) -> str:
    """Return the name under which the keeper of a process is heard while it retires."""
    return f"{_PREFIX}{pid}"


def find(run_dir: str, log: Logger) -> list[Former]:
    """Connect to all keepers that retire. Blocks up to some seconds for each that does not answer."""
    found = []
    for file in sorted(os.listdir(run_dir)):
        if not (file.startswith(_PREFIX) and file.endswith(doors.SUFFIX)):
            continue
        path = os.path.join(run_dir, file)
        try:
            found.append(Former(doors.connect(path), log))
        except (WireLost, CallLost) as exc:
            log.debug("no keeper that retires: %s", exc)
            with suppress(FileNotFoundError):
                os.unlink(path)
    return found
