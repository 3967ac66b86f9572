"""What a connection tells its session and what a session tells its connection; control only.

The same at both ends: what a client sends as an event comes out as that event at the server, and back.
Media and data messages are not events: they pass as lists of plain tuples (see `messages.Message`).
Stream names may be secret keys: they are kept out of every repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..pickling import Reduced, by_fields


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    def __reduce__(self) -> Reduced:
        return by_fields(self)


# --- of both ends --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientHello(Event):
    """C0 and C1 are there, and answered. Moves the connection; nobody is told."""


@dataclass(frozen=True, slots=True)
class HandshakeDone(Event):
    """The last part of the handshake is there. Moves the connection; nobody is told."""


# --- from the peer -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectAsked(Event):
    """`connect`: `app` is None when the peer sent none; `properties` is the whole command object."""

    transaction_id: float
    app: str | None
    properties: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublishAsked(Event):
    """`publish` on message stream `msid`; `name` (key and query) is None when missing."""

    msid: int
    name: str | None = field(repr=False)
    mode: str = "live"  # or record, append; "" when missing


@dataclass(frozen=True, slots=True)
class PlayAsked(Event):
    """`play` on message stream `msid`; `name` (key and query) is None when missing."""

    msid: int
    name: str | None = field(repr=False)
    start: float = -2.0  # s; -2: live if there is one. Sent by clients, not looked at by this server


@dataclass(frozen=True, slots=True)
class PauseAsked(Event):
    """`pause`: `paused` is the wished state."""

    paused: bool


@dataclass(frozen=True, slots=True)
class ReceiveAsked(Event):
    """`receiveAudio` or `receiveVideo`: `audio` tells which, `wanted` the wished state."""

    audio: bool
    wanted: bool


@dataclass(frozen=True, slots=True)
class PublishStopAsked(Event):
    """`deleteStream`, `closeStream`, `FCUnpublish` or an empty `publish` for the stream being published."""


@dataclass(frozen=True, slots=True)
class PlayStopAsked(Event):
    """`deleteStream` or `closeStream` for the stream being played."""


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """A request that the transition table refuses; the peer was told, the session closes."""

    command: str
    code: str
    description: str
    msid: int


# --- from the session ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectAccepted(Event):
    """Answer `connect` with success."""


@dataclass(frozen=True, slots=True)
class ConnectRejected(Event):
    """Answer `connect` with `_error`; the session closes after it."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class PublishAccepted(Event):
    """Answer `publish` with Publish.Start."""

    description: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublishRefused(Event):
    """Answer `publish` with an error status; the session closes after it."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class PublishEnded(Event):
    """Tell a publisher that it is off the air, if `description` is given."""

    description: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class PlayAccepted(Event):
    """Take note that a player plays or waits; what it is sent comes from the channel."""


@dataclass(frozen=True, slots=True)
class PlayRefused(Event):
    """Answer `play` with an error status; the session closes after it."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class PlayEnded(Event):
    """Take note that a player stopped; with Play.Stop for the peer, if `description` is given."""

    description: str | None = None


@dataclass(frozen=True, slots=True)
class Ping(Event):
    """Send a ping request; `milliseconds` since `connect`."""

    milliseconds: int


# --- between a client and its connection only ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamAsked(Event):
    """`createStream`; a server answers it without asking anybody."""


@dataclass(frozen=True, slots=True)
class StreamCreated(Event):
    """The answer to `createStream`."""

    msid: int


@dataclass(frozen=True, slots=True)
class Status(Event):
    """`onStatus` of the server that is no answer to publish or play; `level` is status, error or warning."""

    msid: int
    level: str
    code: str
    description: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call(Event):
    """A command that no other event stands for, of the client or the server; results of such among them."""

    msid: int
    name: str
    transaction_id: float
    properties: Any = field(repr=False)
    arguments: tuple[Any, ...] = field(repr=False)
