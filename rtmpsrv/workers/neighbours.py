"""A worker's connections to the other workers: those that it makes, and its door for those that they make.

What goes over a connection its first message says: questions and answers, or the copy of one channel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time
from typing import Final

from gevent import socket as gsocket
from gevent.pool import Group

from rtmpsrv.log import Logger
from rtmpsrv.workers import doors
from rtmpsrv.workers.calls import Calls, Handler
from rtmpsrv.workers.wire import Wire, WireLost

FIRST_WORD_S: Final = 5.0
CALLS: Final = "calls"

Handlers = tuple[dict[str, Handler], dict[str, Handler], Callable[[], None]]  # tells, calls, at the end


class Neighbours:
    """All workers but this one, by name."""

    def __init__(self, name: str, run_dir: str, log: Logger) -> None:
        self.name = name
        # Makes what answers one connection of another worker.
        self.on_calls: Callable[[], Handlers] = lambda: ({}, {}, lambda: None)
        self.others: dict[str, Callable[[Wire, tuple[object, ...]], None]] = {}  # by first word; they block
        self._run_dir = run_dir
        self.log = log
        self._lines: dict[str, Calls] = {}
        self._tasks = Group()
        self._listener: gsocket.socket | None = None

    def start(self) -> None:
        """Open the door. Raises OSError."""
        doors.sweep(self._run_dir)
        self._listener = doors.listen(doors.path_of(self._run_dir, self.name))
        listener = self._listener
        self._tasks.spawn(doors.accept, listener, lambda one: self._tasks.spawn(self._welcome, Wire(one)))

    def line(self, name: str) -> Calls:
        """Return the line to another worker. May block to connect. Raises WireLost."""
        line = self._lines.get(name)
        if line is None:
            wire = self.connect(name, CALLS)
            line = self._lines.setdefault(name, made := Calls(wire, self.log, {}, {}))
            if line is made:
                self._tasks.spawn(self._serve, name, line)
            else:  # somebody else was faster
                wire.close()
        return line

    def connect(self, name: str, *word: object) -> Wire:
        """Return a connection to another worker that begins with this word. May block. Raises WireLost."""
        wire = doors.connect(doors.path_of(self._run_dir, name))
        wire.post((self.name, *word))
        return wire

    def close(self) -> None:
        """Close the door and all connections."""
        if self._listener is not None:
            self._listener.close()
            with suppress(OSError):
                os.unlink(doors.path_of(self._run_dir, self.name))
        for line in list(self._lines.values()):
            line.close()
        self._tasks.kill(timeout=1)

    # --- private ----------------------------------------------------------------------------------

    def _serve(self, name: str, line: Calls) -> None:
        try:
            line.serve()
        finally:
            if self._lines.get(name) is line:
                del self._lines[name]

    def _welcome(self, wire: Wire) -> None:
        try:
            word, fds = wire.receive(FIRST_WORD_S)
            for fd in fds:
                close(fd)
            if not isinstance(word, tuple) or len(word) < 2:
                raise WireLost("what came is no greeting")
            if word[1] == CALLS:
                tells, calls, over = self.on_calls()
                try:
                    Calls(wire, self.log, tells, calls).serve()
                finally:
                    over()
            elif word[1] in self.others:
                self.others[word[1]](wire, word)
        except WireLost as exc:
            self.log.debug("a worker's connection ended: %s", exc)
        except Exception:  # a bug must cost this connection only
            self.log.exception("a worker's connection failed")
        finally:
            wire.close()
