"""What a relay asks of others: who may publish, and what is on the air elsewhere. Interfaces only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .access.gate import Grant, PublishRequest
from .access.second_publisher import Claim
from .room import Limits
from .server.host import Peer


class Gate(Protocol):
    """Who says whether somebody may publish: `access.gate`, or the keeper of several processes."""

    def admit(self, request: PublishRequest, on_kill: Callable[[str], None]) -> Grant:
        """Return a grant that must be released, or raise AccessDenied. May block."""

    def activate(self, grant: Grant) -> bool:
        """Say whether a channel that just went live may stay so. Never blocks."""

    def rebind(self, grant: Grant, on_kill: Callable[[str], None]) -> bool:
        """Let another session answer for a publication; False if it was ended meanwhile. Never blocks."""

    def release(self, grant: Grant) -> None:
        """End a publication. Idempotent, never blocks."""


class Elsewhere(Limits, Protocol):
    """The other processes, where there are any: what is on the air there. `keeps` and `go_on` block."""

    def wanted(self, name: str) -> None:
        """Take note that a player waits here for a channel that may be on the air elsewhere."""

    def has(self, name: str) -> bool:
        """Tell whether a channel is on the air elsewhere."""

    def keeps(self, name: str) -> bool:
        """Tell whether players of a channel are kept elsewhere for a publisher that goes on."""

    def names(self) -> list[str]:
        """Return the channels that are on the air elsewhere."""

    def published_here(self, name: str) -> None:
        """Take note that a channel has a publisher here from now on: it is nobody's copy any more."""

    def go_on(self, peer: Peer, name: str, claim: Claim) -> None:
        """Let a publisher move to where it may go on for another one; returns when it stays."""
