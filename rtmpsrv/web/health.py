"""`/healthz` and `/readyz`: for supervisors and load balancers, a line each, or JSON for who accepts that.

Healthy is a server of which a process that serves answers: one that is not is started again. Ready is one
that may be sent new clients: all its processes answer, and none drains, hands over, or lacks what it needs.
One that has handed over, and stays for clients that cannot move, does not count.
"""

from __future__ import annotations

import flask

from rtmpsrv.monitor.values import ProcessValue

from .counting import KEEPER, those_that_count
from .source import Gathered, Source

MAX_REASONS = 20  # that are told


def blueprint(source: Source) -> flask.Blueprint:
    """Make both routes. Each blocks until all processes have answered, as long as they may take."""
    routes = flask.Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> flask.Response:
        return _answer("ok", not_healthy(source.processes()))

    @routes.get("/readyz")
    def readyz() -> flask.Response:
        return _answer("ready", not_ready(source.processes()))

    return routes


def not_healthy(gathered: Gathered[ProcessValue]) -> list[str]:
    """Say why the server is to be started again; nothing if it is not."""
    if any(value["worker"] != KEEPER for value in gathered.values):
        return []
    return ["no process that serves answers"]


def not_ready(gathered: Gathered[ProcessValue]) -> list[str]:
    """Say why the server is to be sent no new clients; nothing if it may be."""
    reasons = not_healthy(gathered)
    reasons += [f"{_named(name)} does not answer" for name in gathered.missing]
    for value in those_that_count(gathered.values):
        said = value["not_ready"] or ([] if value["ready"] else ["not ready"])
        reasons += [f"{_named(value['worker'])}: {reason}" if value["worker"] else reason for reason in said]
    return reasons


def _named(worker: str) -> str:
    return {"": "the server", KEEPER: "the keeper"}.get(worker, f"worker {worker}")


def _answer(good: str, reasons: list[str]) -> flask.Response:
    status = f"not {good}" if reasons else good
    told = reasons[:MAX_REASONS]
    accepted = flask.request.accept_mimetypes
    if accepted.best_match(["text/plain", "application/json"]) == "application/json":
        response = flask.jsonify({"status": status, "reasons": told})
    else:
        line = f"{status}: {'; '.join(told)}" if told else status
        response = flask.Response(line + "\n", mimetype="text/plain")
    response.status_code = 503 if reasons else 200
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Accept")
    return response
