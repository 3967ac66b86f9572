"""What makes HLS of a channel asks of others. Interfaces only."""

from __future__ import annotations

from typing import Protocol

from rtmpsrv.live.budget import Holder
from rtmpsrv.live.reading import Item, Place

Headers = tuple[tuple[int, bytes], ...]


class Reading(Protocol):
    """A cursor over a channel's messages; see `live.reading`."""

    @property
    def is_closed(self) -> bool:
        """Whether the channel is another process's now."""

    @property
    def lock(self) -> bytes | None:
        """What stands for the publisher's key, since the last Began or Spliced."""

    @property
    def place(self) -> Place:
        """Where it is, also for another process."""

    @property
    def headers(self) -> Headers:
        """Those in force at what is read next."""

    def read(self, most: int = 256) -> Item | None:
        """Return what comes next, so many messages at most."""

    def allow(self, lag_bytes: int, lag_s: float) -> None:
        """Set how far behind it may be."""

    def close(self) -> None:
        """Be done."""


class Memory(Protocol):
    """What this process holds; see `live.budget`."""

    def hold(self, kind: str, holder: Holder, count: int) -> None:
        """Take note of what is held; may drop who holds most."""

    def is_pressed(self, kind: str) -> bool:
        """Tell whether as little as possible is to be held."""
