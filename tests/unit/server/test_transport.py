from __future__ import annotations

import socket as plain
from collections.abc import Iterator

import pytest
from gevent import socket as gsocket

from rtmpsrv.server.transport import PlainTransport
from tests.unit.server.stage import eventually


class Pair:
    """A transport, and the other end of its connection."""

    def __init__(self, near: gsocket.socket, far: gsocket.socket) -> None:
        self.transport = PlainTransport(near)
        self.far = far
        self.far.settimeout(5)

    def close(self) -> None:
        self.transport.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair(*gsocket.socketpair())
    yield made
    made.close()


@pytest.fixture
def tcp() -> Iterator[Pair]:
    with gsocket.create_server(("127.0.0.1", 0)) as listener:
        far = gsocket.create_connection(listener.getsockname())
        near, _address = listener.accept()
    made = Pair(near, far)
    yield made
    made.close()


def test_reading_and_writing(pair: Pair) -> None:
    pair.far.sendall(b"in")
    assert pair.transport.read(100) == b"in"
    assert pair.transport.write(b"out") == 3
    assert pair.far.recv(100) == b"out"


def test_pieces_go_out_one_behind_the_other(pair: Pair) -> None:
    assert pair.transport.write_together([b"one", memoryview(b"and two")[4:], b""]) == 6
    assert pair.far.recv(100) == b"onetwo"


def test_nothing_to_read_is_an_error_that_says_so_and_the_end_is_empty(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        pair.transport.read(100)
    pair.far.close()
    assert pair.transport.read(100) == b""


def test_a_full_socket_is_an_error_that_says_so(pair: Pair) -> None:
    def fill() -> None:
        while True:
            pair.transport.write(bytes(65536))

    with pytest.raises(BlockingIOError):
        fill()


def test_shutdown_of_one_direction_leaves_the_other(pair: Pair) -> None:
    pair.transport.shutdown(gsocket.SHUT_WR)
    assert pair.far.recv(1) == b""
    pair.far.sendall(b"x")
    assert pair.transport.read(1) == b"x"


def test_shutdown_of_a_dead_socket_does_not_raise(pair: Pair) -> None:
    pair.far.close()
    pair.transport.shutdown()
    pair.transport.close()
    pair.transport.shutdown()
    pair.transport.close()


def test_options_of_tcp(tcp: Pair) -> None:
    sock = tcp.transport._socket
    sock.setsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY, 1)
    tcp.transport.coalesce()
    assert not sock.getsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY)
    assert tcp.transport.limit_unsent(100_000)


def test_a_peer_that_closed_has_left_though_its_bytes_are_unread(tcp: Pair) -> None:
    assert not tcp.transport.has_left()
    assert not tcp.transport.has_unread()
    tcp.far.sendall(b"last words")
    tcp.far.shutdown(gsocket.SHUT_WR)
    gsocket.wait_read(tcp.transport.fileno(), timeout=5)
    eventually(tcp.transport.has_left)
    assert tcp.transport.has_unread()
    assert tcp.transport.read(100) == b"last words"
    assert not tcp.transport.has_unread()
    tcp.transport.close()
    assert not tcp.transport.has_unread()


def test_sockets_that_are_not_tcp_have_no_such_options(pair: Pair) -> None:
    pair.transport.coalesce()
    assert not pair.transport.limit_unsent(100_000)
    assert not pair.transport.has_left()
