"""Where a player's media comes from, as the writer of its socket sees it. An interface only."""

from __future__ import annotations

from typing import Protocol


class Feed(Protocol):
    """Where a player's media comes from. Its methods never block."""

    @property
    def at_boundary(self) -> bool:
        """Whether an answer may be written now."""

    @property
    def uncounted_bytes(self) -> int:
        """What the fast lane has sent by itself and not credited yet."""

    def fall_behind(self) -> None:
        """Send no more but in `step`: something else has to be written first."""

    def step(self, to_boundary: bool) -> bool | None:
        """Send some, no further than the next message boundary if so asked.

        True: moved, there may be more. False: the socket is full. None: nothing left to send now.
        """
