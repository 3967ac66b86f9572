"""What one process leaves to the next: everything that a succession moves, and who must be told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from ..access.blocks import Blocks
from ..access.gate import Authority, Grant, Note
from ..live.channel import Channel
from ..live.news import NewsOf
from ..live.player import Player
from ..server.listener import Listener
from ..server.parts import ServerParts
from ..server.served import Served, State

Kill: TypeAlias = Callable[[str, str | None, str], bool]  # channel, stream id (None: any), reason

MOST_HELD: Final = 1000  # kills that are kept during a succession


class Reports(Authority, Protocol):
    """An authority that queues what it has to report."""

    def take_unsent(self) -> list[Grant]:
        """Give up the reports that are not on their way. Never blocks."""


class Channels(Protocol):
    """The channels of a process, as a registry has them. Never blocks."""

    def __iter__(self) -> Iterator[Channel]:
        """Give all."""

    def find(self, name: str) -> Channel | None:
        """Return a channel, None where there is none."""

    def open(self, name: str) -> Channel:
        """Return a channel, a new one if need be."""

    def adopt(self, name: str, value: dict[str, Any], fds: list[int]) -> Channel:
        """Go on with a channel of another process. Raises CannotMove, with nothing changed."""

    def abandon(self, name: str) -> None:
        """Forget a channel that another process goes on with."""

    def release(self, name: str) -> None:
        """Forget a channel if nobody needs it any more."""


class Commands(Protocol):
    """A subscription to commands from outside."""

    def wait_subscribed(self, timeout_s: float) -> bool:
        """Wait until commands arrive. Blocks up to `timeout_s`."""

    def stop(self) -> None:
        """Listen no more. May block for a second or two."""


class Past(Protocol):
    """What a process remembers, for people to look at."""

    def snapshot(self) -> dict[str, Any]:
        """Return plain values with which `adopt` goes on in the next process. Never blocks."""

    def adopt(self, value: dict[str, Any]) -> None:
        """Go on with what another process remembers. Never blocks."""


class Grants(Protocol):
    """What a process knows of its publications: its gate, or its part in the keeper's. Never blocks."""

    def note(self, grant: Grant) -> Note | None:
        """Return what another process needs to `inherit` a publication; None if it was released."""

    def granted_by(self, grant: Grant) -> Authority | None:
        """Return who granted a publication, if that is of this process."""

    def inherit(self, grant: Grant, note: Note, authority: Authority | None = None) -> Grant:
        """Take over a publication from the process before this one; return the grant to go on with."""

    def abandon(self, grant: Grant) -> None:
        """Forget a publication that another process has inherited; nobody is told."""

    def kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        """End what is published on a channel; return whether something was."""

    def kill_all(
        self,
        reason: str,
        notify: bool,
        of: Authority | None = None,
        serials: Collection[int] | None = None,
    ) -> None:
        """End everything; or what one authority granted; or of that, what has certain serials."""

    def block(self, channel: str, seconds: float) -> None:
        """Refuse the publishers of a channel for so long."""

    def blocks(self) -> dict[str, float]:
        """Return what `block` is to be told in the process that goes on."""


class Kills:
    """Ends publications wherever they are: in this process, the one before it, or the one after."""

    def __init__(self, gate: Grants) -> None:
        self._gate = gate
        self._held: list[tuple[str, str | None, str]] | None = None
        self.before: list[Kill] = []  # pass one on to a process before this one
        self.after: Kill | None = None

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
            or self._pass_back(channel, stream_id, reason)
            or self._pass_on(channel, stream_id, reason)
        )

    def from_before(self, channel: str, stream_id: str | None, reason: str) -> None:
        """Do what a predecessor passes on; it is not passed back. Never blocks."""
        if not self._gate.kill(channel, stream_id, reason):
            self._pass_on(channel, stream_id, reason)

    def from_after(self, channel: str, stream_id: str | None, reason: str) -> None:
        """Do what the successor passes on. Never blocks."""
        if not self._gate.kill(channel, stream_id, reason):
            self._pass_back(channel, stream_id, reason)

    def _pass_back(self, channel: str, stream_id: str | None, reason: str) -> bool:
        # A list, not a generator: all of them are asked, since each passes on to nobody else.
        return any([kill(channel, stream_id, reason) for kill in self.before])  # noqa: C419

    def _pass_on(self, channel: str, stream_id: str | None, reason: str) -> bool:
        return self.after is not None and self.after(channel, stream_id, reason)


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


class Made(Protocol):
    """What is made of channels for viewers, beside what they are sent. Never blocks."""

    def state_of(self, channel: str, most: int) -> tuple[Any, int]:
        """Return what is made of a channel, for `adopt` in another process, and its bytes: `most` so many."""

    def let_go(self, channel: str) -> None:
        """Take note that another process has adopted it."""

    def adopt(self, channel: str, value: Any) -> None:
        """Go on with what another process made of a channel."""

    def numbers(self) -> dict[str, Any]:
        """Return what may never be used twice, for `inherit` in another process."""

    def inherit(self, value: dict[str, Any]) -> None:
        """Go on where another process has stopped."""


class Mirrored(Protocol):
    """Channels here that another process owns."""

    def __contains__(self, name: str) -> bool:
        """Tell whether a channel is one of them."""

    def end(self, name: str) -> None:
        """Follow one no more. Idempotent."""


class Door(Protocol):
    """A port for something else than streams."""

    bound_to: tuple[str, int]

    @property
    def descriptor(self) -> int | None:
        """The socket that listens there; None for none."""

    def pause(self) -> None:
        """Let clients wait: what is known here is about to move. Blocks for half a second at most."""

    def resume(self) -> None:
        """Let them in again: nothing has moved. Never blocks."""

    def retire(self) -> None:
        """Leave clients to another process, which has the same socket. Never blocks."""


class Elder(Protocol):
    """A process before this one."""

    pid: int

    @property
    def mirroring(self) -> Mirrored:
        """What it owns of the channels here."""

    def meet_heir(self, descriptor: int) -> None:
        """Let it talk to this process's successor, of channels that move there. Never blocks."""

    def turn_to_heir(self, kept: set[str]) -> None:
        """Let it turn to this process's successor, but for channels that stay here. Never blocks."""

    def ask_to_end(self) -> None:
        """Let it drain, as at SIGTERM: nobody serves any more. Never blocks."""


@dataclass(slots=True)
class Estate:
    """All that there is of one process. Made by the application."""

    registry: Channels
    gate: Grants
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
    elders: list[Elder] = field(default_factory=list)  # processes before this one, with sessions left
    # Among several workers: lets a channel that is played here be fed by whichever worker has it.
    copied: Callable[[str], None] | None = None
    published_here: Callable[[str], None] = lambda name: None  # gives a copy up, whose publisher comes
    link_lost_after: Callable[[Authority, set[int] | None], None] | None = None  # tells the successor
    login_secret: bytes = field(default=b"", repr=False)  # for the challenges of logins
    turned_away: Blocks = field(default_factory=Blocks)  # who may not play what for a while
    made: Made | None = None  # of channels
    past: Past | None = None  # what is remembered of those that are gone
    doors: list[Door] = field(default_factory=list)  # other ports; the successor gets their sockets

    def link_lost(self, authority: Authority, serials: set[int] | None = None) -> None:
        """End what a tied authority has granted, or some of it, here and in the successor. Never blocks."""
        self.gate.kill_all("control link lost", notify=False, of=authority, serials=serials)
        if self.link_lost_after is not None:
            self.link_lost_after(authority, serials)


@runtime_checkable
class OnChannel(Protocol):
    """What a session was granted, as this host makes it."""

    channel: Channel


@runtime_checkable
class OnPlay(OnChannel, Protocol):
    """What a player was granted, as this host makes it."""

    feed: Player


def channels_of(session: Served) -> set[str]:
    """Name the channels that a session publishes or plays on: none, one, or two that differ."""
    return {granted.channel.name for granted in session.granted if isinstance(granted, OnChannel)}


def waits(session: Served, estate: Estate) -> bool:
    """Tell whether a session only waits for a publisher: it can go without the channel."""
    granted = session.granted
    return bool(granted) and all(
        isinstance(one, OnPlay)
        and one.feed.state.waiting
        and one.channel.output is None
        and not any(one.channel.name in elder.mirroring for elder in estate.elders)
        for one in granted
    )


def is_fixed(session: Served) -> bool:
    """Tell whether a session can never move: for TLS, or for two channels, of which its state names one."""
    return session.is_bound or len(channels_of(session)) > 1


def published_here(estate: Estate, *, fixed: bool = False) -> set[str]:
    """Name the channels that sessions of this process publish, all of them or those that can never move."""
    return {
        name
        for listener in estate.listeners
        for session in listener.sessions
        if session.role == "publisher" and (is_fixed(session) or not fixed)
        for name in channels_of(session)
    }


def addresses_of(estate: Estate) -> Counter[str]:
    """Count the sessions of this process by the addresses of their clients."""
    return Counter(session.client.ip for listener in estate.listeners for session in listener.sessions)


def home_of(state: State, listeners: list[Listener]) -> Listener:
    """Return the listener that a session from elsewhere belongs to: it counts there, and its log is named so.

    That without TLS comes first, as what can move has none here, whatever a proxy tells of the client. The
    first of all takes those whose protocol nobody speaks any more: they go on all the same.
    """
    alike = [listener for listener in listeners if listener.protocol == state.protocol]
    return min(alike, key=lambda listener: listener.secure, default=listeners[0])
