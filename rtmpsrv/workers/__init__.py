"""Several processes that serve as one: succession, mirrors, the keeper, workers.

`gunicorn -k rtmpsrv.workers.Worker rtmpsrv.workers:app` finds its names here, which load gunicorn when
asked for.
"""

from __future__ import annotations

from typing import Any


def app(environ: dict[str, Any], start_response: object) -> list[bytes]:
    """Stand in for the WSGI program that gunicorn wants to be named. Nobody calls it."""
    raise RuntimeError("this is a server for RTMP")


def __getattr__(name: str) -> Any:
    if name != "Worker":
        raise AttributeError(name)
    from .worker import Worker

    return Worker
