"""Where requests to publish or to play wait while one process succeeds another. Otherwise it is open."""

from __future__ import annotations

from gevent.event import Event as Signal


class Hold:
    """Open, or closed for a while by whoever hands sessions over or takes them over."""

    def __init__(self) -> None:
        self.closed = False
        self._waiting: set[Signal] = set()

    def close(self) -> None:
        """Let requests wait from now on. Never blocks."""
        self.closed = True

    def open(self) -> None:
        """Let them all go on. Idempotent, never blocks."""
        self.closed = False
        for signal in self._waiting:
            signal.set()

    def wait(self, signal: Signal) -> None:
        """Block until it opens, or somebody sets `signal`. A bound is up to who closed it."""
        self._waiting.add(signal)
        try:
            signal.wait()
        finally:
            self._waiting.discard(signal)
