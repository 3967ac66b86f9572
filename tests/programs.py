"""Programs that run beside a server for as long as is wanted; not a test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

STOP_S = 10.0


@contextmanager
def ended_with(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a program with the block, by force if it does not listen. Blocks for seconds then."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block; what it says is lost."""
    silent = subprocess.DEVNULL
    with ended_with(subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)) as process:
        yield process
