"""The route of the events: its headers, its limit, and what a page may want to see."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from flask import Flask
from flask.testing import FlaskClient

from rtmpsrv.web import live_events
from rtmpsrv.web.poller import LISTENERS, Poller
from rtmpsrv.web.verdict import Verdicts
from tests.doubles.monitor_source import FakeSource


@pytest.fixture
def poller() -> Iterator[Poller]:
    made = Poller(FakeSource(), Verdicts(), "channel-key")
    yield made
    made.close()


@pytest.fixture
def client(poller: Poller) -> FlaskClient:
    app = Flask("site", static_folder=None)
    app.register_blueprint(live_events.blueprint(poller))
    return app.test_client()


def test_the_stream_is_one_that_no_proxy_holds_back(client: FlaskClient) -> None:
    answer = client.get("/events", buffered=False)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in answer.headers
    with gevent.Timeout(5):
        stream = answer.iter_encoded()
        assert next(stream) == b"retry: 1000\n\n"
        assert b"event: picture\n" in next(stream)
    answer.close()


def test_a_page_that_goes_is_no_listener_any_more_even_before_it_was_told_anything(
    client: FlaskClient, poller: Poller
) -> None:
    answer = client.get("/events", buffered=False)
    assert poller.listening == 1
    answer.close()
    assert poller.listening == 0


def test_one_page_too_many_is_told_so_and_one_that_asks_why_too(client: FlaskClient, poller: Poller) -> None:
    for _ in range(LISTENERS):
        poller.join()
    for answer in (client.get("/events"), client.head("/events")):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "10"
    assert client.get("/events").get_json() == {"status": "error", "error": "too many pages are open"}


def test_who_only_asks_whether_the_stream_is_there_is_no_listener(
    client: FlaskClient, poller: Poller
) -> None:
    answer = client.head("/events")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert poller.listening == 0


def test_a_listener_may_look_at_a_channel(client: FlaskClient, poller: Poller) -> None:
    listener = poller.join()
    assert listener is not None
    answer = client.post("/events/view", json={"listener": listener.name, "channel": "live/good"})
    assert answer.status_code == 200
    assert listener.view.channel == "live/good"


@pytest.mark.parametrize("asked", [[], {"first": "x"}, None])
def test_what_is_no_view_is_refused(client: FlaskClient, asked: object) -> None:
    assert client.post("/events/view", json=asked).status_code == 400


def test_what_is_no_json_is_refused(client: FlaskClient) -> None:
    assert client.post("/events/view", data="channel=live").status_code == 400


def test_what_is_deeper_than_anybody_reads_is_refused(client: FlaskClient) -> None:
    deep = client.post("/events/view", data="[" * 60000, content_type="application/json")
    assert deep.status_code == 400


@pytest.mark.parametrize("listener", ["1-x", 5, None])
def test_a_stranger_may_not_look(client: FlaskClient, listener: object) -> None:
    answer = client.post("/events/view", json={"listener": listener, "channel": "live/good"})
    assert answer.status_code == 404
