"""Processes of the harness: told what to do by lines of text, telling what they see by lines of JSON.

`Worker` is the side that starts one. `tell` and `Orders` are the side that was started; it ends when its
standard input does, so that none outlives whoever started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from typing import Any

from tests.server_process import PROJECT, environment

END_S = 5.0

Fact = dict[str, Any]
_telling = threading.Lock()


class Worker:
    """A process that runs `python -m MODULE ARGUMENTS`. Use as a context; leaving it ends the process."""

    def __init__(self, module: str, *arguments: str, take: Callable[[Fact], None] | None = None) -> None:
        """Start it; `take` is called for each fact, one after the other, in a thread of this object."""
        self.told: list[Fact] = []  # what `take` did not want
        self._take = take or self.told.append
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            env=environment({}),
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def order(self, text: str) -> None:
        """Send a line; a process that is gone is told nothing."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()

    def wait_until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until facts have made something true, looking at each; False when it did not come."""
        until = monotonic() + timeout_s
        with self._changed:
            while not reached():
                left = until - monotonic()
                if left <= 0 or self._ended:
                    return reached()
                self._changed.wait(left)
        return True

    def wait_for(self, name: str, timeout_s: float) -> Fact | None:
        """Wait for a fact of that name."""
        found: list[Fact] = []

        def is_there() -> bool:
            found[:] = [one for one in self.told if name in one]
            return bool(found)

        self.wait_until(is_there, timeout_s)
        return found[-1] if found else None

    def end(self) -> None:
        """End the process, by its own id if it does not go by itself."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(END_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            fact = json.loads(line)
            with self._changed:
                self._take(fact)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def tell(**fact: Any) -> None:
    """Tell the starter something."""
    with _telling:
        sys.stdout.write(json.dumps(fact) + "\n")
        sys.stdout.flush()


class Orders:
    """What the starter sends. The process ends at once when the starter is gone."""

    def __init__(self) -> None:
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> list[str]:
        """Wait for the next order; return its words."""
        return self._lines.get().split()

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)
        os._exit(0)
