"""A web server on loopback that gives what it is told: key sets, errors, nothing."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.server import StreamServer


class KeyServer:
    """Use as a context manager. `body` and `status` may be changed at any time; body None never answers."""

    def __init__(self) -> None:
        self.status = 200
        self.body: bytes | None = b""
        self.asked = 0
        self._server = StreamServer(("127.0.0.1", 0), self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/keys"

    def __enter__(self) -> KeyServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(timeout=1)

    def _serve(self, connection: Any, address: object) -> None:
        while b"\r\n\r\n" not in connection.recv(65536):
            pass
        self.asked += 1
        if self.body is None:
            gevent.sleep(60)
            return
        head = f"HTTP/1.1 {self.status} Whatever\r\nContent-Length: {len(self.body)}\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + self.body)
        connection.close()
