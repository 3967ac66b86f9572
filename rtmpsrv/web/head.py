"""The head of an HTTP request: from bytes to values, without mercy. Pure.

What different readers could take for different requests is refused: a proxy before us may be one of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_HEAD_BYTES: Final = 8192  # request line and fields
MAX_FIELDS: Final = 64
MAX_BODY_BYTES: Final = 65536

_END: Final = b"\r\n\r\n"
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) (HTTP/[0-9]\.[0-9])")
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LENGTH: Final = re.compile(r"[0-9]{1,10}")
_ONCE: Final = frozenset({"host", "content-length", "transfer-encoding", "authorization", "origin"})


class BadRequest(ValueError):
    """What came is no request that is answered; the connection is closed."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body."""

    method: str
    target: str  # a path, perhaps with a query; as it came, each byte a letter
    version: str  # HTTP/1.0 or HTTP/1.1
    fields: dict[str, str]  # names in lower case; values of one name joined by commas
    body_bytes: int
    keeps: bool  # the connection, for the next request
    waits: bool  # for a word of ours, before it sends the body


def end_of(buffer: bytes | bytearray, since: int = 0) -> int:
    """Return where the head ends that a buffer begins with; -1 when more is needed. Raises BadRequest.

    What came before `since` was looked at already: a head that comes byte by byte costs no more.
    """
    end = buffer.find(_END, max(0, since - len(_END)))
    stop = len(buffer) if end < 0 else end + len(_END)
    if _BARE.search(buffer, max(0, since - 2), stop) is not None:
        raise BadRequest(400, "a line that does not end as it must")
    if stop > MAX_HEAD_BYTES:
        line = buffer.find(b"\r\n")
        if line < 0 or line > MAX_HEAD_BYTES // 2:
            raise BadRequest(414, "the request line is too long")
        raise BadRequest(431, "the header is too long")
    return end if end < 0 else stop


def parse(head: bytes) -> Head:
    """Read a whole head, its empty line included. Raises BadRequest."""
    line, *lines = head[: -len(_END)].split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise BadRequest(400, "not a request line")
    method, target, version = (part.decode("latin-1") for part in found.groups())
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1")
    if not target.startswith("/"):
        raise BadRequest(400, "the target is no path")
    fields = _fields(lines)
    if version == "HTTP/1.1" and not fields.get("host"):
        raise BadRequest(400, "Host is missing")
    asked = {word.strip().lower() for word in fields.get("connection", "").split(",")}
    return Head(
        method,
        target,
        version,
        fields,
        _body_bytes(fields),
        keeps="close" not in asked and (version == "HTTP/1.1" or "keep-alive" in asked),
        waits=version == "HTTP/1.1" and fields.get("expect", "").lower() == "100-continue",
    )


def _fields(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > MAX_FIELDS:
        raise BadRequest(431, "too many fields")
    fields: dict[str, str] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)  # not what goes on in a second line
        if found is None:
            raise BadRequest(400, "not a field")
        name, value = found[1].decode("latin-1").lower(), found[2].decode("latin-1").strip(" \t")
        if name in fields:
            if name in _ONCE:
                raise BadRequest(400, f"{name} came twice")
            value = f"{fields[name]}, {value}"
        fields[name] = value
    return fields


def _body_bytes(fields: dict[str, str]) -> int:
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        if length is None and coding.lower() == "chunked":
            raise BadRequest(411, "Content-Length is needed")
        raise BadRequest(400, "this Transfer-Encoding is not taken")
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise BadRequest(400, "Content-Length is no number")
    if int(length) > MAX_BODY_BYTES:
        raise BadRequest(413, "the body is too long")
    return int(length)
