from __future__ import annotations

import pytest
from gevent import socket

from rtmpsrv.server.proxies import Proxies, read_header
from rtmpsrv.server.proxy_protocol import BadHeader, ProxyHeader

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 1935\r\n"


def test_places_for_connections_without_a_client_are_counted() -> None:
    proxies = Proxies((), 2)
    assert [proxies.begin() for _ in range(3)] == [True, True, False]
    proxies.end()
    assert proxies.begin()
    assert proxies.unnamed == 2


def test_a_header_is_taken_off_and_nothing_else() -> None:
    near, far = socket.socketpair()
    far.sendall(LINE + b"\x03rest")
    assert read_header(near) == ProxyHeader("192.0.2.7")
    assert near.recv(100) == b"\x03rest"
    near.close()
    far.close()


@pytest.mark.parametrize("sent", [b"", LINE[:20]])
def test_a_proxy_may_leave_before_it_speaks_but_not_in_the_middle(sent: bytes) -> None:
    near, far = socket.socketpair()
    far.sendall(sent)
    far.close()
    if sent:
        with pytest.raises(BadHeader, match="an end in the middle"):
            read_header(near)
    else:
        assert read_header(near) is None
    near.close()
