"""All channels of the process by name, and the memory they may keep together. Never blocks."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from .channel import Channel, Clock, LiveLimits
from .segment import Budget

Name = TypeVar("Name", bound=Hashable)


class Registry(Generic[Name]):
    """Channels exist while somebody publishes or plays them. Changed by hosts only."""

    def __init__(self, clock: Clock, limits: LiveLimits, total_bytes: int, chunk_size: int) -> None:
        self.budget = Budget(total_bytes)
        self.budget.relieve = self._relieve
        self._clock = clock
        self._limits = limits
        self._chunk_size = chunk_size
        self._channels: dict[Name, Channel] = {}

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._channels.values()))

    def __len__(self) -> int:
        return len(self._channels)

    def find(self, name: Name) -> Channel | None:
        """Return the channel of that name, None if there is neither publisher nor player."""
        return self._channels.get(name)

    def open(self, name: Name) -> Channel:
        """Return the channel of that name, a new one if need be."""
        channel = self._channels.get(name)
        if channel is None:
            channel = Channel(str(name), self._clock, self.budget, self._limits, self._chunk_size)
            self._channels[name] = channel
        return channel

    def release(self, name: Name) -> None:
        """Forget the channel if nobody publishes or plays it any more. Idempotent."""
        channel = self._channels.get(name)
        if channel is not None and not channel.live and not channel.players:
            del self._channels[name]

    def _relieve(self) -> None:
        """Bring the kept bytes under the total: the oldest cache goes first, then backlogs of laggards."""
        budget = self.budget
        while budget.used_bytes > budget.limit_bytes:
            kept = [
                (oldest, channel)
                for channel in self._channels.values()
                if channel.live and (oldest := channel.oldest_kept_s()) is not None
            ]
            if not kept:
                break
            min(kept, key=lambda item: item[0])[1].shed()
        if budget.used_bytes > budget.limit_bytes:
            for channel in self._channels.values():
                for player in list(channel.players):
                    channel.skip(player, to_the_end=True)
