"""The port for viewers by HTTP, plain or with TLS: that of RTMP, with sessions of another kind.

Connections take no slot as they come: a browser opens several side by side, and who watches takes one when it
begins to. So they are bounded by themselves here.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any, Final

from gevent import socket as gsocket

from rtmpsrv import log

from ..host import Client
from ..listener import Listener
from ..tls import TlsListener
from .state import HttpState, begin

MAX_CONNECTIONS: Final = 4000  # at one time, all addresses together, whether they watch or not
MAX_OF_ADDRESS: Final = 256
# A viewer whose system has gone without a word is found by the kernel: within two minutes.
KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)


class _Door(Listener):
    """What both have in common."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As the other listener of the class."""
        self._of_address: Counter[str] = Counter()
        self._count = 0
        super().__init__(*arguments, **named)
        self._refused = log.RateLimited(
            lambda n: self.log.info("connections refused, since there are too many: %d", n)
        )

    def _begin(self, client: Client, accepted_at: float) -> HttpState:
        return begin(client, self._parts.settings, accepted_at)

    def _serve_client(self, sock: gsocket.socket, address: str, secure: bool, accepted_at: float) -> None:
        site = self._parts.site
        assert site is not None, "there is something to be seen"
        whose = site.counted_as(address)
        if self._count >= MAX_CONNECTIONS or self._of_address[whose] >= MAX_OF_ADDRESS:
            self._refused.add()
            self._parts.tally.rejected(address, secure, "too many connections of HTTP")
            sock.close()
            return
        self._parts.tally.accepted()
        for level, option, value in KEEPALIVE:
            sock.setsockopt(level, option, value)
        self._count += 1
        self._of_address[whose] += 1
        try:
            self._run_session(sock, address, secure, accepted_at)
        finally:
            self._count -= 1
            self._of_address[whose] -= 1
            if not self._of_address[whose]:
                del self._of_address[whose]


class HttpListener(_Door):
    """The plain port."""

    prefix = "SERVER:HTTP"


class HttpTlsListener(_Door, TlsListener):
    """The port with TLS."""

    prefix = "SERVER:HTTPS"
