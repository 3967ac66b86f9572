"""What a session knows, as one plain value that can be pickled: it may move at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ..protocol.chunks import Limits
from ..protocol.connection import ServerConnection
from ..protocol.events import Event
from .host import Client
from .outlet import OutletState
from .turns import Account

if TYPE_CHECKING:
    from .http.state import HttpState

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Bounds of one session; seconds and bytes."""

    chunk_size: int = 4096
    handshake_s: float = 10.0  # from accept to the end of the handshake, TLS included
    setup_s: float = 30.0  # from there to publish or play
    idle_s: float = 60.0
    ping_s: float = 30.0
    stall_s: float = 30.0
    message_bytes: int = 0xFFFFFF
    room_variable: str = ""  # the setting that bounds what the process holds, for the log


@dataclass(slots=True)
class SessionState:
    """All that one connection is. Changed by its session only; times are monotonic seconds."""

    protocol: ClassVar = "rtmp"  # as its listener has it
    client: Client
    connection: ServerConnection
    accepted_at: float
    heard_at: float  # when bytes came last
    deadline: float  # of the handshake, then of publish or play; never for who does either
    account: Account
    shaking_hands: bool = True
    connected_at: float = 0.0
    next_ping: float = NEVER
    wants: tuple[bool, bool] = (True, True)  # audio, video: what a player asked to receive
    bytes_in: int = 0
    taken_bytes: int = 0  # by a player, when it was looked at last
    outlet: OutletState = field(default_factory=OutletState)
    publication: object = None  # what the host's own returned when it was frozen; None while it lives
    playback: object = None
    slot: int = 0  # which one, of a frozen one; the listener's
    asked: Event | None = None  # a request that nobody has handled yet: it was held
    travelled: bool = False  # with a request, which is to be handled where it is now

    @property
    def holds_slot(self) -> bool:
        """Whether it counts as a connection: all of RTMP do."""
        return True


@dataclass(frozen=True, slots=True)
class Frozen:
    """A session between two owners."""

    state: SessionState | HttpState
    descriptor: int  # of its socket; whoever has this object owns it


def begin(client: Client, settings: SessionSettings, accepted_at: float) -> SessionState:
    """Return what a session knows of a connection that was just accepted."""
    connection = ServerConnection(
        settings.chunk_size, publisher_limits=Limits(media_bytes=settings.message_bytes)
    )
    deadline = accepted_at + settings.handshake_s
    return SessionState(
        client, connection, accepted_at, accepted_at, deadline, Account(counted_at=accepted_at)
    )
