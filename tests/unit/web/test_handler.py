"""Requests over one connection, as they should be and as they should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gevent import socket as gsocket

from rtmpsrv.web import handler
from rtmpsrv.web.handler import described
from tests.unit.web.stage import GET, Lines, Stage, answer, everything, hello, status
from tests.waiting import at_next_round


@pytest.fixture
def stage() -> Iterator[Stage]:
    found = Stage()
    yield found
    found.close()


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: localhost", *fields, "", ""]).encode("latin-1") + body


def test_one_connection_takes_one_request_after_the_other(stage: Stage) -> None:
    client = stage.connect()
    for number in range(3):
        client.sendall(request(f"POST /{number} HTTP/1.1", "Content-Length: 2", body=b"ab"))
        found = answer(client)
        assert found.endswith(f"POST /{number} ab".encode())
        assert b"\r\nServer: rtmpsrv\r\n" in found
        assert b"Connection" not in found
    client.sendall(request("GET / HTTP/1.1", "Connection: close"))
    assert b"\r\nConnection: close\r\n" in everything(client)


def test_requests_that_come_together_are_answered_in_order(stage: Stage) -> None:
    many = b"".join(
        request(f"POST /{number} HTTP/1.1", "Content-Length: 1", body=b"x") for number in range(500)
    )
    found = stage.ask(many + request("GET /last HTTP/1.1", "Connection: close"))
    told = [line for line in found.split(b"\r\n\r\n") if b" /" in line[:12]]
    assert len(told) == 501
    assert told[7].startswith(b"POST /7 x")
    assert told[-1].startswith(b"GET /last")


def test_sockets_are_looked_at_between_requests_that_came_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "TURN_S", 0.0)
    asked: list[str] = []
    seen: list[int] = []

    def note(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if not asked:
            at_next_round(lambda: seen.append(len(asked)))
        asked.append(environ["PATH_INFO"])
        return hello(environ, start_response)

    stage = Stage(note)
    try:
        stage.ask(99 * GET + request("GET / HTTP/1.1", "Connection: close"))
    finally:
        stage.close()
    assert (len(asked), len(seen)) == (100, 1)
    assert seen[0] < 10


def test_a_request_byte_by_byte_is_a_request(stage: Stage) -> None:
    client = stage.connect()
    client.setsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_NODELAY, 1)
    for byte in b"\r\n" + request("POST / HTTP/1.0", "Content-Length: 1", body=b"z"):
        client.sendall(bytes([byte]))
    assert everything(client).endswith(b"POST / z")


def test_who_waits_for_a_word_gets_it(stage: Stage) -> None:
    client = stage.connect(request("POST / HTTP/1.1", "Content-Length: 1", "Expect: 100-continue"))
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"b")
    assert answer(client).endswith(b"POST / b")


def test_what_is_no_request_is_answered_and_the_connection_is_closed(stage: Stage, lines: Lines) -> None:
    rest = b"GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n"
    bad = request(
        "POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + rest
    )
    found = stage.ask(bad)
    assert status(found) == 400
    assert found.count(b"HTTP/1.1") == 1
    assert b"secret" not in found
    for field in (
        b"Connection: close",
        b"Content-Type: application/json",
        b"X-Content-Type-Options: nosniff",
    ):
        assert field in found
    assert found.endswith(b'{"status": "error", "error": "this Transfer-Encoding is not taken"}\n')
    assert [level for level, _ in lines.lines] == ["DEBUG"]


def test_an_error_arrives_though_more_was_sent_than_is_read(stage: Stage) -> None:
    client = stage.connect(request("POST / HTTP/1.1", "Content-Length: 99999999", body=b"x" * 200_000))
    assert status(everything(client)) == 413


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nX: ", request("POST / HTTP/1.1", "Content-Length: 2")])
def test_what_does_not_come_in_time_is_given_up(
    stage: Stage, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "HEAD_S", 0.02)
    monkeypatch.setattr(handler, "BODY_S", 0.02)
    assert status(stage.ask(data)) == 408


def test_nothing_is_said_to_who_says_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "HEAD_S", 0.02)
    monkeypatch.setattr(handler, "IDLE_S", 0.02)
    assert stage.ask(b"") == b""
    assert status(stage.ask(GET)) == 200


@pytest.mark.parametrize("data", [b"GET / HT", request("POST / HTTP/1.1", "Content-Length: 2", body=b"x")])
def test_who_leaves_in_the_middle_leaves_nothing_behind(stage: Stage, data: bytes, lines: Lines) -> None:
    client = stage.connect(data)
    client.shutdown(gsocket.SHUT_WR)
    assert everything(client) == b""
    stage.until(lambda: not stage.server.connections)
    assert lines.lines == []


def test_the_environment_holds_what_wsgi_wants_and_no_doubles() -> None:
    seen: dict[str, Any] = {}

    def look(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.update(environ)
        environ["wsgi.errors"].write("whatever")
        return hello(environ, start_response)

    stage = Stage(look)
    fields = ("X-A: 1", "X_A: 2", "Content_Length: 9", "Content-Type: text/x", "Connection: close")
    stage.ask(request("GET /a%2Fb%20%E4?c=%20d HTTP/1.1", *fields))
    stage.close()
    assert seen["HTTP_X_A"] == "1"
    assert "CONTENT_LENGTH" not in seen
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/a/b \xe4", "c=%20d")
    assert seen["REQUEST_URI"] == "/a%2Fb%20%E4?c=%20d"
    assert (seen["CONTENT_TYPE"], seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == (
        "text/x",
        "127.0.0.1",
        "http",
    )
    assert seen["SERVER_PORT"] == str(stage.port)


def test_a_bug_costs_one_answer_and_a_line_without_secrets(lines: Lines) -> None:
    def fails(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise RuntimeError("token=Kleinod-7261")

    stage = Stage(fails)
    found = stage.ask(GET)
    stage.close()
    assert status(found) == 500
    assert b"Kleinod" not in found
    (line,) = [text for level, text in lines.lines if level == "ERROR"]
    assert line.startswith("an answer failed: RuntimeError in test_handler.py:")


def test_an_answer_that_breaks_off_ends_the_connection(lines: Lines) -> None:
    def breaks_off(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"half"
        raise RuntimeError

    stage = Stage(breaks_off)
    found = stage.ask(GET)
    stage.close()
    assert found.endswith(b"4\r\nhalf\r\n"), "no end of a body, and no second answer"


def test_queries_are_not_logged(stage: Stage, lines: Lines) -> None:
    stage.ask(request("GET /path?token=Kleinod-7261 HTTP/1.1", "Connection: close"))
    stage.until(lambda: lines.lines)
    assert lines.lines == [("DEBUG", "127.0.0.1 GET /path 200")]


@pytest.mark.parametrize("limit", ["SEND_S", "TAKE_S"])
def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(handler, limit, 0.05)

    def long(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(30_000_000)]

    stage = Stage(long)
    stage.connect(GET)
    stage.until(lambda: stage.server.connections)
    stage.until(lambda: not stage.server.connections)
    stage.close()


def test_an_exception_is_described_without_its_text() -> None:
    assert described(ValueError("Kleinod-7261")) == "ValueError"


def test_an_answer_may_have_to_wait_and_others_are_made_meanwhile() -> None:
    stage = Stage(waits)
    try:
        held = [stage.connect(GET.replace(b"/", b"/30", 1)) for _ in range(20)]
        stage.until(lambda: len(stage.server.connections) == 20)
        assert status(answer(stage.connect(GET.replace(b"/", b"/0.001", 1)))) == 401
        assert status(answer(stage.connect(GET.replace(b"/", b"/0", 1)))) == 401
        for one in held:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
    finally:
        stage.close()


def waits(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Refuse everybody, who has to wait for it."""
    environ[handler.DELAY] = float(environ["PATH_INFO"][1:])
    start_response("401 Unauthorized", [("Content-Length", "0")])
    return [b""]
