"""Trusted peers that behave until they are told not to.

`python -m tests.hostile.services callback|control|redis`: they tell the settings with which a server finds
them, then wait for orders `go MODE SECONDS`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from .attacker import NICE
from .wire import HOST
from .worker import Orders, tell

CALLBACK_S = 1  # the deadline that the server under attack is given
DRIP_S = 0.2
SECRET = "s" * 32
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
TEXT, BINARY, PING, PONG, CONTINUATION = 1, 2, 9, 10, 0
REDIS_CHANNEL = b"rtmp_commands"


class Service:
    """Accepts connections, each in a thread; `hostile` says how to misbehave at the moment."""

    def __init__(self) -> None:
        """Listen."""
        self._mode = ""
        self._until = 0.0
        self._turned = threading.Event()
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hostile(self) -> str:
        """Return the mode, "" while it behaves."""
        return self._mode if monotonic() < self._until else ""

    def turn(self, mode: str, seconds: float) -> None:
        """Be hostile for so long, and return when it is over."""
        self._mode, self._until = mode, monotonic() + seconds
        self._turned.set()
        threading.Event().wait(seconds)
        self._turned.clear()

    def settings(self) -> dict[str, str]:
        """Return what the server under attack needs."""
        raise NotImplementedError

    def serve(self, connection: socket.socket) -> None:
        """Serve one connection to its end."""
        raise NotImplementedError

    def flood(self, connection: socket.socket, floods: dict[str, tuple[bytes, bytes]]) -> None:
        """Each time it is to be hostile, send the beginning once, then the rest over and over."""
        while True:
            self._turned.wait()
            mode = self._mode
            begin, each = floods[mode]
            connection.sendall(begin)
            while self.hostile() == mode:
                connection.sendall(each)
            while self._turned.is_set():
                threading.Event().wait(0.01)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the server hung up, as it may
            self.serve(connection)


class Callback(Service):
    """An HTTP server that accepts every publisher."""

    def settings(self) -> dict[str, str]:
        url = f"http://{HOST}:{self.port}/callback"
        return {"CALLBACK_URL": url, "JWT_SECRET": SECRET, "CALLBACK_TIMEOUT_SECONDS": str(CALLBACK_S)}

    def serve(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        mode = self.hostile()
        if not mode:
            answer = b"HTTP/1.1 200 OK\r\nstream-id: s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            connection.sendall(answer)
            return
        begin, each, rest_s = {
            "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, 0.0),
            "headers": (b"HTTP/1.1 200 OK\r\n", b"x-y: z\r\n" * 8000, 0.0),
            "drip": (b"HTTP/1.1 200 OK\r\nx: ", b"y", DRIP_S),
            "body": (b"HTTP/1.1 200 OK\r\nstream-id: s\r\n\r\n", b"z" * 65536, 0.0),
        }[mode]
        connection.sendall(begin)
        while self.hostile():
            connection.sendall(each)
            if rest_s:
                threading.Event().wait(rest_s)


class Control(Service):
    """A control server that accepts every publisher."""

    def settings(self) -> dict[str, str]:
        base = f"ws://{HOST}:{self.port}/"
        return {"CONTROL_USE": "YES", "CONTROL_BASE_URL": base, "CONTROL_SECRET": SECRET}

    def serve(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536) or b"\r\n\r\n"
        lines = [line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")]
        digest = hashlib.sha1(lines[0].split(b":")[1].strip() + WEBSOCKET_GUID).digest()
        connection.sendall(
            b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        threading.Thread(target=_quietly(lambda: self._answer(connection)), daemon=True).start()
        accept = b"".join(
            _frame(TEXT, b"PUBLISH-ACCEPT\nRequest-ID: %d\nStream-ID: z" % n) for n in range(1000, 4000)
        )
        floods = {
            "kills": (b"", _frame(TEXT, b"STREAM-KILL\nStream-Channel: nobody\nStream-ID: x") * 2000),
            "pings": (b"", _frame(PING, b"p" * 100) * 2000),
            "pongs": (b"", _frame(PONG, b"p" * 100) * 2000),
            "empty": (b"", _frame(TEXT, b"") * 30_000),
            "fragments": (_frame(TEXT, b"a", last=False), _frame(CONTINUATION, b"", last=False) * 30_000),
            "accepts": (b"", accept),
            "denies": (b"", accept.replace(b"ACCEPT", b"DENY\n\n")),  # of the same length
            "not_utf8": (b"", _frame(TEXT, b"\xff\xfe\xfd" * 1000)),
            "binary": (b"", _frame(BINARY, b"b" * 10) * 5000),
            "long_texts": (b"", _frame(TEXT, b"ERROR\n" + b"x" * 1_000_000)),
        }
        self.flood(connection, floods)

    def _answer(self, connection: socket.socket) -> None:
        while True:
            first, second = _exactly(connection, 2)
            size = second & 127
            if size == 126:
                size = int.from_bytes(_exactly(connection, 2), "big")
            mask = _exactly(connection, 4)
            text = bytes(byte ^ mask[at & 3] for at, byte in enumerate(_exactly(connection, size)))
            if first & 15 == TEXT and text.startswith(b"PUBLISH-REQUEST"):
                (number,) = (line for line in text.split(b"\n") if line.startswith(b"Request-ID"))
                connection.sendall(_frame(TEXT, b"PUBLISH-ACCEPT\n" + number + b"\nStream-ID: s"))


class Redis(Service):
    """A Redis that can be subscribed to."""

    def settings(self) -> dict[str, str]:
        return {"REDIS_USE": "YES", "REDIS_HOST": HOST, "REDIS_PORT": str(self.port)}

    def serve(self, connection: socket.socket) -> None:
        threading.Thread(target=_quietly(lambda: self._answer(connection)), daemon=True).start()
        begin = b"*3\r\n" + b"".join(
            b"$%d\r\n%b\r\n" % (len(part), part) for part in (b"message", REDIS_CHANNEL)
        )
        floods = {
            "bulk": (begin + b"$2000000000\r\n", b"z" * 1_000_000),
            "commands": (b"", (begin + b"$14\r\nkill-session>x\r\n") * 2000),
            "line": (b"+", b"y" * 65536),
            "nested": (b"", b"*1\r\n" * 20_000),
            "elements": (b"*1000000000\r\n", b":1\r\n" * 20_000),
        }
        self.flood(connection, floods)

    def _answer(self, connection: socket.socket) -> None:
        while data := connection.recv(65536).upper():
            if b"SUBSCRIBE" in data:
                subscribed = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n"
                connection.sendall(subscribed % (len(REDIS_CHANNEL), REDIS_CHANNEL))
            elif b"PING" in data:
                connection.sendall(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
            else:
                connection.sendall(b"+OK\r\n" * max(1, data.count(b"*")))


def _frame(kind: int, data: bytes, *, last: bool = True) -> bytes:
    size = len(data)
    if size < 126:
        length = bytes((size,))
    else:
        length = b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
    return bytes((last << 7 | kind,)) + length + data


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("end of stream")
        data += more
    return data


def _quietly(work: Callable[[], None]) -> Callable[[], None]:
    """Return work whose connection may break."""

    def run() -> None:
        with suppress(OSError):  # the server hung up, as it may
            work()

    return run


SERVICES: dict[str, type[Service]] = {"callback": Callback, "control": Control, "redis": Redis}


def main() -> None:
    """Be the service that the argument names, until the starter goes."""
    os.nice(NICE)
    service = SERVICES[sys.argv[1]]()
    orders = Orders()
    tell(settings=service.settings())
    while True:
        _, mode, seconds = orders.next()
        service.turn(mode, float(seconds))
        tell(done=mode, complaints=[])


if __name__ == "__main__":
    main()
