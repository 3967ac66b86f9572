"""Viewers by HTTP in every form, each from an address of its own: who is let in, and how they end."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from itertools import count
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from websocket import ABNF, WebSocket, WebSocketBadStatusException, create_connection

FORMS = ("flv", "ws-flv", "mp4", "ws-mp4", "hls", "jpg")
PATIENCE_S = 20.0
GOOD, REFUSED, FULL = 200, 403, 503
POLICY = 1008  # how a WebSocket of FLV ends that is refused: its answer had been given
_PATHS = {"flv": ".flv", "mp4": ".mp4", "hls": "/index.m3u8", "jpg": ".jpg"}
_numbers = count()


def own_address() -> str:
    """Return an address of loopback that nobody else has used."""
    number = next(_numbers)
    return f"127.1.{number // 200}.{number % 200 + 1}"


def refused(form: str, status: int) -> int:
    """Return how a refusal with a status looks in a form."""
    return POLICY if form == "ws-flv" else status


class Viewer:
    """One of them; use as a context. `status` is that of the answer, or the code that ended a WebSocket."""

    def __init__(
        self,
        port: int,
        form: str,
        channel: str,
        query: str = "",
        *,
        source: str = "",
        headers: dict[str, str] | None = None,
        before: bytes = b"",
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Ask, and wait for the answer; for the first bytes of a stream, too. `before` goes ahead of TLS."""
        self.text = ""
        self.headers: dict[str, str] = {}
        self.status = 0
        self._websocket: WebSocket | None = None
        self._answer: HTTPResponse | None = None
        self._socket = socket.create_connection(
            ("127.0.0.1", port), PATIENCE_S, source_address=(source or own_address(), 0)
        )
        try:
            self._socket.sendall(before)
            if context is not None:
                self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
            path = f"/{channel}{_PATHS[form.removeprefix('ws-')]}?{query}"
            if form.startswith("ws-"):
                self._converse(path, headers or {})
            else:
                self._get(path, headers or {}, form)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave at once."""
        if self._answer is not None:
            self._answer.close()  # it has the socket, too
        self._socket.close()

    def more(self, count: int) -> bytes:
        """Return more of a stream by HTTP."""
        assert self._answer is not None
        return self._answer.read(count)

    def wait_for_end(self) -> int:
        """Read to the end of a stream; return the code that ends a WebSocket, 0 for anything else."""
        if self._websocket is not None:
            with suppress(OSError):
                while True:
                    code, _data = self._message()
                    if code:
                        return code
            return 0
        assert self._answer is not None
        with suppress(HTTPException, OSError):  # a stream that is cut is no whole answer
            while self._answer.read(65536):
                pass
        return 0

    def _get(self, path: str, headers: dict[str, str], form: str) -> None:
        connection = HTTPConnection("localhost")
        connection.sock = self._socket
        connection.request("GET", path, headers=headers)
        answer = self._answer = connection.getresponse()
        self.status, self.headers = answer.status, dict(answer.getheaders())
        if self.status == GOOD and form in ("flv", "mp4"):
            assert answer.read(1)
        else:
            self.text = answer.read().decode(errors="replace")

    def _converse(self, path: str, headers: dict[str, str]) -> None:
        try:
            self._websocket = create_connection(
                f"ws://localhost{path}", socket=self._socket, header=headers, suppress_origin=True
            )
        except WebSocketBadStatusException as exc:
            self.status, self.text = exc.status_code, bytes(exc.resp_body or b"").decode()
            return
        code, data = self._message()
        self.status = code or GOOD
        if code:
            self.text = data[2:].decode()

    def _message(self) -> tuple[int, bytes]:
        """Return the code of the next message, 0 for one that does not end it, and what it holds."""
        assert self._websocket is not None
        found: Any = self._websocket.recv_data()
        opcode, data = found
        return (int.from_bytes(data[:2]) if opcode == ABNF.OPCODE_CLOSE else 0), data


def wait_until_shown(
    port: int, channel: str, query: str = "", *, context: ssl.SSLContext | None = None
) -> None:
    """Wait until a channel can be had in every form. Raises AssertionError."""
    until = monotonic() + PATIENCE_S
    for form in FORMS:
        status = 0
        while status != GOOD:
            with Viewer(port, form, channel, query, context=context) as viewer:
                status = viewer.status
            assert monotonic() < until, f"{form}: {status} {viewer.text}"
            if status != GOOD:
                sleep(0.1)  # nothing tells when the first pictures are there
