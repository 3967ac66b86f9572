"""What signals do to a single process: three end it, one reloads it, one replaces it; no other harms it."""

from __future__ import annotations

import logging
import signal
from typing import Any, Protocol

import gevent

from . import log
from .config import Config
from .errors import ConfigError
from .service import Service
from .workers import parent

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# They would end the process, or halt it; who sends one does not mean that. Those of a crash are not here, nor
# that of Ctrl-Z.
IGNORED = (
    signal.SIGUSR1, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO,
    signal.SIGPWR, signal.SIGTTIN, signal.SIGTTOU, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)  # fmt: skip


class Led(Protocol):
    """What signals lead: an application."""

    @property
    def handed_over(self) -> bool:
        """Whether another process serves now."""

    def stop(self) -> None:
        """Begin to end. Never blocks."""

    def reload(self, config: Config | None = None) -> None:
        """Look at all files now, and take over what may change of new settings. Never blocks."""

    def hand_over(self) -> None:
        """Start a process that succeeds this one. Blocks for the fork."""


class Signals:
    """Acts on them, each in a greenlet."""

    def __init__(self, app: Led, service: Service, *, stays: bool = False) -> None:
        """A process that `stays` passes them on when another one serves."""
        self._app = app
        self._service = service
        self._stays = stays
        self._ignoring: dict[int, Any] = {}  # watchers of signals that do nothing

    def handle(self) -> None:
        """Act on signals from now on. Never blocks."""
        for number in STOPS:
            gevent.signal_handler(number, self.stop, number)
        gevent.signal_handler(signal.SIGHUP, self.reload)
        gevent.signal_handler(signal.SIGUSR2, self.hand_over)
        for number in IGNORED:
            self._ignoring[number] = gevent.signal_handler(number, self.ignore, number)

    def stop(self, number: int) -> None:
        """End the server; this process ends too where it stays for another one."""
        self._serves(number)
        self._service.stopping()
        self._app.stop()

    def reload(self) -> None:
        """Read settings and files again; settings that are wrong change nothing."""
        if not self._serves(signal.SIGHUP):
            return
        self._service.reloading()
        try:
            config, warnings = Config.start(again=True)
        except ConfigError as exc:
            log.tell(logging.WARNING, exc.warnings)
            log.tell(logging.ERROR, [*exc.problems, "the settings stay as they were"])
            self._app.reload()
        else:
            log.tell(logging.WARNING, warnings)
            self._app.reload(config)
        self._service.reloaded()

    def hand_over(self) -> None:
        """Let another process take this one's place. Blocks for the fork."""
        if self._serves(signal.SIGUSR2):
            self._app.hand_over()

    def ignore(self, number: int) -> None:
        """Say that nothing is done."""
        named = number in list(signal.Signals)
        name = signal.Signals(number).name if named else f"signal {number}"
        log.get().info("%s is ignored", name)
        if number in (signal.SIGTTIN, signal.SIGTTOU):
            # The line itself may have been what the terminal objects to, and would again.
            self._ignoring[number].cancel()
            signal.signal(number, signal.SIG_IGN)

    def _serves(self, number: int) -> bool:
        """Tell whether this process serves; pass the signal on where another one does."""
        if not (self._stays and self._app.handed_over):
            return True
        parent.pass_on(number)
        return False
