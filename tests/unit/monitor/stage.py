"""A whole server in this process that is asked over its monitor, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rtmpsrv import log
from rtmpsrv.app import App
from rtmpsrv.config import Config
from rtmpsrv.hls.peer import HlsPeer, admit
from rtmpsrv.monitor.packing import unpack
from rtmpsrv.server.host import Client
from rtmpsrv.server.session import Session
from tests.client import Stage as Clients
from tests.unit.leading import spare_this_process

QUICKLY: dict[str, Any] = {
    "bind_address": "127.0.0.1", "rtmp_port": 0, "drain_timeout_seconds": 1, "api_port": 0,
    "http_port": 0,
}  # fmt: skip


class Stage:
    """The server, and what it answers."""

    def __init__(self, **settings: Any) -> None:
        self.app = App(Config(**QUICKLY | settings))
        self.app.start()
        self.clients = Clients(self.app.listeners[0].port)

    def ask(self, what: str, *arguments: Any) -> Any:
        return unpack(self.app.monitor.answer(what, arguments))

    def connection(self, state: str) -> Any:
        """Return the one connection that is in a state."""
        (found,) = [one for one in self.ask("connections") if one["state"] == state]
        return found

    def session(self, connection_id: str) -> Session:
        (found,) = [one for one in self.app.listeners[0].sessions if one.client.id == connection_id]
        assert isinstance(found, Session)
        return found

    def events(self) -> list[str]:
        return [event["what"] for event in self.ask("events", {})["events"]]

    def close(self) -> None:
        self.clients.close()
        self.app.stop(0.0)
        self.app.run()


def by_hls(on: Stage, query: str) -> tuple[HlsPeer, Any]:
    """Let a viewer by HLS watch, as its handler does."""
    ended: list[bool] = []
    peer = HlsPeer(
        Client(1, "192.0.2.9", 8080, True), next(on.app._parts.numbers), log.get("HLS"),
        lambda: ended.append(True),
    )  # fmt: skip
    return peer, admit(on.app.relay.watching, on.app._parts.slots, peer, "news", query, on.app._parts.tally)


@contextmanager
def stage(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[Stage]:
    spare_this_process(monkeypatch)
    made = Stage(**settings)
    try:
        yield made
    finally:
        made.close()
