"""Two ends of calls on one hub, over real sockets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.workers.calls import Calls
from rtmpsrv.workers.wire import Wire
from tests.waiting import eventually as eventually

PATIENCE_S = 5.0


def wires() -> tuple[Wire, Wire]:
    one, other = gsocket.socketpair(gsocket.AF_UNIX)
    return Wire(one), Wire(other)


class Ends:
    """Two ends; the second one has handlers. Each is served in a greenlet."""

    def __init__(
        self, tells: Mapping[str, Callable[..., Any]], calls: Mapping[str, Callable[..., Any]]
    ) -> None:
        self.wires = wires()
        self.one = Calls(self.wires[0], log.get("ONE"), {}, {})
        self.other = Calls(self.wires[1], log.get("OTHER"), tells, calls)
        self.served = [gevent.spawn(end.serve) for end in (self.one, self.other)]

    def close(self) -> None:
        for end in (self.one, self.other):
            end.close()
            end.kill_answers()
        gevent.joinall(self.served, PATIENCE_S)
        assert all(greenlet.dead for greenlet in self.served)


class Faults(logging.Handler):
    """Notes what was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
