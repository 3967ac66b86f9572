"""Where a player's bytes go: declared here, built by sessions. Nothing but declarations."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Where a player's bytes go: the one writer of its socket. Declared here, built by the session.

    None of its methods raises: what goes wrong ends the sink's own connection.
    """

    @property
    def bytes_out(self) -> int:
        """All that was sent so far, but for what the fast lane has not credited yet."""

    @property
    def socket(self) -> int | None:
        """To which the fast lane may write by itself; None: only the sink can (TLS)."""

    def credit(self, count: int) -> None:
        """Count bytes that the fast lane wrote to `socket`."""

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Send what the socket takes now; 0 when it is full or dead."""

    def offer(self, data: bytes) -> bool:
        """Take all of `data`, keep what the socket refuses; False when something was kept, or it is dead."""

    def reply(self, data: bytes) -> None:
        """Send `data`, which others share, at the next message boundary."""

    def kick(self) -> None:
        """Go on writing: now as far as the socket takes it, the rest in the sink's own greenlet."""

    def coalesce(self) -> None:
        """Let the kernel hold small writes back until earlier ones are acknowledged. Idempotent."""

    def end_when_empty(self) -> None:
        """End the connection when everything is written: nothing more is to come on it."""
