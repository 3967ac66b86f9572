"""The real server whose processes succeed each other: all of them found, signalled, watched and ended."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from tests.kin import LOOK_S, Kin
from tests.server_process import LINE_S, ServerProcess

ALL_SERVE = r"\[MANAGER\] .*\d workers serve"
SERVES = r"succession: process (\d+) serves"
START_S = 30.0
END_S = 15.0


class Family:
    """A server, its successors, and with WORKERS its manager, keeper and workers: whoever has our mark."""

    def __init__(self, **settings: str) -> None:
        """Start the first; PID_FILE and RUN_DIR are given."""
        self._kin = Kin()
        self._directory = tempfile.TemporaryDirectory()
        directory = Path(self._directory.name)
        self._pid_file = directory / "rtmpsrv.pid"
        run_dir = directory / "run"
        settings = {"PID_FILE": str(self._pid_file), "RUN_DIR": str(run_dir)} | self._kin.settings | settings
        try:
            self.first = ServerProcess(**settings)
        except BaseException:
            self._kin.kill()
            raise
        self.port = self.first.port
        self._workers = int(settings.get("WORKERS", "1"))
        if self._workers > 1:
            self.wait_for_line(ALL_SERVE, timeout_s=START_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._kin.kill()
            self.first.kill()
            self._directory.cleanup()

    @property
    def pid(self) -> int:
        """The process to signal."""
        with suppress(FileNotFoundError, ValueError):
            return int(self._pid_file.read_text())
        found = self.first.matching(SERVES)  # no file: what the log says
        named = re.search(SERVES, found[-1]) if found else None
        pid = int(named[1]) if named else self.first.process.pid
        alive = self.pids()
        return pid if pid in alive or not alive else alive[-1]

    def pids(self) -> list[int]:
        """Return all processes that are alive, the oldest first."""
        return self._kin.pids()

    def workers(self) -> list[int]:
        """Return those that serve under a manager."""
        return [pid for pid in self.pids() if b"RTMPSRV_WORKER=" in _read(pid, "environ")]

    def keepers(self) -> list[int]:
        """Return the keeper; none or several in the moment of a change."""
        return [pid for pid in self.pids() if b"rtmpsrv.keeper" in _read(pid, "cmdline")]

    def succeed(self, number: int = signal.SIGUSR2, timeout_s: float = 60.0) -> int:
        """Ask for a succession and wait until another process has taken over; return its pid."""
        before = self.pid
        mark = self.first.mark()
        os.kill(before, number)
        return self.serving(before, timeout_s, mark)

    def reload(self, number: int = signal.SIGHUP, timeout_s: float = 120.0) -> list[int]:
        """Ask a manager for new workers and wait until all are; return them.

        Old ones may stay for what cannot move, and are not waited for.
        """
        before = set(self.workers())
        mark = self.first.mark()
        os.kill(self.pid, number)
        self.wait_for_line(ALL_SERVE, since=mark, timeout_s=timeout_s)
        new = sorted(set(self.workers()) - before)
        assert len(new) >= self._workers, f"{new} came for {sorted(before)}"  # of which some may still leave
        return new

    def serving(self, other_than: int, timeout_s: float = 60.0, since: int = 0) -> int:
        """Wait until a process other than this one serves; return its pid."""
        until = monotonic() + timeout_s
        while (pid := self.pid) == other_than:
            if monotonic() > until or self.first.matching("succession failed", since):
                tail = "\n".join(self.first.everything()[-30:])
                raise AssertionError(f"no successor of {other_than}:\n{tail}")
            sleep(LOOK_S)
        return pid

    def wait_for_line(
        self, pattern: str, since: int = 0, count: int = 1, timeout_s: float = LINE_S
    ) -> list[str]:
        """Wait until so many lines of any of the processes hold the pattern, and return them."""
        until = monotonic() + timeout_s
        while len(found := self.first.matching(pattern, since)) < count:
            if monotonic() > until:
                tail = "\n".join(self.first.everything()[-30:])
                raise AssertionError(f"no line with {pattern!r} ({len(found)} of {count}); log:\n{tail}")
            sleep(LOOK_S)
        return found

    def stop(self, timeout_s: float = END_S) -> None:
        """End all as an operator does; AssertionError when one stays."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        until = monotonic() + timeout_s
        while left := self.pids():
            if monotonic() > until:
                raise AssertionError(f"{left} do not end:\n" + "\n".join(self.first.everything()[-30:]))
            # reaps the first, which is our child and else stays in the list
            self.first.process.poll()
            sleep(LOOK_S)

    def faults(self, expected: str = "") -> list[str]:
        """Return the lines of the log that show a bug, without those that are expected."""
        lines = [line for line in self.first.everything() if re.search(r"Traceback|\[ERROR\]", line)]
        return [line for line in lines if not expected or not re.search(expected, line)]


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
