"""Ends that are reported though the process dies: noted in a file, and taken over by whoever comes next.

Each process has one file in a directory that they share, and holds a lock as long as it lives. A file that
nobody holds was left by a crash: what had begun then is over, and its end is reported by whoever finds it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from rtmpsrv.access.callbacks import CallbackAuthority
from rtmpsrv.access.facts import Approval
from rtmpsrv.access.gate import Gate, Grant, PublishRequest
from rtmpsrv.access.journal import Journal
from rtmpsrv.log import Logger

PREFIX = "stops-"


class CrashProofAuthority:
    """The callback, with a note of all that it is still to be told."""

    key_names_stream = False

    def __init__(self, callbacks: CallbackAuthority, folder: Path, log: Logger) -> None:
        """Begin a file in `folder`. Raises OSError."""
        self._callbacks = callbacks
        self._folder = folder
        self._log = log
        own = f"{PREFIX}{os.getpid()}"
        self._lock_path, self._path = folder / f"{own}.lock", folder / f"{own}.journal"
        lock = _locked(self._lock_path)
        if lock is None:
            raise OSError(f"{self._lock_path} is held by another process")
        self._lock = lock
        self._journal = Journal(str(self._path), log)
        # One that had our number before left these behind.
        self._left_behind = [kept.grant for kept in self._journal.kept.values()]
        self._numbers = count(-1, -1)  # the gate's own are positive
        callbacks.on_reported = callbacks.on_taken = self._journal.reported

    def watch(self, gate: Gate) -> None:
        """Take note of what a gate grants, and of what it hands over to another process."""
        gate.on_granted = self._began
        gate.on_abandoned = self._journal.reported

    def take_over(self) -> None:
        """Report what ended with processes that are gone. Blocks no longer than files do."""
        found = self._left_behind
        self._left_behind = []
        for grant in found:
            self._report_again(grant)
            self._journal.reported(grant)
        for lock_path in sorted(self._folder.glob(f"{PREFIX}*.lock")):
            if lock_path == self._lock_path:
                continue
            with suppress(OSError):  # another process was faster
                found += self._take_over(lock_path)
        if found:
            self._log.warning("stops that a crash left behind: %d, which are told now", len(found))

    # --- as an authority --------------------------------------------------------------------------

    def authorise(self, request: PublishRequest) -> str | Approval:
        """Return the stream id, or more, or raise AccessDenied. Blocks as the callback does."""
        return self._callbacks.authorise(request)

    def ended(self, grant: Grant) -> None:
        """Queue the report that a publication ended. Never blocks."""
        self._journal.ended(grant)
        self._callbacks.ended(grant)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all reports have gone out. Blocks up to `timeout_s`."""
        return self._callbacks.wait_idle(timeout_s)

    def close(self) -> None:
        """Give up what is queued; what was not told stays for the next process."""
        self._callbacks.close()
        left = bool(self._journal.kept)
        self._journal.close()
        if not left:
            self._path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)

    # --- private ----------------------------------------------------------------------------------

    def _began(self, grant: Grant) -> None:
        if grant.serial not in self._journal.kept:
            self._journal.began(grant)

    def _take_over(self, lock_path: Path) -> list[Grant]:
        lock = _locked(lock_path)
        if lock is None:
            return []  # its process lives
        try:
            path = lock_path.with_suffix(".journal")
            journal = Journal(str(path), self._log)
            journal.close()
            grants = [kept.grant for kept in journal.kept.values()]
            for grant in grants:
                self._report_again(grant)
            path.unlink(missing_ok=True)
            lock_path.unlink(missing_ok=True)
        finally:
            os.close(lock)
        return grants

    def _report_again(self, grant: Grant) -> None:
        own = replace(grant, serial=next(self._numbers))
        self._journal.began(own)
        self.ended(own)


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds a lock, None where another process holds it. Raises OSError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
