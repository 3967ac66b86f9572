"""What the tests of one process's life share: signals that a test gives, and what was logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import pytest

from rtmpsrv import app


class Watcher:
    """What gevent returns for a signal."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class GivenSignals:
    """Takes the place of gevent's handlers: a test says when a signal comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handlers: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.watchers: dict[int, Watcher] = {}
        monkeypatch.setattr(gevent, "signal_handler", self._handle)

    def come(self, number: int) -> None:
        handler, arguments = self.handlers[number]
        handler(*arguments)

    def _handle(self, number: int, handler: Callable[..., Any], *arguments: Any) -> Watcher:
        self.handlers[number] = handler, arguments
        self.watchers[number] = Watcher()
        return self.watchers[number]


class Logged:
    """Lines of the server's log, whatever a test before has set up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
        caplog.set_level(logging.INFO, "rtmpsrv")
        self._caplog = caplog

    def lines(self, level: int) -> Sequence[str]:
        return [record.getMessage() for record in self._caplog.records if record.levelno == level]


def spare_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an application that starts change nothing that holds for the whole process."""
    monkeypatch.setattr(app, "raise_descriptor_limit", lambda: 1000)
    monkeypatch.setattr(app, "tune_collector", lambda: None)
    monkeypatch.setattr(app, "keep_large_blocks_apart", lambda: None)
