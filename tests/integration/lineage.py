"""A server whose processes succeed one another: started once, signalled, watched through one log."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from tests.server_process import START_S, STOP_S, ServerProcess


class Lineage(ServerProcess):
    """The first process, and all that came after it. Leaving the context ends them all."""

    def __init__(self, *, shell_prefix: str = "", cwd: str = "", **settings: str) -> None:
        super().__init__(
            shell_prefix=shell_prefix, cwd=cwd, **{"MAX_IP_CONCURRENT_CONNECTIONS": "1000"} | settings
        )
        self.pid = self.process.pid  # of the one that serves

    def signal(self, number: int = signal.SIGUSR2) -> int:
        """Send a signal to the process that serves; return where the log stood."""
        since = self.mark()
        os.kill(self.pid, number)
        return since

    def succeed(self) -> int:
        """Let a new process succeed the present one, and wait until it serves; return where the log stood."""
        since = self.signal()
        (line,) = self.wait_for_line(r"succession: process \d+ serves", since, timeout_s=START_S)
        self.pid = _pid_in(line)
        return since

    def fail(self) -> int:
        """Let a succession fail, and wait until that is over; return where the log stood."""
        since = self.signal()
        self.wait_for_line("succession failed: ", since, timeout_s=START_S)
        return since

    @property
    def successors(self) -> list[int]:
        """Processes that were started to succeed others, whatever became of them."""
        return [_pid_in(line) for line in self.matching(r"succession: process \d+ was started")]

    def is_over(self) -> bool:
        return super().is_over() and not any(map(alive, self.successors))

    def end(self) -> None:
        """Stop the process that serves, and wait for all of them."""
        os.kill(self.pid, signal.SIGTERM)
        until = monotonic() + STOP_S
        while any(map(alive, [self.process.pid, *self.successors])):
            assert monotonic() < until, self.everything()[-20:]
            self.process.poll()
            sleep(0.01)

    def kill(self) -> None:
        for pid in self.successors:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().kill()


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended but was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _pid_in(line: str) -> int:
    found = re.search(r"succession: process (\d+)", line)
    assert found is not None
    return int(found[1])
