"""What those ask of `live` who make something else of a channel: HLS, MP4, pictures. Interfaces only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .budget import Holder
from .header_history import Headers
from .reading import Item, Place


class Cursor(Protocol):
    """What `reading.Reading` is to whoever reads."""

    @property
    def is_closed(self) -> bool:
        """Whether the channel is another process's now."""

    @property
    def lock(self) -> bytes | None:
        """What stands for the publisher's key, since the last Began or Spliced."""

    @property
    def place(self) -> Place:
        """Where it is, for another one to go on from, here or in another process."""

    @property
    def headers(self) -> Headers:
        """Those in force at what is read next."""

    def read(self, most: int = 256) -> Item | None:
        """Return what comes next, so many messages at most."""

    def allow(self, lag_bytes: int, lag_s: float) -> None:
        """Set how far behind it may be."""

    def close(self) -> None:
        """Be done."""


Subscribe = Callable[[Callable[[], None], Place], Cursor]  # given whom to tell of news, and where to begin


class Memory(Protocol):
    """What `budget.Budget` is to whoever holds something."""

    def hold(self, kind: str, holder: Holder, count: int) -> None:
        """Take note of what is held; may drop who holds most."""

    def is_pressed(self, kind: str) -> bool:
        """Tell whether as little as possible is to be held."""
