"""The real server in a process of its own, for tests: started, watched through its log, stopped."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from types import TracebackType
from typing import IO, Self

PROJECT = Path(__file__).resolve().parent.parent
START_S = 20.0  # a busy machine needs seconds to import everything
STOP_S = 15.0
LINE_S = 5.0
PORTS_OF_WORKER = 1000
INHERITED = ("PATH", "HOME", "LANG", "TZ", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")

_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    Below the range from which the system takes the ports of outgoing connections: one of those, opened by
    anybody between this answer and the server's start, would take the port away. No port is returned twice,
    and each of several processes that run tests has a range of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lowest = 20_000 + worker % (12_000 // PORTS_OF_WORKER) * PORTS_OF_WORKER
    while True:
        port = random.SystemRandom().randrange(lowest, lowest + PORTS_OF_WORKER)
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Return a process environment that holds these settings, and no port that is the same for all."""
    base = {name: os.environ[name] for name in INHERITED if name in os.environ}
    closed = {"API_PORT": "0", "HTTP_PORT": "0"}
    return base | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"} | closed | settings


def run(*arguments: str, cwd: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m rtmpsrv` to its end; both outputs come as text. Blocks up to 20 s."""
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            [sys.executable, "-m", "rtmpsrv", *arguments],
            env=environment(settings),
            cwd=cwd or empty,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )


class ServerProcess:
    """A running server on a free port. Use as a context; leaving it stops the server."""

    module = "rtmpsrv"

    def __init__(self, *, shell_prefix: str = "", cwd: str = "", **settings: str) -> None:
        """Start it; `shell_prefix` are shell commands to run before, such as `ulimit -n 64;`."""
        self.port = free_port()
        self.lines: list[str] = []
        self.stderr_lines: list[str] = []
        self._changed = Condition()
        self._directory = tempfile.TemporaryDirectory()  # no .env in it
        settings = {"RTMP_PORT": str(self.port), "BIND_ADDRESS": "127.0.0.1"} | settings
        self.port = int(settings["RTMP_PORT"])
        command: Sequence[str] = [sys.executable, "-m", self.module]
        if shell_prefix:
            command = ["sh", "-c", f'{shell_prefix} exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            env=environment(settings),
            cwd=cwd or self._directory.name,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            Thread(target=self._collect, args=(self.process.stdout, self.lines), daemon=True),
            Thread(target=self._collect, args=(self.process.stderr, self.stderr_lines), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self.wait_for_line(r"Listening on ", timeout_s=START_S)
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass  # `kill` does it; tests of the stop itself ask for the exit code before
        finally:
            self.kill()

    def _collect(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def everything(self) -> list[str]:
        """Return all lines so far, of both outputs."""
        with self._changed:
            return self.lines + self.stderr_lines

    def mark(self) -> int:
        """Return where the log stands now, for `since`."""
        return len(self.lines)

    def matching(self, pattern: str, since: int = 0) -> list[str]:
        """Return the lines of both outputs that hold the pattern; `since` counts those of standard output."""
        with self._changed:
            return [line for line in self.lines[since:] + self.stderr_lines if re.search(pattern, line)]

    def wait_for_line(
        self, pattern: str, since: int = 0, count: int = 1, timeout_s: float = LINE_S
    ) -> list[str]:
        """Wait until so many lines hold the pattern, and return them. Blocks up to `timeout_s`."""
        until = monotonic() + timeout_s
        with self._changed:
            while True:
                found = [line for line in self.lines[since:] + self.stderr_lines if re.search(pattern, line)]
                if len(found) >= count:
                    return found
                left = until - monotonic()
                if left <= 0 or self.is_over():
                    tail = "\n".join((self.lines + self.stderr_lines)[-30:])
                    raise AssertionError(f"no line with {pattern!r} ({len(found)} of {count}); log:\n{tail}")
                self._changed.wait(min(left, 0.5))

    def is_over(self) -> bool:
        """Tell whether nobody is left who could write a line."""
        return self.process.poll() is not None

    def session_lines(self, number: int) -> list[str]:
        """Return the lines of one connection."""
        return self.matching(rf"\[#{number}\] ")

    def memory_kib(self) -> int:
        """Return the resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def media_process(self) -> int | None:
        """Return the id of its process with FFmpeg's libraries, if there is one now."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if b"rtmpsrv.av" in words and parent == self.process.pid:
                return int(process.name)
        return None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code. Blocks up to 15 s."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code once all output was read."""
        code = self.process.wait(STOP_S)
        for reader in self._readers:
            reader.join(STOP_S)
        return code

    def kill(self) -> None:
        """End the process whatever state it is in, by its own id, and give everything back."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_S)
        for reader in self._readers:
            reader.join(STOP_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self._directory.cleanup()

    def check_log(self) -> None:
        """Fail if the log shows a bug: an ERROR, a traceback, or anything on standard error."""
        bad = [line for line in self.everything() if "Traceback" in line or "[ERROR]" in line]
        assert not bad, "\n".join(self.everything()[-60:])
        assert not self.stderr_lines, "\n".join(self.stderr_lines)
