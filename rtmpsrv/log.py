"""The log: one line per event, `[2026-01-31 12:00:05] [SERVER:TCP] [#1] [INFO] text`.

Levels are switched one by one, not by a threshold. Lines about single connections come from
`session_logger` and can be muted as a whole. Logging never fails its caller, also when nobody reads any more.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

from rtmpsrv.config import Config

TRACE = 5  # below logging.DEBUG
MAX_LINE_BYTES = 4096  # PIPE_BUF of Linux: up to this, a pipe takes a line whole or not at all
_CUT = "..."

_ROOT = "rtmpsrv"
_SESSIONS = "rtmpsrv.session"
_SILENT = logging.CRITICAL + 1
_LEVEL_NAMES = {TRACE: "TRACE"}


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with prefixes, such as `[SERVER:TCP] [#1]`."""

    def __init__(self, logger: logging.Logger, *prefixes: str) -> None:
        super().__init__(logger, {"prefix": "".join(f"[{prefix}] " for prefix in prefixes if prefix)})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Hand the prefixes to the formatter."""
        kwargs["extra"] = self.extra
        return msg, kwargs

    def trace(self, message: str, *args: object) -> None:
        """Log what is too much even for debugging: every command and data message."""
        if self.isEnabledFor(TRACE):
            self.log(TRACE, message, *args)


def get(*prefixes: str) -> Logger:
    """Give a logger for a part of the server: `get("SERVER:TCP")`, or `get()` for no prefix."""
    return Logger(logging.getLogger(_ROOT), *prefixes)


def session_logger(listener_prefix: str, session_number: int) -> Logger:
    """Give the logger of one connection; LOG_REQUESTS=NO mutes these."""
    return Logger(logging.getLogger(_SESSIONS), listener_prefix, f"#{session_number}")


def setup(config: Config | None = None, stream: TextIO | None = None) -> None:
    """Send the log to standard output (standard error with LOG_TRACE), or to `stream`.

    Without a configuration, as long as there is none, the defaults hold. May be called again.
    """
    config = config or Config()
    switches = {
        logging.ERROR: config.log_error,
        logging.WARNING: config.log_warning,
        logging.INFO: config.log_info,
        logging.DEBUG: config.log_debug,
        TRACE: config.log_trace,
    }
    enabled = {level for level, on in switches.items() if on}
    stream = stream or (sys.stderr if config.log_trace else sys.stdout)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a locale that lacks a letter must not cost the line
    handler = _LineHandler(stream, enabled)
    root = logging.getLogger(_ROOT)
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(min(enabled, default=_SILENT))
    logging.getLogger(_SESSIONS).setLevel(logging.NOTSET if config.log_requests else _SILENT)


class RateLimited:
    """Counts events that may come by the thousand and reports them at most once a second.

    The first one is reported at once; `flush` reports what was counted since. Never blocks but in `emit`.
    """

    def __init__(
        self,
        emit: Callable[[int], object],
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._interval_s = interval_s
        self._clock = clock
        self._count = 0
        self._next_at = float("-inf")

    def add(self, count: int = 1) -> None:
        """Count events, and report all that were counted when the last report is a second old."""
        self._count += count
        now = self._clock()
        if now >= self._next_at:
            self._next_at = now + self._interval_s
            self.flush()

    def flush(self) -> None:
        """Report what has not been reported yet, if anything."""
        count, self._count = self._count, 0
        if count:
            self._emit(count)


class _LineHandler(logging.Handler):
    """Writes records as lines to a stream, and goes quiet when the stream is gone."""

    def __init__(self, stream: TextIO, levels: set[int]) -> None:
        super().__init__()
        self._stream = stream
        self._levels = levels

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record if its level is switched on."""
        level = logging.ERROR if record.levelno > logging.ERROR else record.levelno
        if level not in self._levels:
            return
        try:
            for line in _lines(record):
                self._stream.write(line)
            self._stream.flush()
        except BrokenPipeError:
            self._discard()
        except (OSError, ValueError):
            pass  # a full disk, or a stream closed by whoever owns it: the server goes on without a log
        except (TypeError, KeyError, IndexError):
            self.handleError(record)  # arguments that do not fit the message: our bug

    def _discard(self) -> None:
        """Let all further output go nowhere, so that the interpreter does not fail on it at exit either."""
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            pass  # not a real file: then there is nothing that could fail at exit


def _lines(record: logging.LogRecord) -> list[str]:
    """Make the text of a record, and each line of its traceback, a line of the log of its own."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
    level = _LEVEL_NAMES.get(record.levelno, record.levelname)
    head = f"[{when}] {getattr(record, 'prefix', '')}[{level}] "
    texts = [record.getMessage()]
    if record.exc_info:
        texts += logging.Formatter().formatException(record.exc_info).split("\n")
    return [_bounded(head + _printable(text)) + "\n" for text in texts]


def _printable(text: str) -> str:
    """Escape what could end the line or steer a terminal; peers choose part of the text."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def _bounded(line: str) -> str:
    if len(line) * 4 < MAX_LINE_BYTES:  # a character is four bytes of UTF-8 at most
        return line
    encoded = line.encode()
    if len(encoded) < MAX_LINE_BYTES:
        return line
    return encoded[: MAX_LINE_BYTES - len(_CUT) - 1].decode(errors="ignore") + _CUT
