"""The page over a source of facts that a test moves, served in this process; not a test."""

from __future__ import annotations

from time import time

from flask import Flask
from gevent.pywsgi import WSGIServer

from rtmpsrv.web import live_events, page, v3
from rtmpsrv.web.poller import Poller
from rtmpsrv.web.verdict import Verdicts
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import NOW
from tests.server_process import free_port


class PageStage:
    """The site on a free port. Use as a context. `away` and `back`: the server goes and comes."""

    def __init__(self, source: FakeSource, layout: str = "channel-key") -> None:
        move_to_now(source)
        self.source = source
        verdicts = Verdicts()
        self.poller = Poller(source, verdicts, layout)
        self.port = free_port()
        self._app = Flask("site", static_folder=None)
        self._app.register_blueprint(page.blueprint())
        self._app.register_blueprint(live_events.blueprint(self.poller))
        self._app.register_blueprint(v3.blueprint(source, verdicts))
        self.back()

    def __enter__(self) -> PageStage:
        return self

    def __exit__(self, *_: object) -> None:
        self.away()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def back(self) -> None:
        """Listen."""
        self._server = WSGIServer(("127.0.0.1", self.port), self._app, log=None)
        self._server.start()

    def away(self) -> None:
        """End all connections, and listen no more."""
        self.poller.close()
        self._server.stop(timeout=0.1)  # browsers keep connections


def move_to_now(source: FakeSource) -> None:
    """Move all moments of a source, so that what was now in it is now."""
    later = time() - NOW
    for channel in source.values_of_channels:
        if channel["started_at"] is not None:
            channel["started_at"] += later
        if channel["waits_until_at"] is not None:
            channel["waits_until_at"] += later
    for connection in source.values_of_connections:
        connection["created_at"] += later
    for event in source.values_of_events:
        event["at"] += later
    for process in source.values_of_processes:
        process["started_at"] += later
