"""All channels of the process by name. Never blocks."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

from ..errors import CannotMove
from .budget import Budget
from .channel import Channel
from .clock import Clock
from .crowd import Crowd, LeftOut
from .output import LiveLimits
from .relief import relieve

Name = TypeVar("Name", bound=Hashable)


class Registry(Generic[Name]):
    """Channels exist while somebody publishes or plays them. Changed by hosts only."""

    def __init__(self, clock: Clock, limits: LiveLimits, total_bytes: int, chunk_size: int) -> None:
        self.budget = Budget(total_bytes)
        self.budget.relieve = self._relieve
        self.left_out = LeftOut()  # by players of all channels there ever were
        self._clock = clock
        self._limits = limits
        self._chunk_size = chunk_size
        self._channels: dict[Name, Channel] = {}
        self._publications = 0  # as many as any forgotten channel had

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
            channel = Channel(
                str(name),
                self._clock,
                self.budget,
                self._limits,
                self._chunk_size,
                Crowd(self.left_out),
                lambda: self.release(name),
            )
            # A player that moves may return to a channel that was forgotten meanwhile: its number must not
            # name another publication by then.
            channel.publication = self._publications
            self._channels[name] = channel
        return channel

    def release(self, name: Name) -> None:
        """Forget the channel if nobody publishes, plays, mirrors or awaits it any more. Idempotent."""
        channel = self._channels.get(name)
        if channel is not None and channel.output is None and not channel.is_wanted:
            del self._channels[name]
            self._publications = max(self._publications, channel.publication)

    def adopt(self, name: Name, value: dict[str, Any], fds: list[int]) -> Channel:
        """Go on with a channel that another process had, by what its `Channel.snapshot` returned.

        The descriptors that the value refers to are taken over. Players that wait here for the name are
        started, and what became of them is among the channel's news. Raises CannotMove, with nothing changed
        and the descriptors left alone, where somebody publishes it here.
        """
        channel = self.open(name)
        try:
            channel.adopt(value, fds)
        except CannotMove:
            self.release(name)
            raise
        return channel

    def abandon(self, name: Name) -> None:
        """Forget a channel that another process goes on with, without a word to anybody. Idempotent.

        Its players were frozen before.
        """
        channel = self._channels.pop(name, None)
        if channel is not None:
            channel.abandon()
            self._publications = max(self._publications, channel.publication)

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        return {
            "budget": self.budget.describe(),
            "channels": [channel.describe() for channel in self._channels.values()],
        }

    def _relieve(self) -> None:
        relieve(self.budget, list(self._channels.values()), self._clock.now())
