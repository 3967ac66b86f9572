"""The process that serves API, metrics and page, as the one that has started it sees it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv.log import Logger
from rtmpsrv.monitor.spawning import Spawned, spawn
from rtmpsrv.workers.calls import CallLost, Calls, NoAnswer
from rtmpsrv.workers.wire import Wire

COMMAND: Final = ("-m", "rtmpsrv.web")
START_S: Final = 60.0  # until it asks for its settings: it loads much, perhaps on a machine with much to do
PING_S: Final = 2.0
MAX_SILENCES: Final = 3  # pings one after the other, each for as long without an answer
REAP_S: Final = 2.0  # between the end of a process's sockets and its own
MAX_WAITING_BYTES: Final = 64 << 20  # answers that it has not read; then it is given up
# They would end it before it can say what to do at them; it takes them when it is ready.
BLOCKED: Final = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
# Of the environment: not for it. Settings come over the line, where nobody else reads.
_OURS: Final = ("RTMPSRV_", "NOTIFY_SOCKET", "LISTEN_")

# What is asked, its arguments, and for how long; by process the packed answer, None where it did not answer.
Ask = Callable[[str, tuple[Any, ...], float], dict[str, bytes | None]]


class WebProcess:
    """One of them. Made by starting it."""

    def __init__(self, listening: int, settings: Mapping[str, str], ask: Ask, log: Logger) -> None:
        """Start it, to accept from a socket that listens. Raises OSError. Blocks for a millisecond."""
        self._log = log
        self._orderly = False
        self._has_begun = Event()
        ours, theirs = gsocket.socketpair(gsocket.AF_UNIX)
        try:
            environ = {
                name: value
                for name, value in os.environ.items()
                if name not in settings and not name.startswith(_OURS)
            }
            self._process: Spawned = spawn(COMMAND, (listening, theirs.fileno()), environ, BLOCKED)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._calls = Calls(
            Wire(ours, max_waiting_bytes=MAX_WAITING_BYTES),
            log,
            tells={"ends": self._note_that_it_ends},
            calls={"settings": lambda: self._begin(settings), "ask": ask},
        )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def serve(self) -> bool:
        """Answer it until it is gone; tell whether it had said that it ends. Blocks."""
        watching = gevent.spawn(self._watch)
        try:
            self._calls.serve()
        finally:
            watching.kill(block=False)
            self._calls.kill_answers()
        if not self._process.reap(REAP_S):
            self._process.kill()
            self._process.reap(REAP_S)
        return self._orderly

    def leave(self, timeout_s: float) -> None:
        """Let it accept nobody more, answer what it was asked, and end. Blocks until it has answered."""
        self._orderly = True
        with suppress(CallLost):
            self._calls.call("leave", timeout_s=timeout_s)

    def stop(self) -> None:
        """Let it finish what was asked of it, and end. Never blocks."""
        self._orderly = True
        self._calls.tell("stop")

    def reload(self) -> None:
        """Let it look at its files. Never blocks."""
        self._calls.tell("reload")

    def kill(self) -> None:
        """End it, whatever it does. Never blocks."""
        self._process.kill()
        self._calls.close("killed")

    def _begin(self, settings: Mapping[str, str]) -> dict[str, str]:
        self._has_begun.set()
        return dict(settings)

    def _note_that_it_ends(self) -> None:
        self._orderly = True

    def _watch(self) -> None:
        """Make an end of one that is there, and does nothing; the top of a greenlet."""
        silences = 0 if self._has_begun.wait(START_S) else MAX_SILENCES
        while silences < MAX_SILENCES:
            if not silences:
                gevent.sleep(PING_S)
            try:
                self._calls.call("ping", timeout_s=PING_S)
                silences = 0
            except NoAnswer:
                silences += 1
            except CallLost:
                return
        self._log.warning("the web process does not answer any more, and is killed")
        self.kill()
