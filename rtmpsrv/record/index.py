"""The index of recordings: lines of JSON, of which the last one about a file counts. Pure.

A file is noted when it is begun, when another process is to go on with it, when it is whole, and when it is
deleted. Files are in the order in which they were begun: clocks may jump.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Final

from .names import is_below

RECORDING, MOVED, DONE, DELETED = "recording", "moved", "done", "deleted"
STATES: Final = (RECORDING, MOVED, DONE, DELETED)
OPEN: Final = (RECORDING, MOVED)  # files that are not whole
MAX_DEAD_LINES: Final = 1000  # before the index is written anew
LINES_AT_ONCE: Final = 100  # then there is a rest: a thread that serves waits for the interpreter

DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file."""

    state: str
    file: str
    channel: str = ""
    stream_id: str = ""
    start: float = 0.0  # wall clock, s
    end: float = 0.0
    seconds: float = 0.0  # by the times of the stream
    bytes: int = 0
    reason: str = ""  # for its end
    carried: dict[str, Any] | None = None  # of `MOVED`: with what another process goes on


def line_of(entry: Entry) -> bytes:
    """Return an entry as a line."""
    shown = {name: value for name, value in asdict(entry).items() if value not in ("", None)}
    return json.dumps(shown).encode() + b"\n"


def read(text: bytes, rest: Callable[[], None] = lambda: None) -> dict[str, Entry]:
    """Return what is there by file, oldest first; lines that are none are passed over.

    `rest` is called now and then.
    """
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not number % LINES_AT_ONCE:
            rest()
        entry = entry_of(line)
        if entry is not None:
            put(found, entry)
    return found


def put(entries: dict[str, Entry], entry: Entry) -> None:
    """Take note of what is newly known of a file."""
    if entry.state == DELETED:
        entries.pop(entry.file, None)
    else:
        entries[entry.file] = entry


def is_long(lines: int, entries: int) -> bool:
    """Tell whether an index is worth to be shortened."""
    return lines - entries >= max(MAX_DEAD_LINES, entries)


def shortened(text: bytes, rest: Callable[[], None] = lambda: None) -> bytes | None:
    """Return an index without what counts no more; None where that is not worth it."""
    entries = read(text, rest)
    if not is_long(text.count(b"\n"), len(entries)):
        return None
    lines = []
    for number, entry in enumerate(entries.values(), 1):
        if not number % LINES_AT_ONCE:
            rest()
        lines.append(line_of(entry))
    return b"".join(lines)


def to_delete(entries: dict[str, Entry], now: float, keep_days: int, max_bytes: int) -> list[Entry]:
    """Return the finished files that are too old or too much, in the order of the index; never the last.

    0: no bound. What is being written counts for the size.
    """
    done = [one for one in entries.values() if one.state == DONE]
    total = sum([one.bytes for one in entries.values()])
    found = []
    for entry in done[:-1]:
        is_old = keep_days and entry.end < now - keep_days * DAY_S
        if is_old or (max_bytes and total > max_bytes):
            found.append(entry)
            total -= entry.bytes
    return found


def entry_of(line: bytes) -> Entry | None:
    """Return what a line says; None where it is none."""
    try:
        said = json.loads(line)
        state, file = said["state"], said["file"]
        if state not in STATES or not is_below(file):
            return None
        channel, stream_id, reason = [str(said.get(one, "")) for one in ("channel", "stream_id", "reason")]
        start, end, seconds = [float(said.get(one, 0.0)) for one in ("start", "end", "seconds")]
        carried = said.get("carried")
        if not all(map(isfinite, (start, end, seconds))) or not isinstance(carried, dict | None):
            return None
        size = int(said.get("bytes", 0))
        return Entry(state, file, channel, stream_id, start, end, seconds, size, reason, carried)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
