"""Sockets that others have opened."""

from __future__ import annotations

import os
import socket

import pytest

from rtmpsrv.server.binding import bind
from rtmpsrv.server.ports import Offer, Ports, choose, listening, offers, place_of

PLAIN, SECURE = 1935, 443


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        pytest.param([], Ports(), id="none"),
        pytest.param([Offer(3, "", PLAIN), Offer(4, "", SECURE)], Ports(3, 4), id="by port"),
        pytest.param([Offer(3, "rtmps", 1), Offer(4, "rtmp", 2)], Ports(4, 3), id="by name"),
        pytest.param([Offer(3, "rtmpsrv.socket", 1)], Ports(3), id="the only one"),
        pytest.param([Offer(3, "rtmps", PLAIN)], Ports(None, 3), id="the name counts"),
        pytest.param([Offer(3, "", 1), Offer(4, "", SECURE)], Ports(3, 4), id="the only one left"),
        pytest.param([Offer(3, "", 1), Offer(4, "", 2)], Ports(), id="two that nothing explains"),
        pytest.param([Offer(3, "", PLAIN), Offer(4, "rtmp", 1)], Ports(4), id="the name goes first"),
    ],
)
def test_a_socket_is_known_by_its_name_or_its_port(offered: list[Offer], expected: Ports) -> None:
    assert choose(offered, PLAIN, SECURE) == expected


def test_only_tcp_sockets_are_offers() -> None:
    near, far = socket.socketpair()
    with near, far, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        gone = os.open(os.devnull, os.O_RDONLY)
        os.close(gone)
        numbers = [near.fileno(), datagrams.fileno(), tcp.fileno(), gone]
        assert offers([(number, "x") for number in numbers]) == [
            Offer(tcp.fileno(), "x", tcp.getsockname()[1])
        ]
        assert tcp.getsockname()[1] > 0, "it is still open"


def test_a_bound_socket_refuses_until_it_listens() -> None:
    with bind("127.0.0.1", 0, listen=False) as sock:
        address = sock.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 5)
        assert listening(sock.fileno()) == sock.fileno()
        socket.create_connection(address, 5).close()


def test_nothing_listens_where_there_is_no_socket() -> None:
    assert listening(None) is None


def test_a_socket_says_where_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert place_of(sock.fileno(), "10.0.0.1", 5) == ("127.0.0.1", sock.getsockname()[1])
        assert sock.fileno() >= 0
    assert place_of(None, "10.0.0.1", 5) == ("10.0.0.1", 5)
