"""What sessions and listeners tell of what happens to them, for whoever counts. This one counts nothing.

Its methods never block and are cheap: none is called per message.
"""

from __future__ import annotations

from typing import Literal

from ..errors import AccessDenied
from .host import Client, Playback, Publication

Doing = Literal["publish", "play"]
Asking = Literal["connect", "publish", "play"]
# How the beginning of a connection fails.
TLS, PROXY, TIMEOUT, VERSION, CLOSED = "tls", "proxy", "timeout", "version", "closed"


class Tally:
    """Told of connections, from their first to their last."""

    __slots__ = ()

    def accepted(self) -> None:
        """A connection was let in."""

    def rejected(self, address: str, secure: bool, why: str) -> None:
        """A connection was not let in: there are too many."""

    def handshake_failed(self, reason: str) -> None:
        """A connection ended before RTMP began: one of the reasons above."""

    def refused(self, what: Asking, client: Client, denial: AccessDenied) -> None:
        """A client was told that it may not."""

    def failed(self, what: Doing) -> None:
        """A request came to nothing, since the client left meanwhile, or for a fault of ours."""

    def began(self, what: Doing, client: Client, granted: Publication | Playback) -> None:
        """A client publishes or plays from now on."""

    def ended(
        self,
        what: Doing,
        client: Client,
        granted: Publication | Playback,
        reason: str,
        received_bytes: int,
        sent_bytes: int,
    ) -> None:
        """It does no more; the bytes are those of its connection so far."""

    def left(self, received_bytes: int, sent_bytes: int, *, stalled: bool) -> None:
        """A connection is over here, or goes on elsewhere; the bytes are those since it came here."""
