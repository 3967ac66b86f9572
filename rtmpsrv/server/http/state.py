"""What a connection of HTTP knows, as one plain value that can be pickled: it may move at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..host import Client
from ..outlet import OutletState
from ..session_state import NEVER, SessionSettings
from ..turns import Account

FLV, WS_FLV = "flv", "ws-flv"  # what a viewer is sent, that can move


@dataclass(slots=True)
class HttpState:
    """All that one connection is. Changed by its session only; times are monotonic seconds."""

    protocol: ClassVar = "http"  # as its listener has it
    client: Client
    accepted_at: float
    heard_at: float  # when bytes came last
    deadline: float  # of the head that is to come
    account: Account
    form: str = ""  # what it is sent; "": it has asked for nothing, or that is done
    unread: bytes = field(default=b"", repr=False)  # that came and was not understood yet
    next_ping: float = NEVER  # of a WebSocket
    bytes_in: int = 0
    outlet: OutletState = field(default_factory=OutletState)
    playback: object = None  # what the host's own returned when it was frozen; None while it lives
    slot: int = 0  # among those of all processes, of a frozen one that has any; the listener's
    holds_slot: bool = False  # it watches; who only asks takes none
    own: tuple[str, bool] = ("", False)  # address, and whether it is TLS: of a proxy, the client has others
    is_passed_on: bool = False  # with its request, to the process that has to do with that; once is enough
    publication: None = None  # nobody publishes by HTTP


def begin(client: Client, settings: SessionSettings, accepted_at: float) -> HttpState:
    """Return what a session knows of a connection that was just accepted."""
    deadline = accepted_at + settings.handshake_s
    account = Account(counted_at=accepted_at)
    return HttpState(client, accepted_at, accepted_at, deadline, account, own=(client.ip, client.secure))
