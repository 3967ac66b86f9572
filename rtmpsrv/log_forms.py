"""The forms of log lines: text for people, and JSON, one object a line, for collectors. Never blocks.

Both bound a line to what a pipe takes whole, and escape what could end it or steer a terminal, since peers
choose part of the text. The JSON is ASCII, so that it is the same whatever the locale; the standard library
does all that is needed for it, and a library more would be imported by every process.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

MAX_LINE_BYTES = 4096  # PIPE_BUF of Linux: up to this, a pipe takes a line whole or not at all
_CUT = "..."

TRACE = 5  # below logging.DEBUG
_LEVEL_NAMES = {TRACE: "TRACE"}


class Form(Protocol):
    """How records become lines, each with its end."""

    def lines(self, record: logging.LogRecord, process: str) -> list[str]:
        """Write a record; `process` is the name of the process if it is one of several, else "".

        Raises what `%` raises where message and arguments do not fit.
        """

    def line(self, level: str, text: str, process: str = "") -> str:
        """Write a line that no record stands for."""


class TextForm:
    """`[2026-01-31 12:00:05] [SERVER:TCP] [#1] [INFO] text`, in local time."""

    def lines(self, record: logging.LogRecord, process: str) -> list[str]:
        """Make the text of a record, and each line of its traceback, a line of its own."""
        texts = [record.getMessage()]
        if record.exc_info:
            texts += logging.Formatter().formatException(record.exc_info).split("\n")
        prefix = _process_prefix(process) + getattr(record, "prefix", "")
        return [_text_line(_level(record), text, prefix, record.created) for text in texts]

    def line(self, level: str, text: str, process: str = "") -> str:
        """Write a line that no record stands for."""
        return _text_line(level, text, _process_prefix(process))


class JsonForm:
    """`{"time": "2026-01-31T11:00:05.123Z", "level": "INFO", ...}`: one object, traceback and all."""

    def lines(self, record: logging.LogRecord, process: str) -> list[str]:
        """Write a record, what it says of a connection (`fields`) beside its text."""
        content = _json_head(_level(record), process, record.created)
        content |= _where_from(getattr(record, "prefixes", ()))
        content["message"] = _start(record.getMessage())
        fields: Mapping[str, object] = getattr(record, "fields", {})
        content |= {name: _plain(value) for name, value in fields.items() if name not in content}
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)[-MAX_LINE_BYTES:].split("\n")
            content["traceback"] = "\n".join(printable(line) for line in trace)
        return [_json_line(content)]

    def line(self, level: str, text: str, process: str = "") -> str:
        """Write a line that no record stands for."""
        return _json_line(_json_head(level, process, time.time()) | {"message": _start(text)})


FORMS: dict[str, Form] = {"text": TextForm(), "json": JsonForm()}  # by LOG_FORMAT


def printable(text: str) -> str:
    """Escape what could end the line or steer a terminal; peers choose part of the text."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def _level(record: logging.LogRecord) -> str:
    return _LEVEL_NAMES.get(record.levelno, record.levelname)


def _process_prefix(process: str) -> str:
    return f"[{process}] " if process else ""


def _text_line(level: str, text: str, prefix: str = "", created: float | None = None) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created))
    return _bounded(f"[{when}] {prefix}[{level}] {printable(text)}") + "\n"


def _bounded(line: str) -> str:
    if len(line) * 4 < MAX_LINE_BYTES:  # a character is four bytes of UTF-8 at most
        return line
    encoded = line.encode()
    if len(encoded) < MAX_LINE_BYTES:
        return line
    return encoded[: MAX_LINE_BYTES - len(_CUT) - 1].decode(errors="ignore") + _CUT


def _json_head(level: str, process: str, created: float) -> dict[str, object]:
    when = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    head: dict[str, object] = {"time": when.removesuffix("+00:00") + "Z", "level": level}
    return head | {"process": process} if process else head


def _where_from(prefixes: tuple[str, ...]) -> dict[str, object]:
    """Name the part of the server and the number of the connection, as the text form's prefixes do."""
    where: dict[str, object] = {}
    for prefix in prefixes:
        if prefix.startswith("#") and prefix[1:].isdecimal():
            where["session"] = int(prefix[1:])
        else:
            where["logger"] = prefix
    return where


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3)
    return _start(str(value))


def _start(text: str) -> str:
    """Give what may fit of a text: one that is cut here is cut again, and marked, since it is too long."""
    return printable(text[:MAX_LINE_BYTES])


def _json_line(content: dict[str, object]) -> str:
    """Write an object; if that is too long its longest texts are cut, a traceback at its beginning."""
    line = json.dumps(content)
    for _ in content:  # mostly one is enough
        excess = len(line) - MAX_LINE_BYTES + 1
        if excess <= 0:
            break
        texts = {name: text for name, text in content.items() if isinstance(text, str)}
        name = max(texts, key=lambda one: _json_size(texts[one]))
        room = _json_size(texts[name]) - excess - len(_CUT)
        content[name] = _shortened(texts[name], room, at_its_beginning=name == "traceback")
        line = json.dumps(content)
    return line + "\n"


def _json_size(text: str) -> int:
    return len(json.dumps(text)) - 2  # the quotes


def _shortened(text: str, room: int, *, at_its_beginning: bool) -> str:
    """Leave of a text what takes so many bytes of JSON; an escape is kept whole or not at all."""
    kept = 0
    for char in reversed(text) if at_its_beginning else text:
        room -= _json_size(char)
        if room < 0:
            break
        kept += 1
    if at_its_beginning:
        return _CUT + text[len(text) - kept :]
    return text[:kept] + _CUT
