"""What a session asks of the application: may this client connect, publish, play? Interfaces only.

A yes is an object that knows how to end; a no is an `AccessDenied` with the status for the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..log import Logger
from .outlet import Feed, Outlet


@dataclass(slots=True)
class Client:
    """One connection as a host sees it."""

    number: int  # unique in the process
    ip: str
    port: int  # of the listener
    secure: bool  # RTMPS
    log: Logger = field(repr=False)
    disconnect: Callable[[str], None] = field(repr=False)  # never blocks; the argument is the reason
    app: str = ""
    properties: dict[str, Any] = field(default_factory=dict, repr=False)
    publish_mode: str = ""  # of the publish command: live, record or append
    left: Callable[[], bool] = field(default=lambda: False, repr=False)  # while a host blocks; never does


class Publication(Protocol):
    """A stream that a client is publishing."""

    started: str  # description for Publish.Start
    ended: str  # description for Unpublish.Success

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Take media and data messages in order. May block to slow the publisher down."""

    def end(self, reason: str) -> None:
        """Go off the air. Idempotent, never blocks."""


class Playback(Protocol):
    """A stream that a client is playing, or waiting for."""

    @property
    def feed(self) -> Feed:
        """Where the outlet takes the media from."""

    def start(self, audio: bool, video: bool) -> None:
        """Begin, with the choice of media made so far; the session has taken note. Never blocks."""

    def pause(self, paused: bool) -> None:
        """Pause or resume. Never blocks."""

    def receive(self, audio: bool, video: bool) -> None:
        """Choose which media to receive. Never blocks."""

    def end(self, reason: str) -> None:
        """Stop. Idempotent, never blocks."""


class Host(Protocol):
    """The application behind the sessions."""

    def connect(self, client: Client) -> None:
        """Accept `client.app` or raise AccessDenied. Never blocks."""

    def publish(self, client: Client, name: str | None, msid: int) -> Publication:
        """Put the client on the air under the stream name it sent, or raise AccessDenied. May block."""

    def play(self, client: Client, name: str | None, msid: int, outlet: Outlet) -> Playback:
        """Let the client play or wait, or raise AccessDenied. May block."""
