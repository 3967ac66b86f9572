"""An HTTP or HTTPS callback backend on loopback. Verifies tokens, notes what came, answers as it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.doubles import tokens
from tests.doubles.certificates import Certificates


@dataclass(frozen=True)
class Received:
    """One request with a good token."""

    claims: dict[str, Any]
    headers: dict[str, str]
    method: str
    path: str
    body: bytes
    at: float

    @property
    def event(self) -> str:
        """`start` or `stop`."""
        return str(self.claims["event"])


@dataclass(frozen=True)
class Answer:
    """What to say, and how badly."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    hang: bool = False  # never answer, until the server stops
    drop: bool = False  # close without an answer
    endless_body: bool = False  # headers at once, a body that never ends


def accept(received: Received) -> Answer:
    """Accept everything, as `id-CHANNEL`."""
    if received.event == "start":
        return Answer(headers={"stream-id": f"id-{received.claims['channel']}"})
    return Answer()


class CallbackServer:
    """Use as a context manager. `answer` may be changed at any time."""

    def __init__(self, secret: str = "", certificates: Certificates | None = None, port: int = 0) -> None:
        self.answer: Callable[[Received], Answer] = accept
        self.received: list[Received] = []
        self.refused: list[str] = []  # why tokens were no good
        self.connections = 0
        self.port = port
        self._secret = secret
        self._certificates = certificates
        self._news = threading.Condition()
        self._stopping = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address to call."""
        return f"{'https' if self._certificates else 'http'}://127.0.0.1:{self.port}/callback"

    def __enter__(self) -> CallbackServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._stopping.clear()
        self._server = _Server(("127.0.0.1", self.port), _Handler, self)
        self.port = self._server.server_address[1]
        if self._certificates:
            self._server.socket = self._certificates.server_context().wrap_socket(
                self._server.socket, server_side=True
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is None or self._thread is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._thread.join(5)
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._server = None

    def close_idle_connections(self) -> None:
        """Close what is open, as a backend does with idle connections."""
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def events(self, event: str, channel: str | None = None) -> list[Received]:
        """Return what came, by event and channel."""
        return [
            one for one in self.received if one.event == event and channel in (None, one.claims["channel"])
        ]

    def wait_for(self, event: str, count: int = 1, channel: str | None = None, timeout_s: float = 5) -> bool:
        """Wait until that many have come."""
        with self._news:
            return self._news.wait_for(lambda: len(self.events(event, channel)) >= count, timeout_s)

    def note(self, received: Received) -> None:
        """Remember a request and wake who waits for it."""
        with self._news:
            self.received.append(received)
            self._news.notify_all()


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: Any, owner: CallbackServer) -> None:
        self.owner = owner
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Peers that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections += 1
        self.server.owner._sockets.add(self.connection)

    def finish(self) -> None:
        self.server.owner._sockets.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            claims = tokens.verify(self.headers.get("rtmp-event", ""), owner._secret)
        except tokens.BadToken as exc:
            owner.refused.append(str(exc))
            self._reply(Answer(401))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(claims, headers, self.command, self.path, body, time.monotonic())
        answer = owner.answer(received)
        owner.note(received)
        self._reply(answer)

    do_GET = do_POST

    def _reply(self, answer: Answer) -> None:
        stopping = self.server.owner._stopping
        if answer.delay_s:
            stopping.wait(answer.delay_s)
        if answer.hang:
            stopping.wait()
        if answer.hang or answer.drop:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.endless_body:
            self.close_connection = True
            self.end_headers()
            while not stopping.wait(0.05):
                self.wfile.write(b"x" * 1024)
            return
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
