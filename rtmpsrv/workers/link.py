"""A worker's connection to the keeper, whichever is there now.

When it dies the worker goes on, and waits for the next one; one that does not answer any more is killed. The
parts of a worker that deal with the keeper put in what they are told and asked, and what the keeper must know
from the beginning.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import gevent
from gevent.event import Event

from rtmpsrv.log import Logger
from rtmpsrv.workers import doors, keeper_lock
from rtmpsrv.workers.calls import CallLost, Calls, Handler, NoAnswer
from rtmpsrv.workers.wire import Wire, WireLost

RETRY_S: Final = 0.1  # between two attempts to connect: the socket is in a folder of this machine
PING_S: Final = 2.0  # between two questions, and for the answer
MAX_SILENCES: Final = 3  # questions in a row without an answer: this process may have been stopped, too


class Link:
    """One worker's way to the keeper. Nothing but `serve` and `wait` blocks."""

    def __init__(self, name: str, log: Logger) -> None:
        """`name` is the worker's, unique among all that ever were."""
        self.name = name
        self.line: Calls | None = None  # while the keeper is there
        self.tells: dict[str, Handler] = {}
        self.calls: dict[str, Handler] = {}
        self.says: dict[str, Callable[[], Any]] = {}  # at the beginning
        self._log = log
        self._former: set[Calls] = set()  # of keepers that have retired
        self._there = Event()
        self._stepped_back = Event()  # anew for each line
        self._run_dir = ""
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._closed = False

    def start(self, path: str) -> None:
        """Keep connected to whoever listens there."""
        self._run_dir = os.path.dirname(path)
        self._greenlet = gevent.spawn(self._keep_connected, path)

    def serve(self, wire: Wire) -> str:
        """Be connected to a keeper over this wire until it is lost; return why it was. Blocks."""
        line = Calls(wire, self._log, self.tells, self.calls)
        # Without a switch of greenlets: what happens from now on is told after this.
        line.tell("hello", self.name, {topic: say() for topic, say in self.says.items()})
        self.line = line
        self._there.set()
        watching = gevent.spawn(self._watch, line, wire)
        try:
            return line.serve()
        finally:
            watching.kill(block=False)
            if self.line is line:
                self.line = None
                self._there.clear()
            self._former.discard(line)
            line.close()

    def step_back(self) -> Calls | None:
        """Turn to the next keeper: the one that is there retires, and ends what it has begun.

        Its line is returned, to be closed by whoever has asked for something. Never blocks.
        """
        line = self.line
        if line is not None:
            self.line = None
            self._there.clear()
            self._former.add(line)
            self._stepped_back.set()
        return line

    def wait(self, timeout_s: float) -> Calls | None:
        """Return the keeper's line as soon as there is one; None after `timeout_s`. Blocks up to that."""
        if self.line is None and not self._closed:
            self._there.wait(timeout_s)
        return self.line

    def tell(self, name: str, *arguments: object) -> bool:
        """Tell the keeper; False when there is none: what is said at the beginning must tell the next one."""
        return self.line is not None and self.line.tell(name, *arguments)

    def close(self, flush_s: float = 0.0) -> bool:
        """Be disconnected for good; tell whether everything was sent before. Blocks up to `flush_s`."""
        line, self._closed = self.line, True
        sent = line is not None and line.flush(flush_s)
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        for one in [line, *self._former]:
            if one is not None:
                one.close()
                one.kill_answers()
        self._there.set()  # nobody is waited for any more
        return sent

    def _watch(self, line: Calls, wire: Wire) -> None:
        """Make an end of a keeper that is there, and does nothing."""
        silences = 0
        while silences < MAX_SILENCES:
            gevent.sleep(PING_S)
            try:
                line.call("ping", timeout_s=PING_S)
                silences = 0
            except NoAnswer:
                silences += 1
            except CallLost:  # it is gone, or of a version without this question
                silences = 0
        self._log.warning("the keeper does not answer any more, and is replaced")
        with suppress(OSError):
            keeper_lock.end(self._run_dir, wire.peer)
        line.close("no answer")

    def _keep_connected(self, path: str) -> None:
        told = False
        while True:
            try:
                wire = doors.connect(path)
                told = False
                self._log.info("connected to the keeper")
                over = self._stepped_back = Event()
                serving = gevent.spawn(self.serve, wire)
                serving.link(lambda _, over=over: over.set())  # type: ignore[misc]
                over.wait()
                if serving.ready():
                    self._log.warning("the keeper is gone: %s", serving.value)
                else:
                    self._log.info("the keeper retires")
            except WireLost as exc:
                if not told:
                    self._log.debug("no keeper yet: %s", exc)
                    told = True
            gevent.sleep(RETRY_S)
