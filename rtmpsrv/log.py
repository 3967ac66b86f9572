"""The log: one line per event, `[2026-01-31 12:00:05] [SERVER:TCP] [#1] [INFO] text`.

Levels are switched one by one, not by a threshold. Lines about single connections come from
`session_logger` and can be muted as a whole. Logging never fails its caller and never makes it wait, also
when nobody reads: a thread writes the lines (`line_writer`), and what it cannot get rid of is dropped and
counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Protocol, TextIO

from rtmpsrv.config import Config
from rtmpsrv.line_writer import LineWriter

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
        """Hand the prefixes to the formatter, and what else a line has."""
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs

    def log(self, level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log; a handler that fails, such as one of the embedding program on a full disk, harms nobody."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        try:
            super().log(level, msg, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it raises: the caller is in the middle of its work
            if logging.raiseExceptions and sys.stderr is not None:  # as logging does for its own handlers
                traceback.print_exc(file=sys.stderr)

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
    handler = _LineHandler(stream or (sys.stderr if config.log_trace else sys.stdout))
    root = logging.getLogger(_ROOT)
    for earlier in root.handlers:
        if isinstance(earlier, _LineHandler):
            earlier.close()
    root.handlers = [handler]
    root.propagate = False
    if not logging.getLogger().handlers:
        # What libraries log may quote tokens, and would go to standard error, which perhaps nobody reads.
        logging.getLogger().addHandler(logging.NullHandler())
    switch_levels(config)


def switch_levels(config: Config) -> None:
    """Print lines of the levels that are switched on from now on, to where they went before."""
    switches = {
        logging.ERROR: config.log_error,
        logging.WARNING: config.log_warning,
        logging.INFO: config.log_info,
        logging.DEBUG: config.log_debug,
        TRACE: config.log_trace,
    }
    enabled = {level for level, on in switches.items() if on}
    root = logging.getLogger(_ROOT)
    for handler in root.handlers:
        if isinstance(handler, _LineHandler):
            handler.levels = enabled
    root.setLevel(min(enabled, default=_SILENT))
    logging.getLogger(_SESSIONS).setLevel(logging.NOTSET if config.log_requests else _SILENT)


def name_process(name: str) -> None:
    """Let all lines from now on begin with the name of this process, which is one of several."""
    for handler in logging.getLogger(_ROOT).handlers:
        if isinstance(handler, _LineHandler):
            handler.process_prefix = f"[{name}] "


def tell(level: int, lines: Iterable[str]) -> None:
    """Log each line, as it is."""
    for line in lines:
        get().log(level, "%s", line)


def flush() -> None:
    """Wait for lines that are not written yet. Blocks the whole process for seconds at most; for its end."""
    for handler in logging.getLogger(_ROOT).handlers:
        handler.flush()


def describe() -> dict[str, int]:
    """Say how much of the log waits to be written, and how many lines were dropped."""
    for handler in logging.getLogger(_ROOT).handlers:
        if isinstance(handler, _LineHandler):
            return handler.describe()
    return {}


class ErrorStream:
    """What is written here, such as the tracebacks of gevent's hub, becomes ERROR lines of the log."""

    def __init__(self) -> None:
        self._unfinished = ""

    def write(self, text: str) -> int:
        """Log each line that is complete. Never blocks."""
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            if line:
                get().error("%s", line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line is logged when it is complete."""


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


class _Output(Protocol):
    """Where lines go. Nothing but the last two ever blocks."""

    def put(self, text: bytes) -> None:
        """Take a line, or drop it."""

    def describe(self) -> dict[str, int]:
        """Say what waits and what was dropped."""

    def flush(self) -> object:
        """Wait for what waits, within bounds."""

    def close(self) -> None:
        """Flush, and be done."""


class _LineHandler(logging.Handler):
    """Hands records to an output as lines."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        # A locale that lacks a letter must not cost the line: it is escaped.
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._output = _output(stream, self._encoding)
        self.levels: set[int] = set()  # those that are written
        self.process_prefix = ""  # of each line

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record if its level is switched on."""
        level = logging.ERROR if record.levelno > logging.ERROR else record.levelno
        if level not in self.levels:
            return
        try:
            lines = _lines(record, self.process_prefix)
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
        ):  # arguments that do not fit the message: our bug
            where = f"{record.pathname}:{record.lineno}"
            text = f"message and arguments do not fit: {record.msg!r}, {where}"
            lines = [_line("ERROR", text, self.process_prefix)]
        for line in lines:
            self._output.put(line.encode(self._encoding, "backslashreplace"))

    def describe(self) -> dict[str, int]:
        """Say what waits and what was dropped."""
        return self._output.describe()

    def flush(self) -> None:
        """Wait for what is not written yet. Blocks the whole process for seconds at most; for its end."""
        self._output.flush()

    def close(self) -> None:
        """Write what is left and let go of the output."""
        super().close()
        self._output.close()


class _MemoryOutput:
    """A stream without a descriptor, such as a test's: written to at once, since memory does not block."""

    def __init__(self, stream: TextIO, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding

    def put(self, text: bytes) -> None:
        """Write a line; a stream that was closed by whoever owns it loses it."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text.decode(self._encoding))
            self._stream.flush()

    def describe(self) -> dict[str, int]:
        """Say that nothing waits."""
        return {}

    def flush(self) -> None:
        """Do nothing: all is written."""

    def close(self) -> None:
        """Do nothing: the stream is not ours."""


def _output(stream: TextIO, encoding: str) -> _Output:
    """Give the way to a stream: a thread, and a descriptor that stays when the stream is closed."""
    with contextlib.suppress(OSError, ValueError):
        stream.flush()  # what was printed before comes before
    try:
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError):
        return _MemoryOutput(stream, encoding)
    return LineWriter(descriptor, lambda count: _drop_notice(count).encode(encoding, "backslashreplace"))


def _drop_notice(count: int) -> str:
    """Say what is missing. Whether WARNING lines are switched on does not matter: the log would mislead."""
    return _line(
        "WARNING", f"{count} lines of the log were dropped here: the output did not take them in time"
    )


def _lines(record: logging.LogRecord, process_prefix: str) -> list[str]:
    """Make the text of a record, and each line of its traceback, a line of the log of its own."""
    texts = [record.getMessage()]
    if record.exc_info:
        texts += logging.Formatter().formatException(record.exc_info).split("\n")
    level = _LEVEL_NAMES.get(record.levelno, record.levelname)
    prefix = process_prefix + getattr(record, "prefix", "")
    return [_line(level, text, prefix, record.created) for text in texts]


def _line(level: str, text: str, prefix: str = "", created: float | None = None) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created))
    return _bounded(f"[{when}] {prefix}[{level}] {_printable(text)}") + "\n"


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
