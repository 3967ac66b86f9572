from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from rtmpsrv.errors import AccessDenied, NoRoom, PeerLost
from rtmpsrv.server.http import routes
from rtmpsrv.server.http.conversation import MAX_TEXT
from rtmpsrv.server.http.places import Places
from rtmpsrv.server.http.reply import Reply
from rtmpsrv.server.http.request import Request
from tests.unit.server.http.stage import HttpStage


@pytest.fixture
def stage() -> Iterator[HttpStage]:
    stage = HttpStage(rule="https://a.example")
    yield stage
    stage.close()


def test_options_tell_what_pages_may_ask(stage: HttpStage) -> None:
    stage.get("/live.flv", "Origin: https://a.example", method="OPTIONS")
    status, headers = stage.head()
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"


def test_all_answers_tell_pages_whether_they_may_read_them(stage: HttpStage) -> None:
    stage.get("/live.flv", "Origin: https://a.example")
    assert stage.head()[1]["Access-Control-Allow-Origin"] == "https://a.example"


@pytest.mark.parametrize("path", ["/live", "/..", "*"])
def test_what_nobody_answers(stage: HttpStage, path: str) -> None:
    stage.get(path)
    assert stage.answer() == (404, "There is nothing here.\n")


def test_who_is_full_says_when_to_come_again(stage: HttpStage) -> None:
    stage.host.denial = NoRoom("", "The channel is full (1)")
    stage.get("/live.flv")
    status, headers = stage.head()
    assert (status, headers["Retry-After"]) == (503, "2")


def test_a_refusal_is_told_as_fields(
    stage: HttpStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    stage.host.denial = AccessDenied("", "No", "A_SETTING")
    stage.session.client.channel = "live"
    stage.get("/live.flv")
    assert stage.head()[0] == 403
    (record,) = [one for one in caplog.records if one.getMessage() == "play refused: No (A_SETTING)"]
    assert record.__dict__["fields"] == {
        "event": "refused", "refused": "play", "address": "192.0.2.1", "channel": "live",
        "reason": "No (A_SETTING)",
    }  # fmt: skip


def test_a_refusal_for_the_limit_of_connections_is_told_without_a_channel_which_is_not_known(
    stage: HttpStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    stage.slots.refusal = "limit of 1"
    stage.get("/live.flv")
    assert stage.head()[0] == 503
    (record,) = [one for one in caplog.records if one.getMessage().startswith("play refused: ")]
    assert record.__dict__["fields"] == {
        "event": "refused", "refused": "play", "address": "192.0.2.1",
        "reason": "There are too many connections: limit of 1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/live.flv?key=SECRET", "flv live"),
        ("/live/SECRET.flv", "nothing that there is"),
        ("/SECRET@/live.flv", "nothing that there is"),
        ("/live.flv&key=SECRET", "page 19 characters"),
        ("/live.flv%3Fkey=SECRET", "page 19 characters"),
        ("/live;key=SECRET.flv", "flv 15 characters"),
        ("/live/live.m3u8?key=SECRET", "hls live live.m3u8"),
        ("/live/ab12-7-1.m4s", "hls live ab12-7-1.m4s"),
        ("/live/ab12-init3.m4s", "hls live ab12-init3.m4s"),
        ("/live/SECRET.m3u8", "hls live 11 characters"),
        ("/static/SECRET", "static"),
    ],
)
def test_of_what_is_asked_for_no_line_holds_a_key(
    stage: HttpStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, told: str
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.DEBUG, "rtmpsrv")
    stage.get(path)
    stage.head()
    assert f"< GET {told}" in [one.getMessage() for one in caplog.records]
    assert "SECRET" not in caplog.text


def test_what_a_viewer_says_of_itself_has_an_end(stage: HttpStage) -> None:
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200))
    stage.get("/live", f"User-Agent: {'x' * 2 * MAX_TEXT}")
    assert stage.answer()[0] == 200
    assert stage.session.client.properties["flashVer"] == "x" * MAX_TEXT
    assert stage.session.client.form == "http"


@pytest.mark.parametrize(
    ("path", "form"), [("/a.mp4", "mp4"), ("/a.jpg", "jpg"), ("/a/live.m3u8", "http"), ("/", "http")]
)
def test_a_connection_is_called_by_what_it_is_sent(stage: HttpStage, path: str, form: str) -> None:
    for kind in (routes.MP4, routes.JPG, routes.HLS, routes.LIST):
        stage.site.add(kind, lambda _request, reply: reply.send(200))
    stage.get(path)
    assert stage.answer()[0] == 200
    assert stage.session.client.form == form


def test_every_answer_is_counted_by_kind_and_status(stage: HttpStage) -> None:
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200))
    stage.get("/live")
    stage.get("/none.jpg")
    stage.get("/a/b/c/d")
    stage.send(b"nonsense\r\n\r\n")
    stage.read_to_end()
    assert stage.told.answers == [("page", 200), ("jpg", 404), ("", 404), ("", 400)]


def test_a_handler_may_find_its_viewer_gone(stage: HttpStage) -> None:
    def handler(_request: Request, _reply: Reply) -> None:
        raise PeerLost("gone")

    stage.site.add(routes.PAGE, handler)
    stage.get("/live")
    assert stage.read_to_end() == b""


def test_a_bug_in_the_middle_of_an_answer_ends_it(stage: HttpStage) -> None:
    def handler(_request: Request, reply: Reply) -> None:
        reply.begin(200, "video/x")
        reply.write(b"abc")
        raise RuntimeError("a bug")

    stage.site.add(routes.MP4, handler)
    stage.get("/live.mp4")
    stage.head()
    assert stage.read_to_end() == b"3\r\nabc\r\n", "it does not look whole"


def asked_of(request: Request) -> str:
    """Return which server was asked, and how, as the viewer wrote it."""
    return f"http{'s' if request.client.secure else ''}://{request.headers['host']}"


def test_each_request_of_a_proxy_is_its_own_clients(stage: HttpStage) -> None:
    stage.site.trusted = ("192.0.2.1",)
    stage.site.places = Places(of_address=1)
    seen: list[Request] = []

    def handler(request: Request, reply: Reply) -> None:
        seen.append(request)
        assert stage.site.places.describe()["addresses"] == 1
        reply.send(200, f"{request.client.ip} {asked_of(request)}".encode())

    stage.site.add(routes.PAGE, handler)
    stage.get("/live", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https")
    assert stage.answer() == (200, "198.51.100.7 https://tv.example")
    stage.get("/live", "X-Forwarded-For: 198.51.100.8", "X-Forwarded-Host: other.example")
    assert stage.answer() == (200, "198.51.100.8 http://other.example")
    stage.get("/live")
    assert stage.answer() == (200, "192.0.2.1 http://tv.example")
    assert stage.site.places.describe()["addresses"] == 0
    assert len(seen) == 3


def test_who_asks_for_much_through_a_proxy_is_told_so(stage: HttpStage) -> None:
    stage.site.trusted = ("192.0.2.1",)
    stage.site.places = Places(of_address=0)
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200))
    stage.get("/live", "X-Forwarded-For: 198.51.100.7")
    status, text = stage.answer()
    assert status == 503
    assert text == "There are too many connections: limit of 0 connections of HTTP from one address.\n"
    assert stage.site.places.describe()["addresses"] == 0


def test_who_is_no_proxy_is_not_believed(stage: HttpStage) -> None:
    stage.site.add(routes.PAGE, lambda request, reply: reply.send(200, asked_of(request).encode()))
    stage.get("/live", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Host: other.example")
    assert stage.answer() == (200, "http://tv.example")
    assert stage.session.client.ip == "192.0.2.1"


def test_a_request_as_handlers_see_it(stage: HttpStage) -> None:
    seen: list[Request] = []

    def handler(request: Request, reply: Reply) -> None:
        seen.append(request)
        reply.send(204)

    stage.site.add(routes.HLS, handler)
    stage.get("/live/index.m3u8?key=a%20b", "X-Y: z")
    assert stage.head()[0] == 204
    (request,) = seen
    assert (request.method, request.route.rest, request.query) == ("GET", "index.m3u8", {"key": "a b"})
    assert request.headers["x-y"] == "z"
    assert not request.is_websocket
    assert request.client is stage.session.client
    assert asked_of(request) == "http://tv.example"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://tv.example", 101), ("https://a.example", 101), ("https://b.example", 403), ("null", 403),
        ("http://[x", 403), ("tv.example", 403), ("http://tv.example/", 403), ("://", 403),
    ],
)  # fmt: skip
def test_which_pages_may_open_a_websocket(stage: HttpStage, origin: str, status: int) -> None:
    stage.get_websocket("/live.flv", f"Origin: {origin}")
    assert stage.head()[0] == status
