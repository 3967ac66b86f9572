"""Whose turn it is: one at a time, who is urgent before others, and those alike in the order they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from gevent.event import Event


class Turns:
    """Of greenlets. Who has the turn keeps it, however urgent others are."""

    def __init__(self, ranks: int) -> None:
        """It is nobody's. Rank 0 comes first."""
        self._is_taken = False
        self._queues: tuple[deque[Event], ...] = tuple(deque() for _ in range(ranks))

    @contextmanager
    def take(self, rank: int) -> Iterator[None]:
        """Have the turn. Blocks until it comes."""
        self._wait(self._queues[rank])
        try:
            yield
        finally:
            self._pass_on()

    # --- private ----------------------------------------------------------------------------------

    def _wait(self, queue: deque[Event]) -> None:
        if not self._is_taken:  # then nobody waits
            self._is_taken = True
            return
        called = Event()
        queue.append(called)
        try:
            called.wait()
        except BaseException:  # killed
            if called.is_set():
                self._pass_on()
            else:
                queue.remove(called)
            raise

    def _pass_on(self) -> None:
        for queue in self._queues:
            if queue:
                queue.popleft().set()
                return
        self._is_taken = False
