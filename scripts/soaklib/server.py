"""The server under soak: started, counted from outside and inside, its log read, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from benchlib import procstat
from benchlib.rtmpclient import Target
from benchlib.servers import HOST, KEPT_ENVIRONMENT, PROJECT, _await_ready, _free_port

STOP_S = 20.0
COUNT_S = 10.0  # for the server to answer a SIGUSR1
FAULT = re.compile(r"Traceback|\[ERROR\]|Exception ignored")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server holds at one moment; sizes in KiB."""

    rss_kib: int
    memfd_kib: int
    log_kib: int
    descriptors: int
    greenlets: int
    sessions: int
    players: int
    channels: int
    segments: int

    def over(self, base: Counts) -> list[str]:
        """Name what there is more of than at `base`, RSS left out: memory returns to the OS as it likes."""
        return [
            f"{one.name} {getattr(base, one.name)} -> {getattr(self, one.name)}"
            for one in fields(self)
            if one.name != "rss_kib" and getattr(self, one.name) > getattr(base, one.name)
        ]


class Server:
    """One running server."""

    def __init__(self, process: subprocess.Popen[bytes], target: Target, directory: Path) -> None:
        self.process = process
        self.target = target
        self._log = directory / "output.log"
        self._counts = directory / "counts.json"

    def count(self) -> Counts:
        """Count. Blocks up to `COUNT_S`; raises TimeoutError when the server does not answer."""
        self._counts.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + COUNT_S
        while not self._counts.exists():
            if time.monotonic() > until:
                raise TimeoutError(f"no answer of the server within {COUNT_S:g} s")
            time.sleep(0.02)
        inside = json.loads(self._counts.read_text())
        memory = procstat.memory(self.process.pid)
        inside["log_kib"] = inside.pop("log_bytes") // 1024
        descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return Counts(memory.rss // 1024, memory.memfd // 1024, descriptors=descriptors, **inside)

    def faults(self) -> list[str]:
        """Return the lines of the log that show a bug."""
        return [line for line in self.log() if FAULT.search(line)]

    def log(self) -> list[str]:
        """Return all lines of the log."""
        return self._log.read_text(errors="replace").splitlines()

    def stop(self) -> int:
        """End the server as an operator does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


@contextmanager
def running(settings: dict[str, str]) -> Iterator[Server]:
    """Run the server for the time of the block, on a free port of the loopback."""
    with TemporaryDirectory(prefix="soak-") as name:
        directory = Path(name)
        port = _free_port()
        environment = {key: os.environ[key] for key in KEPT_ENVIRONMENT if key in os.environ}
        environment |= {
            "PYTHONPATH": str(PROJECT),
            "RTMP_PORT": str(port),
            "BIND_ADDRESS": HOST,
            "CONCURRENT_LIMIT_WHITELIST": "*",
            "SOAK_COUNTS": str(directory / "counts.json"),
        }
        command = [sys.executable, "-m", "gevent.monkey", str(Path(__file__).with_name("watched.py"))]
        with (directory / "output.log").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            target = Target(HOST, port)
            _await_ready(process, target, directory)
            yield Server(process, target, directory)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
