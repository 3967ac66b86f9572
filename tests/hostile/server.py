"""The server under attack: a process in a temporary directory, its log, and what /proc says of it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from time import monotonic

from rtmpsrv.workers.parent import descendants
from tests.server_process import START_S, STOP_S, environment, free_port

from .verdict import Sample

KEPT_LINES = 400
PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1e6
FILE_BLOCK = 512  # bytes; the unit of `ulimit -f`


class Server:
    """Started by making it; `stop` must be called."""

    def __init__(
        self, settings: dict[str, str], *, descriptors: int, file_bytes: int = 0, log_is_read: bool = True
    ) -> None:
        """Start it and wait until it listens on its ports."""
        self.port, self.tls_port, self.api_port = free_port(), free_port(), free_port()
        self.http_port = free_port() if "HTTP_PORT" in settings else 0
        self._listeners = 3 if self.http_port else 2
        self._web = 0  # the process that serves the API
        self.tracebacks = 0
        self.lines = 0
        self.tail: deque[str] = deque(maxlen=KEPT_LINES)
        self._listening = 0
        self._changed = threading.Condition()
        self._may_read = threading.Event()
        self._read_on = log_is_read
        self._directory = tempfile.TemporaryDirectory()  # no .env in it
        limits = f"ulimit -n {descriptors};" + (f" ulimit -f {file_bytes // FILE_BLOCK};" * bool(file_bytes))
        ports = {"RTMP_PORT": str(self.port), "BIND_ADDRESS": "127.0.0.1", "SSL_PORT": str(self.tls_port)}
        has_api = "API_PORT" in settings
        ports |= {"API_PORT": str(self.api_port)} if has_api else {}
        ports |= {"HTTP_PORT": str(self.http_port)} if self.http_port else {}
        self.process = subprocess.Popen(
            ["sh", "-c", f'{limits} exec "$@"', "sh", sys.executable, "-m", "rtmpsrv"],
            env=environment(settings | ports),
            cwd=self._directory.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until = monotonic() + START_S
        with self._changed:
            while self._listening < self._listeners and self.process.poll() is None and monotonic() < until:
                self._changed.wait(0.1)
        if self._listening < self._listeners:
            self.stop()
            raise AssertionError("the server does not listen:\n" + "\n".join(self.tail))
        if has_api:
            self._web = self._ask_api()

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def sample(self) -> Sample:
        """Look at what the process holds, and with it the one that serves the API."""
        files = descriptors = 0
        memory = cpu = queued = 0.0
        for pid in filter(None, (self.process.pid, self._web)):
            one = _held_by(pid)
            memory, files, descriptors = memory + one[0], files + one[1], descriptors + one[2]
            if pid == self.process.pid:
                cpu, queued = one[3:]
        return Sample(monotonic(), memory + files / MB, descriptors, cpu, queued)

    def _ask_api(self) -> int:
        """Let the process be started that serves the API, before anything is measured; return it."""
        client = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=START_S)
        client.request("GET", "/healthz")
        client.getresponse().read()
        client.close()
        (web,) = descendants(self.process.pid)
        return web

    def matching(self, pattern: str) -> list[str]:
        """Return the lines that hold the pattern, of the last ones and while the log is read."""
        with self._changed:
            return [line for line in self.tail if re.search(pattern, line)]

    def pause(self) -> None:
        """Stop the process as a suspended machine does."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def ask_to_end(self, timeout_s: float) -> int | None:
        """Send SIGTERM, the log being read or not; return the exit code, None if there is none."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the process whatever state it is in, by its own id."""
        self._read_on = True
        self._may_read.set()
        if self.alive and self.ask_to_end(STOP_S) is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(STOP_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._directory.cleanup()

    def kill(self) -> None:
        """End it without a word: of a server that failed, nothing more is wanted."""
        if self.alive:
            self.process.kill()
        self.stop()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines += 1
                self.tail.append(line.rstrip("\n"))
                self.tracebacks += "Traceback" in line
                self._listening += "Listening on " in line
                self._changed.notify_all()
            if self._listening == self._listeners and not self._read_on:
                self._may_read.wait()


def _memory_file_bytes(path: str) -> int:
    try:
        return os.stat(path).st_blocks * 512 if os.readlink(path).startswith("/memfd:") else 0
    except OSError:
        return 0  # closed meanwhile


def _held_by(pid: int) -> tuple[float, int, int, float, float]:
    """Return what a process has: memory in MB, bytes in memory files, descriptors; and its CPU and waits."""
    folder = f"/proc/{pid}"
    files = descriptors = 0
    memory = cpu = queued = 0.0
    try:
        with open(f"{folder}/statm") as statm:
            memory = int(statm.read().split()[1]) * PAGE / MB
        with open(f"{folder}/schedstat") as schedule:
            cpu, queued = (int(field) / 1e9 for field in schedule.read().split()[:2])
        for name in os.listdir(f"{folder}/fd"):
            descriptors += 1
            files += _memory_file_bytes(f"{folder}/fd/{name}")
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        pass  # it ended; that is judged elsewhere
    return memory, files, descriptors, cpu, queued
