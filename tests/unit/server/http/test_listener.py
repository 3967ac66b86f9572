from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from gevent import socket as gsocket

from rtmpsrv.server.http import listener as listener_module
from rtmpsrv.server.http import routes
from rtmpsrv.server.http.listener import HttpListener
from rtmpsrv.server.http.places import Places
from rtmpsrv.server.http.site import Site
from rtmpsrv.server.requests import NOTSENT_LOWAT_BYTES
from tests.unit.server.http.stage import Told, ViewingHost
from tests.unit.server.stage import PATIENCE_S, FakeHost, eventually, make_parts

DIALLED: list[gsocket.socket] = []
GET = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def listener() -> Iterator[HttpListener]:
    site = Site(ViewingHost())
    site.add(routes.PAGE, lambda _request, reply: reply.send(200, b"page"))
    parts = dataclasses.replace(make_parts(), site=site, tally=Told())
    made = HttpListener("127.0.0.1", 0, FakeHost(), parts)
    made.start()
    yield made
    made.close()
    made.stop_sessions("the test is over", PATIENCE_S)


@pytest.fixture(autouse=True)
def dialled() -> Iterator[list[gsocket.socket]]:
    """Close what was opened."""
    DIALLED.clear()
    yield DIALLED
    for one in DIALLED:
        one.close()


def site_of(listener: HttpListener) -> Site:
    assert listener._parts.site is not None
    return listener._parts.site


def dial(listener: HttpListener) -> Any:
    DIALLED.append(gsocket.create_connection(("127.0.0.1", listener.port), timeout=PATIENCE_S))
    return DIALLED[-1]


def test_a_connection_takes_no_slot(listener: HttpListener) -> None:
    slots: Any = listener._parts.slots
    slots.refusal = "too many"
    peer = dial(listener)
    peer.sendall(GET)
    assert peer.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert slots.taken == []
    (session,) = listener.sessions
    assert (session.client.port, session.client.secure) == (listener.port, False)
    peer.close()
    eventually(lambda: not listener.sessions)


def test_the_system_takes_little_for_who_reads_nothing(listener: HttpListener) -> None:
    site_of(listener).handlers[routes.PAGE] = lambda _request, reply: reply.send(200, bytes(8 << 20))
    peer = gsocket.socket()
    DIALLED.append(peer)
    peer.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", listener.port))
    peer.sendall(GET)
    eventually(lambda: len(listener.sessions) == 1)
    session: Any = next(iter(listener.sessions))
    eventually(lambda: session.outlet.waiting_bytes > 0)
    assert session.outlet.bytes_out < 2 * NOTSENT_LOWAT_BYTES
    peer.close()
    eventually(lambda: not listener.sessions)


def test_there_are_so_many_of_one_address_and_no_more(
    listener: HttpListener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    site_of(listener).places = Places(of_address=2)
    first, _second = dial(listener), dial(listener)
    eventually(lambda: len(listener.sessions) == 2)
    assert dial(listener).recv(1) == b""
    told: Any = listener._parts.tally
    assert "rejected" in told.events
    first.close()
    eventually(lambda: len(listener.sessions) == 1)
    third = dial(listener)
    third.sendall(GET)
    assert third.recv(100)


def test_who_asks_for_nothing_makes_room(listener: HttpListener) -> None:
    places = site_of(listener).places = Places(1)
    first = dial(listener)
    eventually(lambda: places.describe()["idle"] == 1)
    second = dial(listener)
    assert first.recv(1) == b""
    second.sendall(GET)
    assert second.recv(100).startswith(b"HTTP/1.1 200 OK")
    second.close()
    eventually(lambda: not listener.sessions)
    eventually(lambda: places.describe() == {"open": 0, "addresses": 0, "idle": 0})


def test_a_proxy_by_headers_sends_no_other_ones(listener: HttpListener) -> None:
    site_of(listener).trusted = ("127.0.0.1",)
    listener._parts.proxies.addresses = ("127.0.0.1",)
    peer = dial(listener)
    peer.sendall(GET[:-2] + b"X-Forwarded-For: 192.0.2.7\r\n\r\n")
    assert peer.recv(100).startswith(b"HTTP/1.1 200 OK")
    (session,) = listener.sessions
    assert session.client.ip == "192.0.2.7"


def test_others_send_the_header_that_is_asked_for(listener: HttpListener) -> None:
    listener._parts.proxies.addresses = ("127.0.0.1",)
    peer = dial(listener)
    peer.sendall(b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 80\r\n" + GET)
    assert peer.recv(100).startswith(b"HTTP/1.1 200 OK")
    (session,) = listener.sessions
    assert session.client.ip == "192.0.2.8"


def test_who_is_gone_without_a_word_is_found_by_the_system(listener: HttpListener) -> None:
    peer = dial(listener)
    eventually(lambda: listener.sessions)
    (session,) = listener.sessions
    with gsocket.socket(fileno=os.dup(session.fileno())) as copy:
        assert copy.getsockopt(gsocket.SOL_SOCKET, gsocket.SO_KEEPALIVE) == 1
    peer.close()


def test_a_session_moves_to_another_port(listener: HttpListener) -> None:
    peer = dial(listener)
    peer.sendall(GET)
    assert peer.recv(1000).endswith(b"page")
    (session,) = listener.sessions
    eventually(session.can_move)
    frozen = listener.release(session)
    other = HttpListener("127.0.0.1", 0, FakeHost(), listener._parts)
    other.adopt(frozen)
    peer.sendall(GET)
    assert peer.recv(1000).endswith(b"page")
    eventually(lambda: site_of(listener).places.describe()["open"] == 1)
    assert len(other.sessions) == 1
    peer.close()
    eventually(lambda: not other.sessions)
    other.close()


def test_when_many_wait_who_has_left_is_not_served(
    listener: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "MAX_QUEUED", 0)
    told: Any = listener._parts.tally
    listener.pause()
    gone, second, third = dial(listener), dial(listener), dial(listener)
    gone.sendall(GET)
    gone.close()
    listener.resume()
    for one in (second, third):
        one.sendall(GET)
        assert one.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert "left 0" not in told.events
    assert len(listener.sessions) == 2


def test_who_was_accepted_before_the_end_is_served_all_the_same(listener: HttpListener) -> None:
    listener.pause()
    with gsocket.create_server(("127.0.0.1", 0)) as other:
        DIALLED.append(gsocket.create_connection(other.getsockname(), timeout=PATIENCE_S))
        accepted, peer = other.accept()
    listener.close()
    listener.greenlets.spawn(listener._serve, accepted, peer)
    DIALLED[-1].sendall(GET)
    assert DIALLED[-1].recv(100).startswith(b"HTTP/1.1 200 OK")
