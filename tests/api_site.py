"""The API on a port of its own or on none, over a source that a test gives."""

from __future__ import annotations

from typing import Any

from flask import Flask
from gevent.pywsgi import WSGIServer
from werkzeug.exceptions import HTTPException

from rtmpsrv.web import v3
from rtmpsrv.web.answers import refusal
from rtmpsrv.web.source import Source
from tests.doubles.verdicts import Opinions


def site_of(source: Source) -> Flask:
    """Return the routes of the API alone: who asks is not asked who it is."""
    site = Flask("test", static_folder=None)
    site.url_map.merge_slashes = False
    site.register_blueprint(v3.blueprint(source, Opinions(), lambda: 0.0))

    @site.errorhandler(HTTPException)
    def refused(exc: HTTPException) -> Any:
        response = refusal(exc.code or 500, exc.name)
        if allowed := dict(exc.get_headers()).get("Allow"):
            response.headers["Allow"] = allowed
        return response

    return site


class Served:
    """The API on a port. Use as a context."""

    def __init__(self, site: Flask) -> None:
        self._server = WSGIServer(("127.0.0.1", 0), site, log=None)

    def __enter__(self) -> Served:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(timeout=1)

    @property
    def port(self) -> int:
        assert self._server.server_port
        return self._server.server_port
