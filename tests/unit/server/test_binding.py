from __future__ import annotations

import os
import socket

import pytest
from gevent import socket as gsocket

from rtmpsrv.server import binding


@pytest.mark.parametrize(
    ("address", "family"),
    [("127.0.0.1", gsocket.AF_INET), ("::1", gsocket.AF_INET6), ("localhost", None)],
)
def test_addresses_of_all_kinds(address: str, family: int | None) -> None:
    found, where = binding._resolve(address, 1935)
    assert where[1] == 1935
    assert family is None or found == family


def test_a_port_that_does_not_listen_yet_refuses() -> None:
    sock = binding.bind("127.0.0.1", 0, listen=False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(sock.getsockname(), 5)
    taken_over = binding.adopted(os.dup(sock.fileno()))
    taken_over.listen(1)
    socket.create_connection(sock.getsockname(), 5).close()
    taken_over.close()
    sock.close()
