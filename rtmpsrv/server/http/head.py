"""The head of a request: bytes to values, or a refusal. Pure; never blocks.

h11 reads it. What two readers could take for different requests is refused before, by its looks: a proxy in
front may be the other reader. No request here has a body, so one that announces any is the last of its
connection, and the body is never read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import h11

from .forwarded import FOR, HOST, PROTO

MAX_HEAD_BYTES: Final = 16384  # tokens and cookies are long
MAX_PARAMETERS: Final = 32  # of one query; backends use a handful
END: Final = b"\r\n\r\n"
_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
ALLOWED: Final = "GET, HEAD, OPTIONS"
_LISTS: Final = frozenset(("connection", FOR, PROTO, HOST))  # may be there several times, and count all

# A request line that nobody takes for anything else.
_USUAL: Final = re.compile(rb"(GET|HEAD|OPTIONS) (/[\x21-\x3e\x40-\x7e]*)(\?[\x21-\x7e]*)? HTTP/1\.1")
MAX_KNOWN: Final = 200  # fields that were read before, of different requests: 1 MB at most
MAX_KNOWN_BYTES: Final = 1024  # of each, in so many lines, which make it 5 KB: each is two texts in a table
MAX_KNOWN_LINES: Final = 20


class BadRequest(Exception):
    """A request that is answered with a status, and is the last of its connection."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request."""

    method: str
    path: str  # as it was sent
    query: str = field(repr=False)  # as it was sent: it holds secrets
    headers: Mapping[str, str] = field(
        repr=False
    )  # by names in small letters; of several, the first but for lists
    is_old: bool = False  # HTTP/1.0
    keeps: bool = True  # whether the connection may go on

    @property
    def is_websocket(self) -> bool:
        """Whether it asks for a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    def parameters(self) -> dict[str, str]:
        """Return what the query says, decoded; of several with one name the first counts."""
        found: dict[str, str] = {}
        for pair in self.query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
            name, _mark, value = pair.partition("=")
            if name:
                found.setdefault(unquote(name), unquote(value))
        return found


def read_head(raw: bytes) -> Head:
    """Read all up to and with the empty line. Raises BadRequest."""
    line, _end, fields = raw.partition(b"\r\n")
    usual = _USUAL.fullmatch(line)
    if usual is None or len(fields) > MAX_KNOWN_BYTES or fields.count(b"\n") > MAX_KNOWN_LINES + 1:
        return _read_all(raw)
    known = _read_fields(fields)
    method, path, query = usual[1].decode(), usual[2].decode(), usual[3]
    return Head(method, path, query[1:].decode() if query else "", known.headers, False, known.keeps)


@lru_cache(maxsize=MAX_KNOWN)
def _read_fields(fields: bytes) -> Head:
    """Read what is behind a usual request line: players send the same again and again."""
    return _read_all(b"GET / HTTP/1.1\r\n" + fields)


def _read_all(raw: bytes) -> Head:
    _check_lines(raw)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        connection.receive_data(raw)
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        raise BadRequest(exc.error_status_hint, "This is no request of HTTP/1.1") from exc
    if not isinstance(event, h11.Request):
        raise BadRequest(400, "This is no request of HTTP/1.1")
    if event.http_version not in (b"1.0", b"1.1"):
        raise BadRequest(505, "This is no request of HTTP/1.1")
    headers: dict[str, str] = {}
    for name, value in event.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        if key in headers and key in _LISTS:
            headers[key] += f", {text}"
        else:
            headers.setdefault(key, text)
    method = event.method.decode("latin-1")
    if method not in _METHODS:
        raise BadRequest(405, "Streams are there to be watched: GET, HEAD and OPTIONS are all there is")
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise BadRequest(413, "No request here has a body")
    target = event.target.decode("latin-1")
    path, _mark, query = target.partition("?")
    is_old = event.http_version != b"1.1"
    wishes = [one.strip().lower() for one in headers.get("connection", "").split(",")]
    return Head(method, path, query, headers, is_old, not is_old and "close" not in wishes)


def _check_lines(raw: bytes) -> None:
    """Refuse lines that end otherwise than by CR LF, and such as go on in the next."""
    if raw.count(b"\n") != raw.count(b"\r\n") or raw.count(b"\r") != raw.count(b"\r\n") or b"\0" in raw:
        raise BadRequest(400, "Lines of HTTP end in CR and LF")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        raise BadRequest(400, "Lines of HTTP do not go on in the next")
