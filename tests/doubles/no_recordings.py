"""Recordings of a process that records nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rtmpsrv.monitor.recorded import Entry


class NoRecordings:
    """Nothing is recorded."""

    files = bytes = running_count = 0

    def __init__(self) -> None:
        self.failed: dict[str, int] = {}

    def start(self, channel: str, form: str = "", /) -> bool:
        """Record nothing."""
        return False

    def stop(self, channel: str) -> bool:
        """Stop nothing."""
        return False

    def entries(self, channel: str = "") -> Sequence[Entry]:
        """Return no files."""
        return []

    def running(self, channel: str) -> Mapping[str, Any] | None:
        """Return nothing."""
        return None

    def error(self, channel: str) -> str:
        """Return none."""
        return ""
