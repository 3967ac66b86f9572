"""A worker's connection to the keeper, whichever is there now.

When it dies the worker goes on, and waits for the next one. The parts of a worker that deal with the keeper
put in what they are told and asked, and what the keeper must know from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event

from rtmpsrv.log import Logger
from rtmpsrv.workers import doors
from rtmpsrv.workers.calls import Calls, Handler
from rtmpsrv.workers.wire import Wire, WireLost

RETRY_S: Final = 0.1  # between two attempts to connect: the socket is in a folder of this machine


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
        self._stepped_back = Event()
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._closed = False

    def start(self, path: str) -> None:
        """Keep connected to whoever listens there."""
        self._greenlet = gevent.spawn(self._keep_connected, path)

    def serve(self, wire: Wire) -> str:
        """Be connected to a keeper over this wire until it is lost; return why it was. Blocks."""
        line = Calls(wire, self._log, self.tells, self.calls)
        # Without a switch of greenlets: what happens from now on is told after this.
        line.tell("hello", self.name, {topic: say() for topic, say in self.says.items()})
        self.line = line
        self._there.set()
        try:
            return line.serve()
        finally:
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

    def tell(self, name: str, *arguments: object) -> None:
        """Tell the keeper; when there is none the next one learns it from what is said at the beginning."""
        if self.line is not None:
            self.line.tell(name, *arguments)

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

    def _keep_connected(self, path: str) -> None:
        told = False
        while True:
            try:
                wire = doors.connect(path)
                told = False
                self._log.info("connected to the keeper")
                self._stepped_back.clear()
                serving = gevent.spawn(self.serve, wire)
                serving.link(lambda _: self._stepped_back.set())
                self._stepped_back.wait()
                if serving.ready():
                    self._log.warning("the keeper is gone: %s", serving.value)
                else:
                    self._log.info("the keeper retires")
            except WireLost as exc:
                if not told:
                    self._log.debug("no keeper yet: %s", exc)
                    told = True
            gevent.sleep(RETRY_S)
