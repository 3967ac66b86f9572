"""Proxies whose word is taken for where their clients come from, and reading that word from a socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gevent import socket as gsocket

from .proxy_protocol import BadHeader, HeaderReader, ProxyHeader


class Addresses(Protocol):
    """A list of addresses and networks. Declared here, built in `access`."""

    def __contains__(self, address: str, /) -> bool:
        """Tell whether an address is on it."""


@dataclass(slots=True)
class Proxies:
    """From which addresses each connection begins with a PROXY header; and how many may be without a client.

    Those that wait for their header, and those of the proxy itself, count for no client's address: `begin`
    and `end` bound them.
    """

    addresses: Addresses = ()
    most_unnamed: int = 1000
    unnamed: int = 0

    def begin(self) -> bool:
        """Take a place for a connection of which no client is known; False when there is none."""
        if self.unnamed >= self.most_unnamed:
            return False
        self.unnamed += 1
        return True

    def end(self) -> None:
        """Give the place back."""
        self.unnamed -= 1


def read_header(sock: gsocket.socket) -> ProxyHeader | None:
    """Take the header off a connection; None when the proxy leaves without a byte.

    Blocks without end: the caller has a deadline. Raises BadHeader, or OSError.
    """
    reader = HeaderReader()
    while True:
        data = sock.recv(reader.wanted)
        if not data:
            if reader.empty:
                return None
            raise BadHeader("an end in the middle of the PROXY header")
        header = reader.feed(data)
        if header is not None:
            return header
