"""What every answer says to browsers, and answers that no route makes. Pure."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

SERVER: Final = "rtmpsrv"
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# On all answers: JSON that a browser shows is a page to it, too.
ALWAYS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
NOT_KEPT: Final = "no-store"  # Cache-Control, where a route says nothing else


def reason_of(status: int) -> str:
    """Return the words that go with a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def error_body(sentence: str) -> bytes:
    """Return an error as the API tells it."""
    return json.dumps({"status": "error", "error": sentence}, ensure_ascii=False).encode() + b"\n"


def last_answer(status: int, sentence: str) -> bytes:
    """Return a whole answer after which the connection is closed."""
    body = error_body(sentence)
    fields = {
        "Server": SERVER,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": NOT_KEPT,
        "Connection": "close",
        **ALWAYS,
    }
    lines = [
        f"HTTP/1.1 {status} {reason_of(status)}",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
