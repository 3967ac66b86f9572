"""What one process leaves to the next: everything that a succession moves, and who must be told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from ..access.gate import Authority, Gate, Grant
from ..live.channel import Channel
from ..live.news import NewsOf
from ..live.registry import Registry
from ..server.listener import Listener
from ..server.parts import ServerParts
from ..server.session import Session

MOST_HELD: Final = 1000  # kills that are kept during a succession


class Reports(Authority, Protocol):
    """An authority that queues what it has to report."""

    def take_unsent(self) -> list[Grant]:
        """Give up the reports that are not on their way. Never blocks."""


class Commands(Protocol):
    """A subscription to commands from outside."""

    def wait_subscribed(self, timeout_s: float) -> bool:
        """Wait until commands arrive. Blocks up to `timeout_s`."""

    def stop(self) -> None:
        """Listen no more. May block for a second or two."""


class Kills:
    """Ends publications wherever they are: in this process, the one before it, or the one after."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._held: list[tuple[str, str | None, str]] | None = None
        self.before: Callable[[str, str | None, str], bool] | None = None  # passes one on to the predecessor
        self.after: Callable[[str, str | None, str], bool] | None = None

    def hold(self) -> None:
        """Keep what comes until `release`. Never blocks."""
        self._held = []

    def release(self) -> None:
        """Do what was kept. Never blocks."""
        held, self._held = self._held, None
        for kill in held or ():
            self.kill(*kill)

    def kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        """End what is published on a channel; return whether that was done, or may be. Never blocks."""
        if self._held is not None:
            if len(self._held) < MOST_HELD:
                self._held.append((channel, stream_id, reason))
            return True
        return (
            self._gate.kill(channel, stream_id, reason)
            or _passed(self.before, channel, stream_id, reason)
            or _passed(self.after, channel, stream_id, reason)
        )

    def from_before(self, channel: str, stream_id: str | None, reason: str) -> None:
        """Do what the predecessor passes on; it is not passed back. Never blocks."""
        if not self._gate.kill(channel, stream_id, reason):
            _passed(self.after, channel, stream_id, reason)

    def from_after(self, channel: str, stream_id: str | None, reason: str) -> None:
        """Do what the successor passes on. Never blocks."""
        if not self._gate.kill(channel, stream_id, reason):
            _passed(self.before, channel, stream_id, reason)


def _passed(
    to: Callable[[str, str | None, str], bool] | None, channel: str, stream_id: str | None, reason: str
) -> bool:
    return to is not None and to(channel, stream_id, reason)


class Numbers:
    """Numbers of connections, which go on from process to process."""

    def __init__(self) -> None:
        self._next = 1

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def begin_at(self, number: int) -> None:
        """Leave out what other processes may have used."""
        self._next = max(self._next, number)


@dataclass(slots=True)
class Estate:
    """All that there is of one process. Made by the application."""

    registry: Registry[str]
    gate: Gate
    kills: Kills
    parts: ServerParts
    numbers: Numbers  # the same as in the parts
    listeners: list[Listener]  # the first is that of plain RTMP; the same list as the application's
    agreed: dict[str, object]  # settings that must be the same in both processes, by variable
    tell: Callable[[list[NewsOf]], None]  # passes on what became of players
    reports: Reports | None = None
    commands: Commands | None = None
    # Authorities that stay in this process, with a connection of its own; what they granted remains theirs.
    tied: list[Authority] = field(default_factory=list)
    link_lost_after: Callable[[Authority], None] | None = None  # tells the successor

    def link_lost(self, authority: Authority) -> None:
        """End all that a tied authority has granted, here and in the successor. Never blocks."""
        self.gate.kill_all("control link lost", notify=False, of=authority)
        if self.link_lost_after is not None:
            self.link_lost_after(authority)


@runtime_checkable
class OnChannel(Protocol):
    """What a session was granted, as this host makes it."""

    channel: Channel


def channels_of(session: Session) -> set[str]:
    """Name the channels that a session publishes or plays on: none, one, or two that differ."""
    return {granted.channel.name for granted in session.granted if isinstance(granted, OnChannel)}


def is_fixed(session: Session) -> bool:
    """Tell whether a session can never move: for TLS, or for two channels, of which its state names one."""
    return session.is_bound or len(channels_of(session)) > 1
