"""How a task that reads from a callback, Redis or control server leaves the process to the streams.

A greenlet that always finds something to read never lets others run, and no deadline of its own fires either.
So each such task has a share, spends it as it works, and waits when it is used up. Interfaces only: sessions
have such shares, from `server`.
"""

from __future__ import annotations

from typing import Protocol


class Share(Protocol):
    """One task's part of the process."""

    def spend(self, units: int = 1) -> None:
        """Count work that was done; a unit is about that of one message. Blocks when it was too much."""


class GiveWay(Protocol):
    """Who hands out shares."""

    def share(self) -> Share:
        """Give a new task its share."""
