"""A control server on loopback that behaves as docs/control.md says, in what it refuses too.

Channels whose name begins with `deny` are denied, with `mute` not answered; of the others a second request
is denied while the channel is open anywhere. What goes wrong on purpose is asked for by a test: `drop`,
`send_text`, `send_raw`.
"""

from __future__ import annotations

import contextlib
import http
import itertools
import logging
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tests.doubles import tokens
from tests.doubles.certificates import Certificates

PATH = "/ws/control/rtmp"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_QUIET = logging.getLogger("tests.control_server")
_QUIET.disabled = True


@dataclass(frozen=True)
class Message:
    """One message from the RTMP server, as it was written."""

    kind: str
    parameters: dict[str, str]
    text: str
    at: float

    def __getitem__(self, name: str) -> str:
        return self.parameters[name]


@dataclass
class Link:
    """One connection of an RTMP server."""

    connection: ServerConnection
    headers: dict[str, str]
    external: tuple[str, int, bool]  # ip, port, ssl: how the coordinator would reach this server
    received: list[Message] = field(default_factory=list)
    channels: dict[str, str] = field(default_factory=dict)
    alive: bool = True


class ControlServer:
    """Use as a context manager; `stop` cuts every link, `start` brings it back on the same port."""

    def __init__(
        self,
        secret: str = "",
        certificates: Certificates | None = None,
        *,
        blank: bool = True,
        newline: str = "\n",
        heartbeat_s: float = 20.0,
        silence_s: float = 60.0,
    ) -> None:
        self.port = 0
        self.blank = blank  # after the colon
        self.newline = newline
        self.links: list[Link] = []
        self.attempts: list[tuple[float, str, int]] = []  # time, path, status
        self.answer: Callable[[Link, Message], None] = self._answer_by_name
        self.refuse_status: int | None = None  # refuse every link with this status
        self.close_at_once = False
        self._secret = secret
        self._certificates = certificates
        self._heartbeat_s = heartbeat_s
        self._silence_s = silence_s
        self._news = threading.Condition()
        self._counter = itertools.count(1)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base address to set."""
        return f"{'wss' if self._certificates else 'ws'}://127.0.0.1:{self.port}"

    def __enter__(self) -> ControlServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        listener.listen(16)
        self._server = serve(
            self._serve,
            sock=listener,
            ssl=self._certificates.server_context() if self._certificates else None,
            process_request=self._check,
            ping_interval=None,
            close_timeout=1,
            logger=_QUIET,
            compression=None,
        )
        self._thread = threading.Thread(target=self._accept, args=(self._server,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and cut every link as a crash would."""
        if self._server is None or self._thread is None:
            return
        server, self._server = self._server, None
        server.socket_closed.set()  # links that are being opened are turned away
        with contextlib.suppress(OSError):
            server.socket.shutdown(socket.SHUT_RDWR)  # wakes accept() where sockets are not gevent's
        server.socket.close()
        self._thread.join(5)
        for one in (server.shutdown_watcher, server.shutdown_notifier):
            one.close()
        self.drop()

    @staticmethod
    def _accept(server: Server) -> None:
        # Not `serve_forever`: it never closes its selector, and with gevent's that leaves a live watcher on
        # the number of a closed descriptor. libev aborts the process when it meets one (gevent 26.9,
        # websockets 17.4).
        while True:
            try:
                connection, address = server.socket.accept()
            except OSError:
                return
            threading.Thread(target=server.handler, args=(connection, address), daemon=True).start()

    # what a test may ask for

    def wait_for(
        self, kind: str, count: int = 1, timeout_s: float = 5, where: Mapping[str, str] | None = None
    ) -> list[Message]:
        """Wait for so many messages of a type on all links together; return those that came."""

        def found() -> list[Message]:
            wanted = (where or {}).items()
            return [one for one in self.messages(kind) if wanted <= one.parameters.items()]

        with self._news:
            self._news.wait_for(lambda: len(found()) >= count, timeout_s)
            return found()

    def wait_for_link(self, count: int = 1, timeout_s: float = 15) -> Link:
        """Wait for the connection of that number; return it."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.links) >= count, timeout_s), "no link"
            return self.links[count - 1]

    def wait_for_loss(self, link: Link, timeout_s: float = 5) -> bool:
        """Wait until a link has ended."""
        with self._news:
            return self._news.wait_for(lambda: not link.alive, timeout_s)

    def messages(self, kind: str) -> list[Message]:
        """Return what came so far, of one type."""
        return [one for link in self.links for one in link.received if one.kind == kind]

    def accept(self, link: Link, request: Message, stream_id: str | None = None) -> str:
        """Accept a request; return the stream id."""
        stream_id = stream_id if stream_id is not None else self._new_stream_id()
        channel = request["Stream-Channel"]
        link.channels[channel] = stream_id
        self.send(
            link,
            "PUBLISH-ACCEPT",
            {"Request-ID": request["Request-ID"], "Stream-Channel": channel, "Stream-ID": stream_id},
        )
        return stream_id

    def deny(self, link: Link, request: Message) -> None:
        """Deny a request."""
        parameters = {"Request-ID": request["Request-ID"], "Stream-Channel": request["Stream-Channel"]}
        self.send(link, "PUBLISH-DENY", parameters)

    def kill(self, channel: str, stream_id: str | None = None) -> None:
        """Send STREAM-KILL on every link; None leaves the parameter out."""
        parameters = {"Stream-Channel": channel}
        if stream_id is not None:
            parameters["Stream-Id"] = stream_id
        for link in self.links:
            if link.alive:
                self.send(link, "STREAM-KILL", parameters)

    def send(self, link: Link, kind: str, parameters: Mapping[str, str] | None = None) -> None:
        """Send a message in this server's spelling."""
        colon = ": " if self.blank else ":"
        lines = [kind, *(f"{name}{colon}{value}" for name, value in (parameters or {}).items())]
        self.send_text(link, self.newline.join(lines))

    def send_text(self, link: Link, text: str | bytes) -> None:
        """Send a frame as it is: text for `str`, binary for `bytes`."""
        with contextlib.suppress(ConnectionClosed):
            link.connection.send(text)

    def send_raw(self, link: Link, data: bytes) -> None:
        """Send bytes that are no frame."""
        link.connection.socket.sendall(data)

    def drop(self) -> None:
        """Cut the TCP connection of every link, without a close frame."""
        for link in self.links:
            if link.alive:
                with contextlib.suppress(OSError):
                    reset = struct.pack("ii", 1, 0)
                    link.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    link.connection.socket.shutdown(socket.SHUT_RDWR)

    # the coordinator's own behaviour

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        status, text = self._verdict(request)
        self.attempts.append((time.monotonic(), request.path, status))
        with self._news:
            self._news.notify_all()
        return None if status == 101 else connection.respond(http.HTTPStatus(status), text)

    def _verdict(self, request: Request) -> tuple[int, str]:
        if request.path == "/":
            return 200, "control server double 1.0"
        if request.path != PATH:  # a query string too
            return 404, "Not found."
        if self.refuse_status is not None:
            return self.refuse_status, "refused by the test"
        if self._secret:
            try:
                claims = tokens.verify(request.headers.get("x-control-auth-token", ""), self._secret)
            except tokens.BadToken:
                return 403, "Invalid authentication token."
            if claims.get("sub") != "rtmp-control":
                return 403, "Invalid authentication token."
        return 101, ""

    def _serve(self, connection: ServerConnection) -> None:
        assert connection.request
        if self.close_at_once:
            return
        headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        link = Link(connection, headers, _external(headers, connection.remote_address[0]))
        with self._news:
            self.links.append(link)
            self._news.notify_all()
        ended = threading.Event()
        beats = threading.Thread(target=self._beat, args=(link, ended), daemon=True)
        beats.start()
        try:
            while True:
                data = connection.recv(timeout=self._silence_s)
                if isinstance(data, str):
                    self._take(link, data)
        except (TimeoutError, ConnectionClosed, OSError):
            pass  # the handler's end closes the connection
        finally:
            ended.set()
            with self._news:
                link.alive = False
                link.channels.clear()
                self._news.notify_all()
            beats.join(5)

    def _beat(self, link: Link, ended: threading.Event) -> None:
        while not ended.wait(self._heartbeat_s):
            self.send(link, "HEARTBEAT")

    def _take(self, link: Link, text: str) -> None:
        kind, *lines = text.split("\n")
        parameters = {}
        for line in lines:
            name, _, value = line.partition(":")
            parameters[name.strip()] = value.strip()
        message = Message(kind, parameters, text, time.monotonic())
        if kind == "PUBLISH-END":
            link.channels.pop(message["Stream-Channel"], None)  # the stream id is not compared
        with self._news:
            link.received.append(message)
            self._news.notify_all()
        if kind == "PUBLISH-REQUEST":
            self.answer(link, message)

    def _answer_by_name(self, link: Link, request: Message) -> None:
        channel, key = request["Stream-Channel"], request["Stream-Key"]
        if channel.startswith("mute"):
            return
        is_open = any(channel in one.channels for one in self.links)
        valid = _ID.fullmatch(channel) and _ID.fullmatch(key)
        if channel.startswith("deny") or is_open or not valid:
            self.deny(link, request)
        else:
            self.accept(link, request)

    def _new_stream_id(self) -> str:
        return f"{int(time.time() * 1000):016x}{next(self._counter):08x}{secrets.token_hex(4)}"


def _external(headers: Mapping[str, str], peer: str) -> tuple[str, int, bool]:
    ip = headers.get("x-external-ip", "")
    port = headers.get("x-custom-port", "")
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
        peer = ip
    return peer, int(port) if port.isdigit() else 1935, headers.get("x-ssl-use") == "true"
