from __future__ import annotations

from collections.abc import Iterator

import pytest
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.server.http.frames import BINARY, close_frame, frame
from rtmpsrv.server.http.sink import WebSocketSink
from rtmpsrv.server.outlet import Outlet
from rtmpsrv.server.transport import PlainTransport
from tests.unit.server.stage import PATIENCE_S, FakeBudget


class Holder:
    log = log.session_logger("TEST", 1)

    def drop(self, reason: str) -> None:
        raise AssertionError(reason)


@pytest.fixture
def pair() -> Iterator[tuple[WebSocketSink, gsocket.socket, Outlet]]:
    mine, peer = gsocket.socketpair()
    peer.settimeout(PATIENCE_S)
    outlet = Outlet(PlainTransport(mine), Holder(), FakeBudget(), 5.0)
    yield WebSocketSink(outlet), peer, outlet
    outlet.close()
    mine.close()
    peer.close()


def test_each_piece_is_a_message(pair: tuple[WebSocketSink, gsocket.socket, Outlet]) -> None:
    sink, peer, outlet = pair
    assert sink.socket is None
    assert sink.offer(b"abc")
    sink.reply(b"de")
    sink.reply(b"")
    sink.kick()
    sink.coalesce()
    expected = frame(BINARY, 3) + b"abc" + frame(BINARY, 2) + b"de"
    assert peer.recv(100) == expected
    assert sink.bytes_out == outlet.bytes_out == len(expected)


def test_it_says_goodbye_once(pair: tuple[WebSocketSink, gsocket.socket, Outlet]) -> None:
    sink, peer, _outlet = pair
    sink.end(1008, "no")
    sink.end_when_empty()
    assert peer.recv(100) == close_frame(1008, "no")
    assert peer.recv(100) == b""


def test_nobody_writes_past_it(pair: tuple[WebSocketSink, gsocket.socket, Outlet]) -> None:
    with pytest.raises(AssertionError):
        pair[0].sendfile(0, 0, 0)
    with pytest.raises(AssertionError):
        pair[0].credit(1)
