"""Sockets that listen: opened on an address or a name, or taken over from another process."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from gevent import socket as gsocket

BACKLOG = 4096  # connections the kernel holds for us; it takes the lesser of this and somaxconn


def bind(address: str, port: int, *, listen: bool = True) -> gsocket.socket:
    """Give a socket that listens, or only has its address so far: connections are refused until it listens.

    Raises OSError. Blocks for a name, which a thread of gevent looks up.
    """
    family, where = _resolve(address, port)
    sock = gsocket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(where)
        if listen:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def adopted(descriptor: int) -> gsocket.socket:
    """Return a socket that somebody else has opened, whose descriptor is its own now. Never blocks."""
    sock = gsocket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock


def _resolve(address: str, port: int) -> tuple[int, Any]:
    """Return family and socket address. Blocks for a name, which a thread of gevent looks up."""
    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if isinstance(parsed, IPv4Address):
        return socket.AF_INET, (address, port)
    if isinstance(parsed, IPv6Address) and parsed.scope_id is None:
        return socket.AF_INET6, (address, port)
    found = gsocket.getaddrinfo(address, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0]
    return found[0], found[4]
