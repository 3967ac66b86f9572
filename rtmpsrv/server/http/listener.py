"""The port for viewers by HTTP, plain or with TLS: that of RTMP, with sessions of another kind.

Connections take no slot as they come, which who watches does when it begins to, but one of `Places`.
"""

from __future__ import annotations

import socket
import struct
from time import monotonic
from typing import Any, Final

from gevent import socket as gsocket

from rtmpsrv import log

from ..host import Client
from ..listener import Listener
from ..requests import NOTSENT_LOWAT_BYTES
from ..session_state import Frozen
from ..transport import has_left, limit_unsent
from .routes import ANY
from .site import Site
from .state import HttpState, begin

# A viewer whose system has gone without a word is found by the kernel: within two minutes.
KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)

MAX_QUEUED: Final = 16
_INFO: Final = struct.Struct("=24xI")


class HttpListener(Listener):
    """The plain port, and what that with TLS has in common with it."""

    prefix = "SERVER:HTTP"
    protocol = "http"
    form = ANY

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As other listeners."""
        super().__init__(*arguments, **named)
        self._last_full = ""
        self._full = log.RateLimited(
            lambda n: self.log.info("connections refused: %d, the last from %s", n, self._last_full)
        )

    @property
    def _site(self) -> Site:
        assert self._parts.site is not None, "there is something to be seen"
        return self._parts.site

    def _begin(self, client: Client, accepted_at: float) -> HttpState:
        return begin(client, self._parts.settings, accepted_at)

    def _serve(self, sock: gsocket.socket, peer: tuple[Any, ...]) -> None:
        """Who tells of its clients by headers does not by the PROXY protocol: never both."""
        address = str(peer[0])
        if address in self._site.trusted:
            self._serve_client(sock, address, self.secure, monotonic())
        else:
            super()._serve(sock, peer)

    def _serve_client(self, sock: gsocket.socket, address: str, secure: bool, accepted_at: float) -> None:
        if _queued(getattr(self, "socket", None)) > MAX_QUEUED and has_left(sock):
            sock.close()  # others wait: nobody is here for an answer
            return
        places = self._site.places
        refusal = places.enter(address)
        if refusal is not None:
            self._last_full = f"{address}: {refusal}"
            self._full.add()
            self._parts.tally.rejected(address, secure, refusal, ANY)
            sock.close()
            return
        self._parts.tally.accepted()
        for level, option, value in KEEPALIVE:
            sock.setsockopt(level, option, value)
        # Else the system takes 4 MB for each who reads nothing, and has none left for anybody.
        if not limit_unsent(sock, NOTSENT_LOWAT_BYTES):
            self.log.debug("TCP_NOTSENT_LOWAT is not available: lagging players skip later")
        try:
            self._run_session(sock, address, secure, accepted_at)
        finally:
            places.leave(address)

    def _serve_adopted(self, frozen: Frozen) -> None:
        state, places = frozen.state, self._site.places
        assert isinstance(state, HttpState), "they come from such a port"
        places.arrive(state.own[0])
        try:
            super()._serve_adopted(frozen)
        finally:
            places.leave(state.own[0])


def _queued(sock: Any) -> int:
    """Return how many connections wait to be accepted; 0 where nobody listens any more."""
    try:
        # Of a socket that listens, the kernel says so where it tells of segments that are not acknowledged.
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    except (AttributeError, OSError):
        return 0
    return int(_INFO.unpack(info)[0])
