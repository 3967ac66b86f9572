"""What sessions and listeners tell of what happens to them, for whoever counts. This one counts nothing.

Its methods never block and are cheap: none is called per message.
"""

from __future__ import annotations

from typing import Literal, Protocol

from ..errors import AccessDenied
from .host import Client, Playback, Publication

Doing = Literal["publish", "play"]
Asking = Literal["connect", "publish", "play"]
# How the beginning of a connection fails.
TLS, PROXY, TIMEOUT, VERSION, CLOSED = "tls", "proxy", "timeout", "version", "closed"


class Watched(Protocol):
    """What a viewer was granted that is no player."""

    @property
    def name(self) -> str:
        """The channel's."""


class Tally:
    """Told of connections, from their first to their last."""

    __slots__ = ()

    def accepted(self) -> None:
        """A connection was let in."""

    def rejected(self, address: str, secure: bool, why: str, form: str = "") -> None:
        """A connection, of a form as `Client` has it, was not let in: there are too many."""

    def handshake_failed(self, reason: str) -> None:
        """A connection ended before RTMP began: one of the reasons above."""

    def refused(self, what: Asking, client: Client, denial: AccessDenied) -> None:
        """A client was told that it may not."""

    def failed(self, what: Doing) -> None:
        """A request came to nothing, since the client left meanwhile, or for a fault of ours."""

    def began(self, what: Doing, client: Client, granted: Publication | Playback | Watched) -> None:
        """A client publishes or plays from now on."""

    def ended(
        self,
        what: Doing,
        client: Client,
        granted: Publication | Playback | Watched,
        reason: str,
        received_bytes: int,
        sent_bytes: int,
    ) -> None:
        """It does no more; the bytes are those of its connection so far."""

    def left(self, received_bytes: int, sent_bytes: int, *, stalled: bool, form: str = "") -> None:
        """A connection is over here, or goes on elsewhere; the bytes are those since it came here."""

    def answered(self, kind: str, status: int) -> None:
        """A request by HTTP is answered, with its kind as `http.routes` has them; "": it was none."""

    def watched(self, sent_bytes: int) -> None:
        """A viewer of many requests is gone; the bytes are those of its answers."""
