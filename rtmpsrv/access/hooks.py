"""What is asked and told of clients beside the start and the stop of publications: by whom, or by nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rtmpsrv.access.facts import Facts
from rtmpsrv.access.gate import Grant, PublishRequest


class Watch:
    """Looks after one publisher or player; this one after nobody."""

    __slots__ = ()

    def cancel(self) -> None:
        """Look no more. Idempotent, never blocks."""


class Hooks(Protocol):
    """Who is asked about connections and players, and whether they may go on."""

    wants_facts: bool  # whether anything is done with the facts of a client

    def connect(self, client_ip: str, facts: Facts) -> str:
        """Return another app for this client, "" for its own, or raise AccessDenied. May block."""

    def play(self, request: PublishRequest) -> Grant | None:
        """Return what a player may, None for whatever it asked, or raise AccessDenied. May block."""

    def left(self, visit: Grant) -> None:
        """Report that a player has left. Never blocks."""

    def watch(self, grant: Grant, end: Callable[[str], None], *, publishes: bool) -> Watch:
        """Call `end` when a publisher or player may not go on. Never blocks."""


class NoHooks:
    """Nobody is asked."""

    wants_facts = False

    def connect(self, client_ip: str, facts: Facts) -> str:
        """Let everybody connect. Never blocks."""
        return ""

    def play(self, request: PublishRequest) -> Grant | None:
        """Let everybody play. Never blocks."""
        return None

    def left(self, visit: Grant) -> None:
        """Tell nobody."""

    def watch(self, grant: Grant, end: Callable[[str], None], *, publishes: bool) -> Watch:
        """Look at nothing."""
        return Watch()
