"""What a viewer asks for, as handlers see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from ..host import Client, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .errand import Errand
    from .head import Head
    from .routes import Route
    from .site import Viewing


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Its query holds secrets: no part of that may reach a log."""

    head: Head
    route: Route
    query: Mapping[str, str]  # decoded; of several with one name the first
    peer: Asker

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def headers(self) -> Mapping[str, str]:
        """By names in small letters."""
        return self.head.headers

    @property
    def is_websocket(self) -> bool:
        """Whether it asks for a WebSocket: `Reply.accept` answers that."""
        return self.head.is_websocket

    @property
    def client(self) -> Client:
        return self.peer.client

    def admit(self) -> Viewing:
        """Ask whether the viewer may watch; what it gets ends with the handler. Blocks.

        Raises AccessDenied.
        """
        return self.peer.view(self.route.channel, self.head.query)


class Asker(Peer, Protocol):
    """Whose request it is: a session of HTTP."""

    errand: Errand

    def view(self, channel: str, query: str) -> Viewing:
        """See `Request.admit`."""

    def play(self, channel: str, query: str, head: Callable[[], None], *, waits: bool) -> NoReturn:
        """Send FLV: `head` begins the answer, once it is known that the viewer may watch. Blocks to the end.

        Without `waits` only what is on the air. Raises AccessDenied, and what ends the connection.
        """
