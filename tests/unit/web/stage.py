"""A server of the web process on a port of this machine, and clients that send bytes."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.server.binding import bind
from rtmpsrv.web.connections import Connections
from rtmpsrv.web.server import Server

PATIENCE_S = 5.0
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Tell what came."""
    body = (
        f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ['wsgi.input'].read().decode()}".encode()
    )
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class Waits:
    """An application that answers when it may."""

    def __init__(self) -> None:
        self.may = Event()
        self.asked = Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.asked.set()
        self.may.wait()
        return hello(environ, start_response)


class Streams:
    """An application that sends events until it is ended."""

    def __init__(self) -> None:
        self.begun = Event()
        self.ended = Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream; charset=utf-8")])
        return self._events()

    def _events(self) -> Iterator[bytes]:
        try:
            yield b"data: 1\n\n"
            self.begun.set()
            Event().wait()
        finally:
            self.ended.set()


class Stage:
    """A server, which its test closes."""

    def __init__(
        self,
        application: Callable[..., Any] = hello,
        connections: Connections | None = None,
        context: ssl.SSLContext | None = None,
        *,
        tls: bool = False,
    ) -> None:
        sock = bind("127.0.0.1", 0)
        self.port: int = sock.getsockname()[1]
        self.server = Server(sock, application, log.get("WEB"), connections, tls=tls)
        self.server.context = context
        self.server.start()
        self._clients: list[gsocket.socket] = []

    def connect(self, data: bytes = b"") -> gsocket.socket:
        """Return a client that has sent something."""
        client = gsocket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        self._clients.append(client)
        if data:
            client.sendall(data)
        return client

    def ask(self, data: bytes) -> bytes:
        """Return all that comes back until the server closes."""
        return everything(self.connect(data))

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.connections.end_all()
        self.server.close()
        self.until(lambda: not self.server.connections)

    def until(self, is_so: Callable[[], object]) -> None:
        with gevent.Timeout(PATIENCE_S):
            while not is_so():
                gevent.sleep(0.001)


def everything(client: gsocket.socket) -> bytes:
    """Read to the end."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            found += piece
    return found


def answer(client: gsocket.socket) -> bytes:
    """Read one answer that has a Content-Length."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = client.recv(1)
        assert piece, found
        found += piece
    length = next(
        int(line.split(b":")[1])
        for line in found.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while length:
        piece = client.recv(length)
        assert piece, found
        found += piece
        length -= len(piece)
    return found


def status(data: bytes) -> int:
    """Return the status of an answer."""
    assert data.startswith(b"HTTP/1.1 "), data[:80]
    return int(data.split(b" ", 2)[1])


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(1)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))
