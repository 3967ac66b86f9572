"""Recordings, as those see them who look at a process, and who start and stop them. Interfaces only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .texts import clean
from .values import FileValue, RecordingValue


class Entry(Protocol):
    """A file of the index."""

    @property
    def state(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def stream_id(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def bytes(self) -> int: ...
    @property
    def reason(self) -> str: ...


class Recordings(Protocol):
    """All of a process."""

    files: int  # whole ones
    bytes: int
    failed: dict[str, int]  # by reason

    @property
    def running_count(self) -> int:
        """How many channels are recorded now."""

    def start(self, channel: str, form: str = "", /) -> bool:
        """Record what is published on a channel; False: nobody does here. Raises ValueError."""

    def stop(self, channel: str, /) -> bool:
        """Record it no more; tell whether it was recorded here."""

    def entries(self, channel: str = "") -> Sequence[Entry]:
        """Return the files there are, of one channel or of all. Blocks. Raises OSError."""

    def running(self, channel: str, /) -> Mapping[str, Any] | None:
        """Return what is written now of a channel, None for nothing."""

    def error(self, channel: str, /) -> str:
        """Return why the last recording of what is published could not go on."""


def recording(recordings: Recordings, channel: str) -> RecordingValue | None:
    """Return how the recording of a channel does; None where there is none, and none has failed."""
    running, error = recordings.running(channel), recordings.error(channel)
    if running is None and not error:
        return None
    now: Mapping[str, Any] = running or {}
    return {
        "running": running is not None,
        "file": clean(now.get("file", "")),
        "format": now.get("format", ""),
        "since_at": now.get("since") or None,
        "seconds": round(now.get("seconds", 0.0), 3),
        "written_bytes": now.get("bytes", 0),
        "files": now.get("files", 0),
        "error": clean(error),
    }


def file_value(entry: Entry, worker: str, running: Mapping[str, Any] | None = None) -> FileValue:
    """Return a file as it is told of; of the one that is written now `running` knows how long it is."""
    now = running if running is not None and running.get("file") == entry.file else {}
    return {
        "worker": worker,
        "file": clean(entry.file),
        "channel": clean(entry.channel),
        "stream_id": clean(entry.stream_id),
        "whole": entry.state == DONE,
        "began_at": entry.start,
        "ended_at": entry.end or None,
        "seconds": round(now.get("seconds", entry.seconds), 3),
        "size_bytes": now.get("bytes", entry.bytes),
        "reason": clean(entry.reason),
    }


DONE = "done"
