"""Answers, as bytes: heads, whole answers, and what a refusal is in HTTP. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from rtmpsrv.errors import AccessDenied, NoRoom, NotThere

Headers = Iterable[tuple[str, str]]

TEXT: Final = "text/plain; charset=utf-8"
FLV_TYPE: Final = "video/x-flv"

# In force on every answer: keys are in URLs, and what is live is never kept by anybody.
ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)
# nginx holds bodies back otherwise.
OF_STREAMS: Final = (("X-Accel-Buffering", "no"),)
MAX_KNOWN: Final = 256  # heads, 1 MB at most; who watch together get the same
_MAX_AGE_S: Final = 86400  # of an answer to OPTIONS
_ALLOWED_HEADERS: Final = "Authorization, Range, If-None-Match, Cache-Control, Content-Type"


def head(status: int, headers: Headers) -> bytes:
    """Return the head of an answer; the empty line ends it. What is no header raises ValueError."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    for name, value in headers:
        if not value.isprintable() or not value.isascii():
            raise ValueError(f"{name}: no value of a header")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


@lru_cache(maxsize=MAX_KNOWN)
def known_head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the head of an answer with what all have.

    Remembered, and some 3 KB each: no header that a peer may choose.
    """
    return head(status, with_defaults(headers))


def with_defaults(headers: Headers) -> list[tuple[str, str]]:
    """Return headers with those that all answers have, where they say nothing else."""
    given = list(headers)
    names = {name.lower() for name, _value in given}
    return [*given, *(one for one in ALWAYS if one[0].lower() not in names)]


def status_of(denial: AccessDenied) -> int:
    """Return what a refusal is in HTTP."""
    if isinstance(denial, NoRoom):
        return 503
    return 404 if isinstance(denial, NotThere) else 403


def allows(origin: str, rule: str) -> bool:
    """Tell whether pages of an origin may read answers, by HTTP_ALLOW_ORIGIN: `*`, or some, with commas."""
    return rule == "*" or origin in [one.strip() for one in rule.split(",")]


def cross_origin(origin: str, rule: str) -> list[tuple[str, str]]:
    """Return what lets pages of other origins read an answer; nothing where they may not."""
    if not rule:
        return []
    if rule == "*":
        return [("Access-Control-Allow-Origin", "*"), ("Cross-Origin-Resource-Policy", "cross-origin")]
    vary = [("Vary", "Origin")]
    if not origin or not allows(origin, rule):
        return vary
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Cross-Origin-Resource-Policy", "cross-origin"),
        *vary,
    ]


def options(allowed: str) -> list[tuple[str, str]]:
    """Return what OPTIONS is told besides."""
    return [
        ("Allow", allowed),
        ("Access-Control-Allow-Methods", allowed),
        ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
        ("Access-Control-Max-Age", str(_MAX_AGE_S)),
    ]
