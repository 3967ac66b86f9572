"""The queue of a registrant and what is in it: bounds for media, and the proof that somebody consumes.

The queue has no maximum of its own: control messages never wait, media does (`has_room`). One queue may
serve several registrations.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from gevent.queue import LifoQueue, PriorityQueue, Queue

from .limits import Limits


class Backlog:
    """Payload bytes that several inboxes hold together."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Inbox:
    """Counts what a queue holds, and notices when it is full and nothing is taken. Never blocks."""

    def __init__(self, queue: Queue[Any], limits: Limits) -> None:
        waiting = queue.queue
        if waiting and waiting[-1] is StopIteration:
            waiting.pop()  # what the last registration here left for its reader: now there is another one
        self.queue = queue
        self.registrations = 0  # that report here
        self.limits = limits
        self._backlog: Backlog | None = None
        # Payload bytes of each message in the queue, oldest first; those that were there count as messages.
        self._sizes: deque[int] = deque([0] * queue.qsize())
        self._bytes = 0
        self._taken = 0  # messages, ever
        self._full_since: float | None = None
        self._taken_when_full = 0

    def another(self) -> Inbox:
        """Return an empty one with a queue of its own and the same limits."""
        return Inbox(Queue(), self.limits)

    def join(self, backlog: Backlog) -> None:
        """Have room only while all that share a backlog have it: until `part`, before which nobody reads."""
        self._backlog = backlog
        backlog.size += self._bytes

    def part(self) -> None:
        """Be bounded alone from now on. Idempotent."""
        if self._backlog is not None:
            self._backlog.size -= self._bytes
            self._backlog = None

    def put(self, message: object, size: int = 0) -> None:
        """Add a message with `size` bytes of payload."""
        self._sizes.append(size)
        self._bytes += size
        if self._backlog is not None:
            self._backlog.size += size
        self.queue.put(message)

    def leave(self) -> None:
        """Take note that a registration ended; the queue ends with the last one."""
        self.registrations -= 1
        if not self.registrations:
            self.put(StopIteration)

    def has_room(self) -> bool:
        """Tell whether media may be put now."""
        sizes = self._sizes
        for _ in range(len(sizes) - self.queue.qsize()):
            self._bytes -= sizes.popleft()
            self._taken += 1
        size = self._bytes if self._backlog is None else self._backlog.size
        return len(sizes) <= self.limits.queue_messages and size <= self.limits.queue_bytes

    def is_stalled(self, now: float) -> bool:
        """Tell whether the queue has been full for the limit of time and nothing was taken from it."""
        if self.has_room():
            self._full_since = None
            return False
        if self._full_since is None or self._taken != self._taken_when_full:
            self._full_since = now
            self._taken_when_full = self._taken
            return False
        return now - self._full_since >= self.limits.stall_s


def check_queue(what: str, queue: object) -> None:
    """Raise TypeError or ValueError for what is no first-in-first-out queue of gevent without a bound."""
    if not isinstance(queue, Queue) or isinstance(queue, LifoQueue | PriorityQueue):
        kind = f"{type(queue).__module__}.{type(queue).__qualname__}"
        raise TypeError(f"{what} is a gevent.queue.Queue, not {kind}")
    if queue.maxsize is not None:
        raise ValueError(f"{what} has no maximum size, this one has {queue.maxsize}")
