#!/usr/bin/env python3
"""How long the server takes until it listens, and what it holds then: run it on a quiet machine.

    scripts/measure_start.py [--starts 10] [NAME=VALUE ...]

Prints the median, fastest and slowest start, from the fork of the process to an accepted connection, and its
proportional memory (PSS) a second later. Settings go to the server's environment.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from own_python import use_venv

PROJECT = Path(__file__).resolve().parent.parent
LONGEST_START_S = 20.0
LOOK_EVERY_S = 0.002
SETTLED_AFTER_S = 1.0


def main() -> int:
    """Measure, print, and say whether every start listened."""
    use_venv()
    parser = argparse.ArgumentParser(description="Measure how the server starts.")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    options = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in options.settings)
    measured = [one_start(settings) for _ in range(options.starts)]
    seconds = [start_s for start_s, _ in measured]
    memory = [pss_mib for _, pss_mib in measured]
    print(
        f"listening after {statistics.median(seconds):.3f} s (median of {len(seconds)}; "
        f"{min(seconds):.3f} to {max(seconds):.3f}), idle with {statistics.median(memory):.1f} MiB PSS"
    )
    return 0


def one_start(settings: dict[str, str]) -> tuple[float, float]:
    """Start a server and end it; return the seconds until it accepted a connection, and its PSS in MiB."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environ |= {"PYTHONPATH": str(PROJECT), "RTMP_PORT": str(port), "BIND_ADDRESS": "127.0.0.1"} | settings
    with tempfile.TemporaryDirectory() as empty:  # no .env in it
        began = time.monotonic()
        server = subprocess.Popen(
            [sys.executable, "-m", "rtmpsrv"], env=environ, cwd=empty, stdout=subprocess.DEVNULL
        )
        try:
            start_s = wait_until_it_listens(server, port) - began
            time.sleep(SETTLED_AFTER_S)
            return start_s, pss_mib_of(server.pid)
        finally:
            server.terminate()
            server.wait()


def wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> float:
    """Return when a connection was accepted first, in monotonic seconds."""
    give_up_at = time.monotonic() + LONGEST_START_S
    while time.monotonic() < give_up_at and server.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return time.monotonic()
        time.sleep(LOOK_EVERY_S)
    raise SystemExit("the server does not listen")


def pss_mib_of(pid: int) -> float:
    """Return what a process holds, with its part of what it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    sys.exit(main())
