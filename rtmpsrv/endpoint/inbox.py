"""The queue of a registrant and what is in it: bounds for media, and the proof that somebody consumes.

The queue has no maximum of its own: control messages never wait, media does (`has_room`). One queue may
serve several registrations.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from gevent.queue import Queue

from .limits import Limits


class Inbox:
    """Counts what a queue holds, and notices when it is full and nothing is taken. Never blocks."""

    def __init__(self, queue: Queue[Any], limits: Limits) -> None:
        self.queue = queue
        self.registrations = 0  # that report here
        self._limits = limits
        self._sizes: deque[int] = deque()  # payload bytes of each message in the queue, oldest first
        self._bytes = 0
        self._taken = 0  # messages, ever
        self._full_since: float | None = None
        self._taken_when_full = 0

    def put(self, message: object, size: int = 0) -> None:
        """Add a message with `size` bytes of payload."""
        self._sizes.append(size)
        self._bytes += size
        self.queue.put(message)

    def has_room(self) -> bool:
        """Tell whether media may be put now."""
        sizes = self._sizes
        for _ in range(len(sizes) - self.queue.qsize()):
            self._bytes -= sizes.popleft()
            self._taken += 1
        return len(sizes) <= self._limits.queue_messages and self._bytes <= self._limits.queue_bytes

    def is_stalled(self, now: float) -> bool:
        """Tell whether the queue has been full for the limit of time and nothing was taken from it."""
        if self.has_room():
            self._full_since = None
            return False
        if self._full_since is None or self._taken != self._taken_when_full:
            self._full_since = now
            self._taken_when_full = self._taken
            return False
        return now - self._full_since >= self._limits.stall_s
