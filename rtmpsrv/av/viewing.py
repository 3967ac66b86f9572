"""What is asked for and answered over HTTP, as far as this package needs to know; and who watches what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gevent.event import Event

from rtmpsrv.live.making import Cursor
from rtmpsrv.live.reading import Place

Headers = Sequence[tuple[str, str]]


class Channel(Protocol):
    """What is watched; see `live.channel`."""

    def subscribe(self, notify: Callable[[], None], place: Place = ...) -> Cursor:
        """Begin to read what is sent, from a place on if that is there."""


class Watching(Protocol):
    """That a viewer may watch."""

    @property
    def name(self) -> str:
        """Of the channel that it watches."""

    @property
    def key(self) -> str | None:
        """What has to be the publisher's; None: nothing has."""


class Peer(Protocol):
    """The connection of a viewer."""

    def drop(self, reason: str) -> None:
        """End it. Never blocks."""


class Request(Protocol):
    """What a viewer asks for."""

    @property
    def peer(self) -> Peer:
        """Whose it is."""

    @property
    def query(self) -> Mapping[str, str]:
        """Holds secrets."""

    @property
    def is_websocket(self) -> bool:
        """Whether it wants one."""

    def admit(self) -> Watching:
        """Ask whether it may watch. Blocks. Raises AccessDenied."""


class Reply(Protocol):
    """The answer. Its methods may block, and raise PeerLost when the viewer is gone."""

    def send(self, status: int, body: bytes = b"", type: str = "", headers: Headers = ()) -> None:
        """Send a whole answer."""

    def begin(self, status: int, type: str, headers: Headers = ()) -> None:
        """Begin a stream."""

    def accept(self) -> None:
        """Begin a WebSocket."""

    def write(self, data: bytes) -> None:
        """Send bytes of either."""

    def write_text(self, text: str) -> None:
        """Send a text over a WebSocket."""

    def close(self, code: int, why: str) -> None:
        """End a WebSocket."""

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        """Wait for an event; False when it did not come in time."""
