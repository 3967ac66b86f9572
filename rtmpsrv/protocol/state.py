"""Where a connection stands, and the one table of what may happen next. No bytes.

Both ends use it: what the client asks and what the server answers move the same three small machines
(the connection, its publishing, its playing), whichever end looks at them. A pair of state and event
that is in neither table is a protocol error: the peer's when it was received, ours when it was sent.
"""

from __future__ import annotations

from enum import Enum

from .events import (
    Call,
    ClientHello,
    ConnectAccepted,
    ConnectAsked,
    ConnectRejected,
    Event,
    HandshakeDone,
    PauseAsked,
    Ping,
    PlayAccepted,
    PlayAsked,
    PlayEnded,
    PlayRefused,
    PlayStopAsked,
    PublishAccepted,
    PublishAsked,
    PublishEnded,
    PublishRefused,
    PublishStopAsked,
    ReceiveAsked,
    Refused,
    Status,
    StreamAsked,
    StreamCreated,
)


class Phase(Enum):
    """Where the connection stands."""

    C1 = "waiting for C0 and C1"
    C2 = "waiting for C2"
    OPEN = "handshake done"
    CONNECT_ASKED = "connect asked"
    CONNECTED = "connected"
    CLOSED = "closed"
    ERROR = "broken by a protocol error"


class Role(Enum):
    """Where publishing, or playing, stands on a connection."""

    NONE = "none"
    PUBLISH_ASKED = "publish asked"
    PUBLISHING = "publishing"
    PUBLISH_STOP_ASKED = "end of publishing asked"
    PLAY_ASKED = "play asked"
    PLAYING = "playing"
    PLAY_STOP_ASKED = "end of playing asked"


class Machine(Enum):
    """The machine that an event moves."""

    PHASE = "phase"
    PUBLISH = "publish"
    PLAY = "play"


State = Phase | Role

MACHINES: dict[type[Event], Machine] = {
    ClientHello: Machine.PHASE,
    HandshakeDone: Machine.PHASE,
    ConnectAsked: Machine.PHASE,
    ConnectAccepted: Machine.PHASE,
    ConnectRejected: Machine.PHASE,
    Refused: Machine.PHASE,
    ReceiveAsked: Machine.PHASE,
    Ping: Machine.PHASE,
    StreamAsked: Machine.PHASE,
    StreamCreated: Machine.PHASE,
    Status: Machine.PHASE,
    Call: Machine.PHASE,
    PublishAsked: Machine.PUBLISH,
    PublishAccepted: Machine.PUBLISH,
    PublishRefused: Machine.PUBLISH,
    PublishStopAsked: Machine.PUBLISH,
    PublishEnded: Machine.PUBLISH,
    PlayAsked: Machine.PLAY,
    PlayAccepted: Machine.PLAY,
    PlayRefused: Machine.PLAY,
    PauseAsked: Machine.PLAY,
    PlayStopAsked: Machine.PLAY,
    PlayEnded: Machine.PLAY,
}

TRANSITIONS: dict[tuple[State, type[Event]], State] = {
    (Phase.C1, ClientHello): Phase.C2,
    (Phase.C2, HandshakeDone): Phase.OPEN,
    (Phase.OPEN, ConnectAsked): Phase.CONNECT_ASKED,
    (Phase.CONNECT_ASKED, ConnectAccepted): Phase.CONNECTED,
    (Phase.CONNECT_ASKED, ConnectRejected): Phase.CLOSED,
    (Phase.OPEN, Refused): Phase.CLOSED,
    (Phase.CONNECT_ASKED, Refused): Phase.CLOSED,
    (Phase.CONNECTED, Refused): Phase.CLOSED,
    # What a player wants may be said before it plays, and some say it before they connect.
    (Phase.OPEN, ReceiveAsked): Phase.OPEN,
    (Phase.CONNECT_ASKED, ReceiveAsked): Phase.CONNECT_ASKED,
    (Phase.CONNECTED, ReceiveAsked): Phase.CONNECTED,
    (Phase.CONNECTED, Ping): Phase.CONNECTED,
    (Phase.CONNECT_ASKED, StreamAsked): Phase.CONNECT_ASKED,  # clients in a hurry
    (Phase.CONNECTED, StreamAsked): Phase.CONNECTED,
    (Phase.CONNECTED, StreamCreated): Phase.CONNECTED,
    (Phase.OPEN, Status): Phase.OPEN,
    (Phase.CONNECT_ASKED, Status): Phase.CONNECT_ASKED,
    (Phase.CONNECTED, Status): Phase.CONNECTED,
    (Phase.OPEN, Call): Phase.OPEN,
    (Phase.CONNECT_ASKED, Call): Phase.CONNECT_ASKED,
    (Phase.CONNECTED, Call): Phase.CONNECTED,
    (Role.NONE, PublishAsked): Role.PUBLISH_ASKED,
    (Role.PUBLISH_ASKED, PublishAccepted): Role.PUBLISHING,
    (Role.PUBLISH_ASKED, PublishRefused): Role.NONE,
    (Role.PUBLISHING, PublishStopAsked): Role.PUBLISH_STOP_ASKED,
    (Role.PUBLISH_STOP_ASKED, PublishEnded): Role.NONE,
    (Role.PUBLISHING, PublishEnded): Role.NONE,  # the server takes it off the air
    (Role.NONE, PlayAsked): Role.PLAY_ASKED,
    (Role.PLAY_ASKED, PlayAccepted): Role.PLAYING,
    (Role.PLAY_ASKED, PlayRefused): Role.NONE,
    (Role.PLAYING, PlayRefused): Role.NONE,  # it waited, and the publisher's key is another
    (Role.PLAY_ASKED, PauseAsked): Role.PLAY_ASKED,  # before a publisher came
    (Role.PLAYING, PauseAsked): Role.PLAYING,
    (Role.PLAY_ASKED, PlayStopAsked): Role.PLAY_STOP_ASKED,  # likewise
    (Role.PLAYING, PlayStopAsked): Role.PLAY_STOP_ASKED,
    (Role.PLAY_STOP_ASKED, PlayEnded): Role.NONE,
    (Role.PLAYING, PlayEnded): Role.NONE,
}

# Requests that the server answers with this error status, and closes: (code, description).
_NO_CHANNEL = "No channel is selected"
REFUSALS: dict[tuple[State, type[Event]], tuple[str, str]] = {
    (Phase.OPEN, PublishAsked): ("NetStream.Publish.BadConnection", _NO_CHANNEL),
    (Phase.OPEN, PlayAsked): ("NetStream.Play.BadConnection", _NO_CHANNEL),
    (Role.PUBLISHING, PublishAsked): ("NetStream.Publish.BadConnection", "Connection already publishing"),
    (Role.PLAYING, PlayAsked): ("NetStream.Play.BadConnection", "Connection already playing"),
}


def following_phase(phase: Phase, event: Event, error: type[Exception]) -> Phase:
    """Return the phase after `event`; raise `error` when the table does not allow it in `phase`."""
    after = TRANSITIONS.get((phase, type(event)))
    if not isinstance(after, Phase):
        raise error(f"{type(event).__name__} while {phase.value}")
    return after


def following_role(role: Role, event: Event, error: type[Exception]) -> Role:
    """Return the role after `event`; raise `error` when the table does not allow it in `role`."""
    after = TRANSITIONS.get((role, type(event)))
    if not isinstance(after, Role):
        raise error(f"{type(event).__name__} while {role.value}")
    return after
