"""The server as a whole: bounds, TLS, and an end at which nobody loses an answer."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import pytest

from rtmpsrv.server.certificates import check_pair, read_pair
from rtmpsrv.server.tls import make_context
from rtmpsrv.web import connections, server
from rtmpsrv.web.connections import Connections, Place
from tests.doubles.pairs import issue
from tests.unit.web.stage import GET, Stage, Streams, Waits, answer, everything, hello, status

CLOSING = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def test_connections_that_are_only_held_keep_nobody_out() -> None:
    stage = Stage(connections=Connections(of_one=4))
    held = [stage.connect(b"GET / HT") for _ in range(20)]
    assert status(stage.ask(CLOSING)) == 200
    assert len(stage.server.connections) <= 4
    assert [everything(client) for client in held[:16]] == [b""] * 16
    stage.close()


def test_too_many_that_are_served_are_told() -> None:
    app = Waits()
    stage = Stage(app, Connections(of_one=1, kept=0))
    stage.connect(GET)
    app.asked.wait()
    assert status(stage.ask(b"")) == 503
    app.may.set()
    stage.close()


def test_who_asks_whether_all_is_well_is_answered_beside_too_many() -> None:
    app = Waits()
    stage = Stage(
        lambda environ, start: (hello if environ["PATH_INFO"] == "/readyz" else app)(environ, start),
        Connections(of_one=1),
    )
    stage.connect(GET)
    app.asked.wait()
    assert status(stage.ask(CLOSING)) == 503
    assert status(stage.ask(CLOSING.replace(b"/ ", b"/readyz?verbose ", 1))) == 200
    app.may.set()
    stage.close()


def test_no_more_answers_are_made_at_once_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_MADE", 2)
    app, making = Waits(), [0]

    def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        making[0] += 1
        return (hello if environ["PATH_INFO"] == "/healthz" else app)(environ, start_response)

    stage = Stage(counted)
    held = [stage.connect(CLOSING) for _ in range(3)]
    stage.until(lambda: making[0] == 2)
    assert status(stage.ask(CLOSING.replace(b"/ ", b"/healthz ", 1))) == 200, "whoever only asks this"
    assert making == [3]
    app.may.set()
    assert [status(everything(client)) for client in held] == [200] * 3
    assert making == [4]
    stage.close()


def test_an_event_stream_is_made_once_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_MADE", 1)
    app = Streams()
    stage = Stage(lambda environ, start: (hello if environ["PATH_INFO"] == "/" else app)(environ, start))
    stage.connect(GET.replace(b"/ ", b"/events ", 1))
    app.begun.wait()
    assert status(stage.ask(CLOSING)) == 200
    stage.close()


def test_who_does_not_read_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STUCK_S", 0.0)
    monkeypatch.setattr(connections, "MAX_HELD_OF_ONE", 1 << 30)
    monkeypatch.setattr(connections, "MAX_HELD_BYTES", 1 << 30)

    def long(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] != "/long":
            return hello(environ, start_response)
        start_response("200 OK", [])
        return [bytes(30_000_000)]

    known = Connections(of_one=2)
    stage = Stage(long, known)
    held = [stage.connect(CLOSING.replace(b"/ ", b"/long ", 1)) for _ in range(2)]
    stage.until(lambda: len(known._holding) == 2)
    assert status(stage.ask(CLOSING)) == 200
    assert len(known._holding) == 1
    assert len(everything(held[0])) < 30_000_000
    stage.close()


def test_the_system_takes_little_for_who_reads_nothing() -> None:
    size = 6 << 20

    def long(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [bytes(size)]

    known = Connections()
    stage = Stage(long, known)
    stage.connect(CLOSING)
    stage.until(lambda: any(place.held_bytes < size for place in known._holding))
    (place,) = known._holding
    assert place.held_bytes > size - (1 << 20)
    stage.close()


def test_at_the_end_what_was_asked_is_answered() -> None:
    app = Waits()
    stage = Stage(app)
    idle = stage.connect(GET)
    app.may.set()
    answer(idle)
    app.may.clear()
    app.asked.clear()
    asked, late = stage.connect(GET), stage.connect()
    app.asked.wait()
    stage.until(lambda: len(stage.server.connections) == 3)
    finishing = gevent.spawn(stage.server.finish)
    assert everything(idle) == b""
    late.sendall(GET)
    app.may.set()
    for client in (asked, late):
        found = everything(client)
        assert status(found) == 200
        assert b"Connection: close" in found
    finishing.get(timeout=5)
    stage.server.end()
    with pytest.raises(ConnectionRefusedError):
        stage.connect()
    stage.close()


def test_at_the_end_event_streams_are_ended_and_nobody_is_waited_for_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Streams()
    stage = Stage(app)
    client = stage.connect(GET)
    app.begun.wait()
    stage.server.finish()
    stage.server.end()
    assert app.ended.is_set()
    assert b"data: 1" in everything(client)
    stage.close()
    monkeypatch.setattr(server, "FINISH_S", 0.02)
    waits = Waits()
    stage = Stage(waits)
    stage.connect(GET)
    waits.asked.wait()
    stage.server.finish()
    stage.server.end()
    stage.close()


def test_it_leaves_when_there_has_been_nobody_for_a_while() -> None:
    stage = Stage()
    assert not stage.server.leave(60.0)
    client = stage.connect()
    stage.until(lambda: stage.server.connections)
    assert not stage.server.leave(0.0)
    client.close()
    stage.until(lambda: not stage.server.connections)
    assert stage.server.leave(0.0)
    stage.close()


def test_who_comes_at_the_moment_of_leaving_is_served() -> None:
    stage = Stage()
    place = Place("127.0.0.1", lambda: None)
    gevent.spawn(stage.server.connections.enter, place)  # accepted already, as it were
    assert not stage.server.leave(0.0)
    assert len(stage.server.connections) == 1
    assert status(stage.ask(CLOSING)) == 200
    stage.server.connections.leave(place)
    stage.close()


def test_tls(tmp_path: Path) -> None:
    chain, key = issue().write(tmp_path)
    pair = read_pair(str(chain), str(key))
    stage = Stage(tls=True)
    assert stage.ask(b"") == b"", "there is no certificate yet"
    stage.server.context = make_context(check_pair(pair, datetime.now(UTC)))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    with trusting.wrap_socket(stage.connect()) as client:
        client.sendall(CLOSING)
        assert status(everything(client)) == 200
    stage.close()


def test_what_is_no_handshake_costs_that_connection_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.05)
    stage = Stage(context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls=True)
    assert not stage.ask(b"").startswith(b"HTTP")
    assert not stage.ask(GET).startswith(b"HTTP")
    stage.until(lambda: not stage.server.connections)
    stage.close()
