"""Processes that belong together: a server, and all that it and they started. Found by their environment."""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path
from time import sleep

MARK = "FAMILY_OF_TEST"  # in the environment that each process inherits from the first
LOOK_S = 0.02


class Kin:
    """Whoever was started with our mark, by us or by one of them."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex
        self.settings = {MARK: mark}  # for the environment of the first
        self._mark = f"{MARK}={mark}".encode()

    def pids(self) -> list[int]:
        """Return all processes that are alive, the oldest first."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if self._mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append((_start_of(entry), int(entry.name)))
        return [pid for _, pid in sorted(found)]

    def kill(self) -> None:
        """End whoever is left; nothing that they hold is in use any more once this returns."""
        while left := self.pids():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            sleep(LOOK_S)


def _start_of(entry: Path) -> int:
    """Return when a process began, in ticks since the machine did."""
    return int((entry / "stat").read_text().rpartition(")")[2].split()[19])
