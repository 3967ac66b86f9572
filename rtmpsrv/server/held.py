"""Counting what peers make the process hold: by kind, and by who holds it: connections. Interfaces only."""

from __future__ import annotations

from typing import Protocol

from ..log import Logger

ANSWERS = "answers"  # and copies of media: written, but not taken by the peer
UNFINISHED = "unfinished"  # messages of which not all has come, and bytes not parsed yet
TLS = "tls"  # records that OpenSSL has not got yet, and those that the peer has not taken


class Droppable(Protocol):
    """What holds something."""

    def drop(self, reason: str) -> None:
        """End it. Never blocks."""


class Holder(Droppable, Protocol):
    """A connection, as whoever counts its bytes sees it."""

    log: Logger


class Owner(Holder, Protocol):
    """The same, as whoever reads it sees it."""

    def announce(self) -> None:
        """Say that somebody is there: the first byte has come."""


class Held(Protocol):
    """The total of the process. Declared here, built in `live`."""

    def hold(self, kind: str, holder: Droppable, count: int) -> None:
        """Take note that `holder` holds so many bytes of a kind now; 0 forgets it. May drop holders."""

    def admits_publisher(self) -> bool:
        """Tell whether there is room for one more stream."""
