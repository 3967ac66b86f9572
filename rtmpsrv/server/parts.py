"""What the listeners and sessions of one server share. Made once: by the application, or by an endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .clock import LoopClock
from .held import Held
from .hold import Hold
from .ingest import Ingest
from .proxies import Proxies
from .session_state import SessionSettings
from .tally import Tally
from .turns import Turns

if TYPE_CHECKING:
    from .http.site import Site


class Slots(Protocol):
    """Who may connect at all. Declared here, built in `access`."""

    def admit(self, address: str) -> str | None:
        """Take a slot; return why not, None for yes."""

    def depart(self, address: str) -> int:
        """Let a connection move, whose slot is given back here as ever; return what `arrive` gets."""

    def arrive(self, slot: int, address: str) -> None:
        """Take a slot whatever the limits say, for a connection that another session served until now."""

    def release(self, address: str) -> None:
        """Give it back."""


@dataclass(frozen=True, slots=True)
class ServerParts:
    """One of each for all ports. Bound to one hub: nothing in here may be used from two threads."""

    settings: SessionSettings
    slots: Slots
    budget: Held
    clock: LoopClock
    turns: Turns
    ingest: Ingest
    numbers: Iterator[int]  # of connections
    proxies: Proxies = field(default_factory=Proxies)
    hold: Hold = field(default_factory=Hold)
    tally: Tally = field(default_factory=Tally)
    site: Site | None = None  # what there is for viewers by HTTP
