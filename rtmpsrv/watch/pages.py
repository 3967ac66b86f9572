"""The viewers' pages: a few files that are ours, and the list of channels. Holds no stream, never blocks.

A channel's page is the same for all channels, whether there is one of that name or not: its script asks for
the stream, and says what the server answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

from rtmpsrv.server.http.routes import LIST, PAGE, STATIC

FILES = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE_FILE, LIST_FILE, ICON = "watch.html", "list.html", "icon.svg"
ALIASES = {"favicon.ico": ICON}  # what browsers ask for by themselves
MOST_LISTED = 500  # channels; a page with more is of no use to anybody

# Nothing from elsewhere, nothing inline. `blob:` is where media sources are found.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors "
)
EMBEDDED_POLICY = _POLICY + "*"  # the page of a channel may be in anybody's frame: it has a code for that
POLICY = _POLICY + "'none'"
COMMON = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),  # keys are in addresses
)

Headers = Sequence[tuple[str, str]]


class Route(Protocol):
    """What a path means."""

    @property
    def rest(self) -> str:
        """What follows the channel, or the name of a file."""


class Request(Protocol):
    """What a viewer asks for."""

    @property
    def route(self) -> Route:
        """What its path means."""

    @property
    def query(self) -> Mapping[str, str]:
        """What follows the path; values may be secrets."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, names in small letters."""


class Reply(Protocol):
    """How it is answered."""

    def send(self, status: int, body: bytes = b"", type: str = "", headers: Headers = ()) -> None:
        """Send a whole answer."""


Handler = Callable[[Request, Reply], None]


class Site(Protocol):
    """Who gives requests to handlers."""

    def add(self, kind: str, handler: Handler) -> None:
        """Let a handler answer what is of a kind."""


class _File(NamedTuple):
    body: bytes
    type: str
    tag: str


class Pages:
    """Answers for pages and files."""

    def __init__(self, listed: Callable[[], Iterable[str] | None]) -> None:
        """`listed` returns the channels on the air that anybody may know of, or None when nobody may."""
        self._listed = listed

    @cached_property
    def _files(self) -> dict[str, _File]:
        """Read at the first request, and kept: there is nothing else that a path could reach."""
        return {path.name: _read(path) for path in FILES.iterdir() if path.suffix in TYPES}

    def add_to(self, site: Site) -> None:
        """Let a site answer with them."""
        site.add(PAGE, self.page)
        site.add(LIST, self.list)
        site.add(STATIC, self.static)

    def page(self, request: Request, reply: Reply) -> None:
        """Answer with the page of a channel."""
        self._send(PAGE_FILE, EMBEDDED_POLICY, request, reply)

    def list(self, request: Request, reply: Reply) -> None:
        """Answer with the page of all channels, or with `?format=json` with what it shows."""
        if request.query.get("format") == "json":
            headers = (("Cache-Control", "no-store"), *COMMON)
            reply.send(200, json.dumps(self._channels()).encode(), "application/json", headers)
        else:
            self._send(LIST_FILE, POLICY, request, reply)

    def static(self, request: Request, reply: Reply) -> None:
        """Answer with one of our files, or 404."""
        name = request.route.rest
        self._send(ALIASES.get(name, name), POLICY, request, reply)

    def _send(self, name: str, policy: str, request: Request, reply: Reply) -> None:
        """Send a file; a browser asks each time whether it is still the same."""
        file = self._files.get(name)
        if file is None:
            reply.send(404, b"There is no such file.\n", "text/plain; charset=utf-8", COMMON)
            return
        headers = (
            ("Cache-Control", "no-cache"),
            ("ETag", file.tag),
            ("Content-Security-Policy", policy),
            *COMMON,
        )
        if file.tag in _tags(request.headers.get("if-none-match", "")):
            reply.send(304, b"", file.type, headers)
        else:
            reply.send(200, file.body, file.type, headers)

    def _channels(self) -> dict[str, object]:
        listed = self._listed()
        if listed is None:
            return {"listed": False, "channels": []}
        return {"listed": True, "channels": [{"name": name} for name in sorted(listed)[:MOST_LISTED]]}


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')


def _tags(header: str) -> set[str]:
    """Return the tags of If-None-Match; proxies that compress make them weak."""
    return {one.strip().removeprefix("W/") for one in header.split(",")}
