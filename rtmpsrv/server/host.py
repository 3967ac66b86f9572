"""What a session asks of the application: may this client connect, publish, play? Interfaces only.

A yes is an object that knows how to end; a no is an `AccessDenied` with the status for the peer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from ..log import Logger
from .feed import Feed
from .outlet import Outlet


@dataclass(frozen=True, slots=True)
class Asked:
    """A publish or play command: the stream name as it was sent, and when it came. Plain and picklable."""

    name: str | None = field(default=None, repr=False)
    at: float = 0.0  # wall clock, s


NOTHING = Asked()


@dataclass(slots=True)
class Client:
    """The facts about one connection. Plain and picklable."""

    number: int  # unique in the process
    ip: str
    port: int  # of the listener
    secure: bool  # RTMPS
    app: str = ""  # of the connect command, without what `requests.split_app` takes off; or the host's choice
    properties: dict[str, Any] = field(default_factory=dict, repr=False)  # of the connect command
    publish_mode: str = ""  # of the publish command: live, record or append
    app_query: str = field(default="", repr=False)  # stood behind the app: tokens, perhaps
    to_publish: Asked = NOTHING  # what it asked for last; it may publish and play at one time
    to_play: Asked = NOTHING
    granted: object = field(default=None, repr=False)  # what the host knows of it as a player; it pickles
    id: str = field(default_factory=lambda: str(uuid4()))  # of the connection, for its whole life
    user: str = ""  # the name that it showed; the host's, as is
    channel: str = ""  # what it asked for last, if that may be the name of one
    form: str = ""  # "": it speaks RTMP; of what it watches by HTTP, such as flv; "http": nothing so far

    @property
    def asked_at(self) -> float:
        """When it asked for something last, on the wall clock."""
        return max(self.to_publish.at, self.to_play.at)

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        """Take what another process knew, of which a version may have had fewer fields, or more."""
        self.id, self.user, self.channel, self.form = str(uuid4()), "", "", ""
        for name, value in state[1].items():
            if name in self.__slots__:
                setattr(self, name, value)


class Peer(Protocol):
    """One connection as a host sees it. A session is one."""

    client: Client
    log: Logger

    def drop(self, reason: str) -> None:
        """End the connection. Never blocks; may be called from any greenlet."""

    def dismiss(self, reason: str) -> None:
        """End the connection; a peer that publishes or plays is told why first. Never blocks, as `drop`."""

    def refuse_play(self, code: str, description: str) -> None:
        """Tell a player that waits that it may not play after all, and close. Never blocks."""

    def has_left(self) -> bool:
        """Tell whether the peer is gone, for a host that makes it wait. Never blocks."""

    def is_unwanted(self) -> bool:
        """Tell whether somebody wants the connection to end: the host, or the process. Never blocks."""

    def traffic(self) -> tuple[int, int]:
        """Return how many bytes were received and sent so far. Never blocks."""

    def silence_s(self) -> float:
        """Return for how long the peer has sent nothing. Never blocks."""

    def sound(self) -> bool:
        """Find out whether the peer is gone where unread bytes hide it. Never blocks.

        True: `has_left` will tell as soon as the peer's system has answered; False: it tells now.
        """


class Publication(Protocol):
    """A stream that a client is publishing."""

    started: str  # description for Publish.Start
    ended: str  # description for Unpublish.Success
    may_block: bool  # whether `append` may; the others are read together, in the hub

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Take media and data messages in order. May block, if it says so, to slow the publisher down."""

    def end(self, reason: str) -> None:
        """Go off the air. Idempotent, never blocks."""

    def freeze(self) -> object:
        """Return what `Host.resume_publication` needs, to be pickled; the stream stays on the air.

        This object is dead then. Never blocks. Raises CannotMove, and nothing was changed.
        """


class Playback(Protocol):
    """A stream that a client is playing, or waiting for."""

    @property
    def feed(self) -> Feed:
        """Where the outlet takes the media from."""

    def start(self, audio: bool, video: bool) -> None:
        """Begin, with the choice of media made so far; the outlet has the feed. Never blocks."""

    def resume(self) -> None:
        """Go on where a frozen one stopped; the session has taken note. Never blocks."""

    def pause(self, paused: bool) -> None:
        """Pause or resume. Never blocks."""

    def receive(self, audio: bool, video: bool) -> None:
        """Choose which media to receive. Never blocks."""

    def end(self, reason: str) -> None:
        """Stop. Idempotent, never blocks."""

    def freeze(self) -> object:
        """Return what `Host.resume_playback` needs, to be pickled; the peer is told nothing.

        This object is dead then. Never blocks. Raises CannotMove, and nothing was changed.
        """


class Host(Protocol):
    """The application behind the sessions."""

    def connect(self, peer: Peer) -> None:
        """Accept `peer.client.app` or raise AccessDenied. May block."""

    def publish(self, peer: Peer, name: str | None, msid: int) -> Publication:
        """Put a peer on the air under the stream name it sent, or raise AccessDenied. May block."""

    def play(self, peer: Peer, name: str | None, msid: int, outlet: Outlet) -> Playback:
        """Let a peer play or wait, or raise AccessDenied. May block."""

    def resume_publication(self, peer: Peer, frozen: object) -> Publication:
        """Go on with what `Publication.freeze` returned, or raise AccessDenied. Never blocks."""

    def resume_playback(self, peer: Peer, frozen: object, outlet: Outlet) -> Playback:
        """Go on with what `Playback.freeze` returned; the session calls `resume`. Never blocks."""

    def refusal_delay(self, address: str) -> float:
        """Return for how many seconds to keep a refusal from a peer of that address. Never blocks."""
