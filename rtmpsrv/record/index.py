"""The index of recordings: lines of JSON, of which the last one about a file counts. Pure.

A file is noted when it is begun, when it is whole, and when it is deleted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from .names import is_below

RECORDING, DONE, DELETED = "recording", "done", "deleted"
MAX_DEAD_LINES: Final = 1000  # before the index is written anew

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


def line_of(entry: Entry) -> bytes:
    """Return an entry as a line."""
    shown = {name: value for name, value in asdict(entry).items() if value != ""}
    return json.dumps(shown).encode() + b"\n"


def read(text: bytes) -> dict[str, Entry]:
    """Return what is there by file, oldest first; lines that are none are passed over."""
    found: dict[str, Entry] = {}
    for line in text.splitlines():
        entry = _entry(line)
        if entry is None:
            continue
        if entry.state == DELETED:
            found.pop(entry.file, None)
        else:
            found[entry.file] = entry
    return found


def shortened(text: bytes) -> bytes | None:
    """Return an index without what counts no more; None where that is not worth it."""
    entries = read(text)
    if text.count(b"\n") - len(entries) < MAX_DEAD_LINES:
        return None
    return b"".join([line_of(entry) for entry in entries.values()])


def to_delete(entries: dict[str, Entry], now: float, keep_days: int, max_bytes: int) -> list[Entry]:
    """Return the finished files that are too old or too much, oldest first; never the newest.

    0: no bound. What is being written counts for the size.
    """
    done = sorted([one for one in entries.values() if one.state == DONE], key=lambda one: one.start)
    total = sum([one.bytes for one in entries.values()])
    found = []
    for entry in done[:-1]:
        is_old = keep_days and entry.end < now - keep_days * DAY_S
        if is_old or (max_bytes and total > max_bytes):
            found.append(entry)
            total -= entry.bytes
    return found


def _entry(line: bytes) -> Entry | None:
    try:
        said = json.loads(line)
        state, file = said["state"], said["file"]
        if state not in (RECORDING, DONE, DELETED) or not is_below(file):
            return None
        channel, stream_id, reason = [str(said.get(one, "")) for one in ("channel", "stream_id", "reason")]
        start, end, seconds = [float(said.get(one, 0.0)) for one in ("start", "end", "seconds")]
        return Entry(state, file, channel, stream_id, start, end, seconds, int(said.get("bytes", 0)), reason)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
