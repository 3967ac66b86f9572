"""A stage whose channel is a mirror of another one's, as it would be in another process."""

from __future__ import annotations

import os
import pickle
from collections import deque
from typing import Any

from rtmpsrv.live.mirror import Mirror
from rtmpsrv.live.tap import Tap
from tests.unit.live.stage import Stage


class Mirrored:
    """The mirror of a stage, and the way to it. Messages are copied, descriptors are its own."""

    def __init__(self, owner: Stage, *, arrives: bool = True, stage: Stage | None = None) -> None:
        """A new one; or that of a stage which was tapped or handed over before, from where that is."""
        self.stage = stage or owner.beside()
        self.mirror = Mirror(self.stage.channel)
        self.arrives = arrives  # at once; otherwise when `arrive` is called
        self.alive = True
        self.messages: list[dict[str, Any]] = []  # so far
        self._on_the_way: deque[tuple[bytes, list[int]]] = deque()
        self.tap = Tap(owner.channel, self._deliver, *self.mirror.place)

    def tap_again(self, owner: Stage) -> None:
        """Go on with another tap, from where the mirror is."""
        self._on_the_way.clear()
        self.tap.close()
        self.tap = Tap(owner.channel, self._deliver, *self.mirror.place)

    def arrive(self, count: int = 1 << 30) -> None:
        """Let messages arrive that are on their way."""
        while self._on_the_way and count:
            count -= 1
            data, fds = self._on_the_way.popleft()
            self.stage.heard += self.mirror.feed(pickle.loads(data), fds)

    @property
    def kinds(self) -> list[str]:
        """What kinds of messages came so far."""
        return [message["kind"] for message in self.messages]

    def _deliver(self, message: dict[str, Any], fds: list[int]) -> bool:
        if not self.alive:
            return False
        self.messages.append(message)
        self._on_the_way.append((pickle.dumps(message), [os.dup(fd) for fd in fds]))
        if self.arrives:
            self.arrive()
        return True
