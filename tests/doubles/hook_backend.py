"""Backends on loopback as people have them for nginx-rtmp, SRS and MediaMTX: note what came, answer.

What each reads and answers is written from those servers' documents, not from this project's code.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

Fields = dict[str, Any]


@dataclass
class Said:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class HookBackend:
    """Use as a context. What it says is up to `says`, which a test may change at any time."""

    event_field = ""  # which field names the event

    def __init__(self) -> None:
        self.received: list[Fields] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.says: Callable[[Fields], Said] = lambda fields: self.yes()
        self._news = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def __enter__(self) -> HookBackend:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    # --- the ways of each --------------------------------------------------------------------------

    def read(self, body: bytes, content_type: str) -> Fields:
        """Return the fields of a request, as such a backend reads them."""
        raise NotImplementedError

    def yes(self) -> Said:
        return Said()

    def no(self, reason: str = "") -> Said:
        """Refuse, with a reason in the JSON that any of them may add."""
        if not reason:
            return Said(403)
        return Said(403, json.dumps({"reason": reason}).encode(), {"content-type": "application/json"})

    def rename(self, name: str) -> Said:
        """Accept under another channel."""
        said = json.dumps({"channel": name}).encode()
        return Said(200, said, {"content-type": "application/json"})

    # --- what came ---------------------------------------------------------------------------------

    def events(self, event: str) -> list[Fields]:
        return [one for one in list(self.received) if one[self.event_field] == event]

    def wait_for(self, event: str, count: int = 1, timeout_s: float = 10) -> list[Fields]:
        """Return the events of that name once there are so many."""
        with self._news:
            came = self._news.wait_for(lambda: len(self.events(event)) >= count, timeout_s)
        assert came, f"no {event}, but {[one[self.event_field] for one in self.received]}"
        return self.events(event)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> Said:
        fields = self.read(body, headers.get("content-type", ""))
        said = self.says(fields)
        with self._news:
            self.received.append(fields)
            self.paths.append(path)
            self.headers.append(headers)
            self._news.notify_all()
        return said


class NginxBackend(HookBackend):
    """PHP or the like behind `on_publish http://...`."""

    event_field = "call"

    def read(self, body: bytes, content_type: str) -> Fields:
        assert content_type == "application/x-www-form-urlencoded"
        return dict(parse_qsl(body.decode(), keep_blank_values=True))

    def rename(self, name: str) -> Said:
        return Said(302, b"", {"location": name})


class SrsBackend(HookBackend):
    """Behind `http_hooks`."""

    event_field = "action"

    def read(self, body: bytes, content_type: str) -> Fields:
        assert content_type == "application/json"
        return dict(json.loads(body))

    def yes(self) -> Said:
        return Said(200, b'{"code": 0, "msg": "OK"}')

    def no(self, reason: str = "") -> Said:
        return Said(200, json.dumps({"code": 403, "msg": reason}).encode())

    def rename(self, name: str) -> Said:
        return Said(200, json.dumps({"code": 0, "channel": name}).encode())


class MediaMtxBackend(HookBackend):
    """Behind `authHTTPAddress`."""

    event_field = "action"

    def read(self, body: bytes, content_type: str) -> Fields:
        assert content_type == "application/json"
        return dict(json.loads(body))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], owner: HookBackend) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Peers that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = self.server.owner.take(self.path, headers, body)
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body)


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for what happens in another process, or thread."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
