"""The web process from its start to its end, on the hub of the test."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.config import Config, texts_of
from rtmpsrv.server.binding import bind
from rtmpsrv.web import life
from rtmpsrv.web.life import Life
from rtmpsrv.workers.calls import Calls
from tests.unit.workers.lines import eventually, wires

PATIENCE_S = 20.0


class Parent:
    """The process that has started it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str] | None, idle_s: float
    ) -> None:
        monkeypatch.setattr(log, "setup", lambda config=None: None)
        monkeypatch.setattr(log, "name_process", lambda name: None)
        self.said: list[str] = []
        near, far = wires()
        calls: dict[str, Any] = {"ask": lambda what, arguments, timeout_s: {"": None}}
        if settings is not None:
            calls["settings"] = lambda: settings
        self.line = Calls(near, log.get("TEST"), {"ends": lambda: self.said.append("ends")}, calls)
        self.sock = bind("127.0.0.1", 0)
        self.port = self.sock.getsockname()[1]
        self.life = Life(self.sock, far, idle_s)
        self.greenlets: list[gevent.Greenlet[..., Any]] = [
            gevent.spawn(self.line.serve),
            gevent.spawn(self.life.run),
        ]

    @property
    def is_over(self) -> bool:
        return bool(self.greenlets[1].dead)

    def status(self, path: str = "/v3/info") -> int:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            client.request("GET", path)
            return client.getresponse().status
        finally:
            client.close()

    def close(self) -> None:
        self.line.close()
        gevent.joinall(self.greenlets, PATIENCE_S, raise_error=True)
        self.sock.close()


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    made = Parent(monkeypatch, texts_of(Config(api_port=1)), 60.0)
    yield made
    made.close()


def test_it_serves_until_it_is_told_to_stop(parent: Parent) -> None:
    assert parent.status() == 503, "the process that has the facts says nothing"
    parent.line.call("ping", timeout_s=PATIENCE_S)
    parent.line.tell("reload")
    parent.line.tell("stop")
    eventually(lambda: parent.is_over and parent.said)  # which its parent reads after that, perhaps
    assert parent.said == ["ends"]


def test_it_ends_with_the_process_that_has_started_it(parent: Parent) -> None:
    parent.status()
    parent.line.close()
    eventually(lambda: parent.is_over)


def test_it_leaves_who_comes_later_to_others(parent: Parent) -> None:
    parent.status()
    parent.line.call("leave", timeout_s=PATIENCE_S)
    eventually(lambda: parent.is_over)


def test_one_that_is_to_leave_before_it_serves_serves_nobody(parent: Parent) -> None:
    parent.line.call("leave", timeout_s=PATIENCE_S)
    eventually(lambda: parent.is_over)


def test_it_ends_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "LOOK_EVERY_S", 0.001)
    parent = Parent(monkeypatch, texts_of(Config()), 60.0)
    parent.status()
    parent.life._idle_s = 0.001
    eventually(lambda: parent.is_over and parent.said)  # which its parent reads after that, perhaps
    assert parent.said == ["ends"]
    parent.close()


def test_it_ends_where_it_is_not_told_how_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent(monkeypatch, None, 60.0)
    eventually(lambda: parent.is_over)
    assert parent.said == []
    parent.close()
