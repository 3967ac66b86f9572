"""What there is of viewers by HTTP beside their connections, for those who tell of it. Interfaces only."""

from __future__ import annotations

from typing import Protocol, TypedDict

from rtmpsrv.watching import Viewing


class Made(TypedDict):
    """What is made for them."""

    hls: int  # channels
    mp4: int
    ffmpeg_runs: bool
    ffmpeg_ends: int


class Viewers(Protocol):
    """Who watches and is no player; see `watching`."""

    def viewings(self, name: str) -> list[Viewing]:
        """Return those of a channel."""

    def apart(self) -> list[Viewing]:
        """Return those that are no connection."""

    def find_apart(self, client_id: str) -> Viewing | None:
        """Return one of these."""

    def sent_before(self, name: str) -> int:
        """Return how many bytes those of a channel were sent who watch no more."""
