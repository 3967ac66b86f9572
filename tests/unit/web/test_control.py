"""`/control`: who is meant, what is answered, and from where it may come."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from rtmpsrv.web import control
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import connection, id_of, on_air, process

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}


def house() -> FakeSource:
    connections = [
        connection("encoder x", "publish", "a/x", number=1, remote_ip="192.0.2.1"),
        connection("viewer x", "read", "a/x", number=2, remote_ip="192.0.2.2"),
        connection("encoder y", "publish", "b/y", number=3, remote_ip="192.0.2.1"),
        connection("viewer y", "read", "b/y", number=4, remote_ip="192.0.2.3"),
        connection("idle", number=5, remote_ip="192.0.2.1"),
    ]
    return FakeSource([], connections, [])


def client_of(source: FakeSource, url_layout: str = "app-stream") -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(control.blueprint(source, url_layout))
    return app.test_client()


@pytest.mark.parametrize(
    ("question", "dropped"),
    [
        ("publisher?app=a&name=x", ["encoder x"]),
        ("publisher?srv=0&app=a&name=x", ["encoder x"]),
        ("subscriber?app=a&name=x", ["viewer x"]),
        ("client?app=a&name=x", ["encoder x", "viewer x"]),
        ("client?app=a", ["encoder x", "viewer x"]),
        ("client?addr=192.0.2.1", ["encoder x", "encoder y"]),
        ("publisher?name=y&addr=192.0.2.9", []),
        ("client?clientid=4", ["viewer y"]),
        ("client?clientid=5", []),  # neither publishes nor plays: nginx-rtmp does not see it either
        ("publisher?clientid=4", []),
        ("publisher", ["encoder x", "encoder y"]),
        ("client?app=a&name=", []),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_those_that_fit_are_dropped_and_counted(question: str, dropped: list[str], method: str) -> None:
    source = house()
    answer = client_of(source).open(f"/control/drop/{question}", method=method)
    assert (answer.status_code, answer.text, answer.mimetype) == (200, str(len(dropped)), "text/plain")
    assert source.done == [("kick", id_of(what), 0.0, "dropped through /control") for what in dropped]


def test_with_channel_and_key_the_application_is_live() -> None:
    source = house()
    assert client_of(source, "channel-key").get("/control/drop/client?app=live&name=a/x").text == "2"


def test_a_form_says_it_as_well() -> None:
    source = house()
    assert client_of(source).post("/control/drop/client", data={"app": "a", "name": "x"}).text == "2"


def test_who_left_meanwhile_is_not_counted() -> None:
    source = house()
    gone = source.values_of_connections[0]
    source.kick = lambda *_: source._did(False)  # type: ignore[method-assign]
    assert gone["state"] == "publish"
    assert client_of(source).get("/control/drop/publisher?app=a").text == "0"


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ("drop/viewer", 400),
        ("drop/client?srv=1", 400),
        ("record/begin?app=a&name=x", 400),
        ("record/start?app=a", 400),
        ("record/start/x", 404),
        ("redirect/publisher?app=a&name=x&newname=z", 404),
        ("drop", 404),
        ("drop/client/x", 404),
    ],
)
def test_what_is_not_here_is_said(question: str, status: int) -> None:
    source = house()
    answer = client_of(source).get(f"/control/{question}")
    assert answer.status_code == status
    assert answer.text.endswith(".\n")
    assert source.done == []


def test_a_number_that_clients_of_two_workers_have_drops_neither() -> None:
    two = [connection(f"viewer {name}", "read", "a/x", worker=name, number=7) for name in ("w1", "w2")]
    two[1]["channel"] = "b/y"
    source = FakeSource([], two, [], [process("w1"), process("w2")])
    client = client_of(source)
    assert client.get("/control/drop/client?clientid=7").status_code == 409
    assert source.done == []
    assert client.get("/control/drop/client?clientid=7&app=b").text == "1"
    assert [what for _, what, _, _ in source.done] == [id_of("viewer w2")]


def test_nobody_who_answers_is_an_error() -> None:
    source = house()
    source.missing = [""]
    assert client_of(source).get("/control/drop/client").status_code == 503


def test_head_drops_nobody() -> None:
    source = house()
    answer = client_of(source).head("/control/drop/client")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
    assert source.done == []


@pytest.mark.parametrize(
    "headers",
    [
        {**BROWSER},  # over plain HTTP to another machine: an image
        {**BROWSER, "Sec-Fetch-Site": "cross-site"},
        {**BROWSER, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_drops_nobody(headers: dict[str, str]) -> None:
    source = house()
    answer = client_of(source).get("/control/drop/client", headers=headers)
    assert answer.status_code == 403
    assert source.done == []


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_page_and_the_address_bar_may(site: str) -> None:
    headers = {**BROWSER, "Sec-Fetch-Site": site}
    assert client_of(house()).get("/control/drop/client?app=a", headers=headers).text == "2"


def test_a_post_of_another_site_is_refused_where_the_browser_says_so() -> None:
    headers = {**BROWSER, "Sec-Fetch-Site": "cross-site"}
    assert client_of(house()).post("/control/drop/client", headers=headers).status_code == 403
    assert client_of(house()).post("/control/drop/client?app=a", headers=BROWSER).text == "2"


# --- recordings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url_layout", "question", "channel"),
    [("app-stream", "app=a&name=x&rec=r", "a/x"), ("channel-key", "app=live&name=x", "x")],
)
def test_recordings_are_started_and_stopped_and_the_file_is_told(
    url_layout: str, question: str, channel: str
) -> None:
    source = FakeSource([on_air(channel)], [], [])
    client = client_of(source, url_layout)
    assert client.get(f"/control/record/start?{question}").text == f"{channel}/now.mp4"
    assert client.post(f"/control/record/stop?{question}").text == f"{channel}/now.mp4"
    assert source.done == [("record", channel, None, ""), ("record no more", channel, None, "")]
    assert client.get(f"/control/record/stop?{question}").status_code == 204
    assert client.head(f"/control/record/start?{question}").status_code == 405


def test_no_page_of_others_starts_a_recording() -> None:
    source = FakeSource([on_air("a/x")], [], [])
    client = client_of(source)
    assert client.get("/control/record/start?app=a&name=x", headers=BROWSER).status_code == 403
    source.missing = [""]
    assert client.get("/control/record/start?app=a&name=x").status_code == 503
    assert len(source.done) == 1
