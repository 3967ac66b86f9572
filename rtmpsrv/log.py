"""The log: one line per event, `[2026-01-31 12:00:05] [SERVER:TCP] [#1] [INFO] text` or JSON (`log_forms`).

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
from rtmpsrv.log_forms import FORMS, MAX_LINE_BYTES, TRACE

__all__ = ["MAX_LINE_BYTES", "TRACE"]

_ROOT = "rtmpsrv"
_SESSIONS = "rtmpsrv.session"
_SILENT = logging.CRITICAL + 1


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with prefixes, such as `[SERVER:TCP] [#1]`."""

    def __init__(self, logger: logging.Logger, *prefixes: str) -> None:
        text = "".join(f"[{prefix}] " for prefix in prefixes if prefix)
        super().__init__(logger, {"prefix": text, "prefixes": prefixes})

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

    Without a configuration, as long as there is none, the defaults hold, but for the form: what is wrong with
    the settings is told in that of the environment. May be called again.
    """
    config = config or Config(log_format=_form_of_the_environment())
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
    """Print lines of the levels that are switched on, in the form that is set, to where they went before."""
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
            handler.form = FORMS[config.log_format]
    root.setLevel(min(enabled, default=_SILENT))
    logging.getLogger(_SESSIONS).setLevel(logging.NOTSET if config.log_requests else _SILENT)


def name_process(name: str) -> None:
    """Let all lines from now on begin with the name of this process, which is one of several."""
    for handler in logging.getLogger(_ROOT).handlers:
        if isinstance(handler, _LineHandler):
            handler.process = name


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
        self._output = _output(stream, self._encoding, self._drop_notice)
        self.form = FORMS["text"]
        self.levels: set[int] = set()  # those that are written
        self.process = ""  # its name, if there are several

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record if its level is switched on."""
        level = logging.ERROR if record.levelno > logging.ERROR else record.levelno
        if level not in self.levels:
            return
        try:
            lines = self.form.lines(record, self.process)
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
        ):  # arguments that do not fit the message: our bug
            where = f"{record.pathname}:{record.lineno}"
            text = f"message and arguments do not fit: {record.msg!r}, {where}"
            lines = [self.form.line("ERROR", text, self.process)]
        for line in lines:
            self._output.put(line.encode(self._encoding, "backslashreplace"))

    def _drop_notice(self, count: int) -> bytes:
        """Say what is missing, whether WARNING lines are switched on or not: the log would mislead."""
        text = f"{count} lines of the log were dropped here: the output did not take them in time"
        return self.form.line("WARNING", text).encode(self._encoding, "backslashreplace")

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


def _form_of_the_environment() -> str:
    asked = os.environ.get("LOG_FORMAT", "").strip().lower()
    return asked if asked in FORMS else "text"


def _output(stream: TextIO, encoding: str, drop_notice: Callable[[int], bytes]) -> _Output:
    """Give the way to a stream: a thread, and a descriptor that stays when the stream is closed."""
    with contextlib.suppress(OSError, ValueError):
        stream.flush()  # what was printed before comes before
    try:
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError):
        return _MemoryOutput(stream, encoding)
    return LineWriter(descriptor, drop_notice)
