"""The HTTP server: accepts from a socket that others have opened, within bounds; TLS where it is wished."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import gevent
from gevent import socket as gsocket
from gevent.lock import Semaphore
from gevent.server import StreamServer

from rtmpsrv.log import Logger
from rtmpsrv.server.transport import limit_unsent
from rtmpsrv.web.connections import Connections, Place
from rtmpsrv.web.handler import HEAD_S, Handler
from rtmpsrv.web.headers import last_answer

FINISH_S: Final = 2.0  # for requests that are being answered when it stops
LOOK_EVERY_S: Final = 0.01
MAX_MADE: Final = 16  # answers at once, before the first byte goes out
MAX_ACCEPT: Final = 16  # in one round of the loop
UNSENT_BYTES: Final = 256 << 10  # of answers, that the system takes for who reads nothing; else it is 4 MB


class Server(StreamServer):
    """One port. `start`, then `finish`."""

    max_accept = MAX_ACCEPT

    def __init__(
        self,
        sock: gsocket.socket,
        application: Callable[..., Any],
        log: Logger,
        connections: Connections | None = None,
        *,
        tls: bool = False,
    ) -> None:
        """Take over a socket that listens. With `tls` nobody is served before there is a `context`."""
        self.context: ssl.SSLContext | None = None
        self.connections = connections if connections is not None else Connections()
        self.busy_at = monotonic()  # when there was a connection last, as far as is known
        self._application = application
        self._log = log
        self._tls = tls
        self._making = Semaphore(MAX_MADE)
        super().__init__(sock, self._handle)

    @property
    def idle_s(self) -> float:
        """For how long there has been no connection."""
        if self.connections:
            self.busy_at = monotonic()
        return monotonic() - self.busy_at

    def leave(self, idle_s: float) -> bool:
        """Accept nobody more, if there has been no connection for so long; tell whether. Blocks briefly."""
        if self.idle_s < idle_s:
            return False
        self.stop_accepting()
        gevent.sleep(0)  # what was accepted before has its place after this turn of the loop
        if self.connections:
            self.start_accepting()
            return False
        return True

    def finish(self, timeout_s: float = FINISH_S) -> None:
        """Accept nobody more, and finish what was begun. Blocks up to `timeout_s`."""
        self.connections.closing = True
        self.stop_accepting()
        self.close()  # our copy: those who wait in the queue are another process's
        gevent.sleep(0)  # what was accepted before has its place after this turn of the loop
        self.connections.end_idle()
        until = monotonic() + timeout_s
        while self.connections and monotonic() < until:
            gevent.sleep(LOOK_EVERY_S)
            self.connections.end_idle()  # what was answered meanwhile

    def end(self) -> None:
        """End all connections that are left. Never blocks."""
        self.connections.end_all()

    # --- private ----------------------------------------------------------------------------------

    def _handle(self, sock: gsocket.socket, address: tuple[Any, ...]) -> None:
        """Serve one connection; the top of a greenlet, which is killed when it is to end."""
        greenlet = gevent.getcurrent()
        place = Place(str(address[0]), lambda: greenlet.kill(block=False))  # type: ignore[attr-defined]
        connection: Any = sock
        try:
            if not self.connections.enter(place):
                self._turn_away(sock)
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            limit_unsent(sock, UNSENT_BYTES)
            if self._tls:
                connection = self._secured(sock)
            if connection is not None:
                Handler(
                    connection, address, self._application, self.connections, place, self._log, self._making,
                    secure=self._tls,
                ).handle()  # fmt: skip
        except OSError:  # it was gone before it was here
            return
        finally:
            self.connections.leave(place)
            self.busy_at = monotonic()
            for one in (connection, sock):
                if one is not None:
                    with suppress(OSError):
                        one.close()

    def _secured(self, sock: gsocket.socket) -> Any:
        """Return the connection after the handshake of TLS; None when that comes to nothing. Blocks."""
        if self.context is None:
            return None
        with suppress(OSError), gevent.Timeout(HEAD_S, TimeoutError()):
            return self.context.wrap_socket(sock, server_side=True)
        return None

    def _turn_away(self, sock: gsocket.socket) -> None:
        """Say that there are too many, if it can be said at once."""
        sock.setblocking(False)
        if not self._tls:
            with suppress(OSError):
                sock.send(last_answer(503, "too many connections"))
