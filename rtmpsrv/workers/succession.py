"""Succession as the application sees it: begin one on a signal, one at a time, and give it up at the end."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from ..log import Logger
from . import child
from .estate import Estate
from .handing import STEP_S
from .predecessor import Heir, Predecessor
from .wire import Wire


class Succession:
    """The successions of this process: any number that fail, one that succeeds."""

    def __init__(
        self, estate: Estate, log: Logger, *, start_s: float, linger_s: float, over: Callable[[], None]
    ) -> None:
        """Prepare; `over` is called when a successor serves and nothing is left here. Never blocks."""
        self._estate = estate
        self._log = log
        self._start_s = start_s
        self._linger_s = linger_s
        self._over = over
        self._predecessor: Predecessor | None = None
        self._starting = False  # a process, for which others run meanwhile: signals, too
        self._greenlet: gevent.Greenlet[[Predecessor], None] | None = None

    def begin(self) -> None:
        """Start a successor and hand over to it, in a greenlet of its own. Blocks for the fork only."""
        if self.begun:
            what = "has a successor already" if self.succeeded else "is handing over already"
            self._log.info("succession: this process %s", what)
            return
        self._starting = True
        try:
            heir, wire = child.start()
        except OSError as exc:
            self._log.error("succession failed: no process could be started: %s", exc.strerror or exc)
            return
        finally:
            self._starting = False
        self._log.info("succession: process %d was started", heir.pid)
        self._predecessor = Predecessor(
            self._estate, heir, wire, self._log, start_s=self._start_s, linger_s=self._linger_s
        )
        self._greenlet = gevent.spawn(self._run, self._predecessor)

    @property
    def succeeded(self) -> bool:
        """Whether another process serves now."""
        return self._predecessor is not None and self._predecessor.serving

    @property
    def begun(self) -> bool:
        """Whether this process is handing over, or has."""
        return self._starting or self._predecessor is not None

    def give(self, heir: Heir, wire: Wire) -> bool:
        """Hand over to a process that is there already; False when this one goes on. Blocks to the end."""
        if self.begun:
            wire.close()
            return False
        predecessor = self._predecessor = Predecessor(
            self._estate, heir, wire, self._log, start_s=self._start_s, linger_s=self._linger_s
        )
        self._greenlet = gevent.spawn(self._run, predecessor)
        self._greenlet.join()
        return predecessor.serving

    def cancel(self) -> None:
        """Give up what is not done yet, because this process ends; those before it end too, if it serves.

        Blocks for a few seconds at most.
        """
        predecessor = self._predecessor
        if self.succeeded:
            return
        if predecessor is not None and self._greenlet is not None:
            predecessor.cancel("this process is to end")
            self._greenlet.join(3 * STEP_S)
        for elder in self._estate.elders:
            elder.ask_to_end()

    def _run(self, predecessor: Predecessor) -> None:
        if predecessor.run():
            self._over()
        else:
            self._predecessor = None
