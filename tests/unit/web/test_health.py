"""What supervisors and load balancers are told."""

from __future__ import annotations

import flask
import pytest
from flask.testing import FlaskClient

from rtmpsrv.monitor.values import ProcessValue
from rtmpsrv.web import health
from rtmpsrv.web.source import Gathered
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import process


class Processes(FakeSource):
    """A source that knows processes only, as a test sets them."""

    gathered: Gathered[ProcessValue] = Gathered([])

    def processes(self) -> Gathered[ProcessValue]:
        """Return what the test has set."""
        return self.gathered


def site(*values: ProcessValue, missing: tuple[str, ...] = ()) -> FlaskClient:
    source = Processes()
    source.gathered = Gathered(list(values), list(missing), [value["worker"] for value in values])
    app = flask.Flask(__name__)
    app.register_blueprint(health.blueprint(source))
    return app.test_client()


def told(client: FlaskClient, path: str) -> tuple[int, str]:
    response = client.get(path)
    assert response.mimetype == "text/plain"
    assert response.headers["Cache-Control"] == "no-store"
    return response.status_code, response.text


def one(worker: str = "", *not_ready: str) -> ProcessValue:
    return process(worker=worker, ready=not not_ready, not_ready=list(not_ready))


def test_a_server_that_answers_is_healthy_and_ready() -> None:
    assert told(site(one()), "/healthz") == (200, "ok\n")
    assert told(site(one()), "/readyz") == (200, "ready\n")


def test_a_server_that_does_not_answer_is_neither() -> None:
    silent = site(missing=("",))
    assert told(silent, "/healthz") == (503, "not ok: no process that serves answers\n")
    assert told(silent, "/readyz")[0] == 503
    assert told(silent, "/readyz")[1].endswith("; the server does not answer\n")


def test_the_keeper_alone_is_no_server() -> None:
    assert told(site(one("keeper"), missing=("w1",)), "/healthz")[0] == 503
    assert told(site(one("keeper"), one("w1")), "/healthz")[0] == 200


def test_a_server_that_drains_is_healthy_and_not_ready() -> None:
    draining = site(one("", "it drains", "no control link"))
    assert told(draining, "/healthz") == (200, "ok\n")
    assert told(draining, "/readyz") == (503, "not ready: it drains; no control link\n")


def test_all_workers_have_to_be_ready() -> None:
    crew = site(one("keeper"), one("w1"), one("w2", "it drains"), missing=("w3",))
    assert told(crew, "/healthz") == (200, "ok\n")
    assert told(crew, "/readyz") == (503, "not ready: worker w3 does not answer; worker w2: it drains\n")


def test_a_worker_that_others_serve_in_place_of_does_not_count() -> None:
    left = process(worker="w1", ready=False, not_ready=["it hands over to another process"], succeeded=True)
    crew = site(one("keeper"), left, one("w2"), one("w3"))
    assert told(crew, "/readyz") == (200, "ready\n")
    crew = site(one("keeper"), left, one("w2"), one("w3", "it takes over from another process"))
    assert told(crew, "/readyz") == (503, "not ready: worker w3: it takes over from another process\n")


def test_a_worker_in_the_middle_of_a_handover_counts() -> None:
    crew = site(one("keeper"), one("w1", "it hands over to another process"), one("w2"))
    assert told(crew, "/readyz") == (503, "not ready: worker w1: it hands over to another process\n")


def test_the_keeper_is_called_so() -> None:
    lost = site(one("keeper", "no control link"), one("w1"))
    assert told(lost, "/readyz") == (503, "not ready: the keeper: no control link\n")


def test_a_process_that_does_not_say_why_is_not_ready_all_the_same() -> None:
    vague = process(ready=False, not_ready=[])
    assert told(site(vague), "/readyz") == (503, "not ready: not ready\n")


def test_only_so_many_reasons_are_told() -> None:
    lame = site(*(one(f"w{number}", "it drains") for number in range(200)))
    assert told(lame, "/readyz")[1].count("it drains") == health.MAX_REASONS


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/plain;q=0.5"])
def test_who_accepts_json_gets_it(accept: str) -> None:
    response = site(one("", "it drains")).get("/readyz", headers={"Accept": accept})
    assert (response.status_code, response.mimetype) == (503, "application/json")
    assert response.json == {"status": "not ready", "reasons": ["it drains"]}
    assert "Accept" in response.headers["Vary"]


@pytest.mark.parametrize("accept", ["*/*", "text/html", "text/plain, application/json", ""])
def test_everybody_else_gets_a_line(accept: str) -> None:
    response = site(one()).get("/healthz", headers={"Accept": accept})
    assert (response.status_code, response.mimetype, response.text) == (200, "text/plain", "ok\n")


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 503)])
def test_head_has_the_status_and_no_body(path: str, status: int) -> None:
    response = site(one("", "it drains")).head(path)
    assert (response.status_code, response.data) == (status, b"")


def test_other_methods_are_refused() -> None:
    assert site(one()).post("/healthz").status_code == 405
