"""Who decides about publishers: what the gate asks of it, and the one that lets everybody in."""

from __future__ import annotations

import secrets
from typing import Protocol

from rtmpsrv.access.facts import Approval
from rtmpsrv.access.grants import Grant, PublishRequest


class Authority(Protocol):
    """Who decides, and who is told about the end."""

    key_names_stream: bool  # whether `close-stream` may name the stream by its key too (no callback)

    def authorise(self, request: PublishRequest) -> str | Approval:
        """Return the stream id, or more, or raise AccessDenied. Blocks up to the authority's deadline."""

    def ended(self, grant: Grant) -> None:
        """Queue the report that a publication ended. Never blocks."""

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all reports have gone out; return whether they have. Blocks up to `timeout_s`."""

    def close(self) -> None:
        """Give up what is still queued, and release what is held."""


class OpenAuthority:
    """Accept everybody: neither callback nor control server is set. The stream id is random, not the key."""

    key_names_stream = True

    def authorise(self, request: PublishRequest) -> str:
        """Return a new stream id. Never blocks."""
        return secrets.token_hex(16)

    def ended(self, grant: Grant) -> None:
        """Tell nobody."""

    def wait_idle(self, timeout_s: float) -> bool:
        """Return True: nothing is ever queued."""
        return True

    def close(self) -> None:
        """Release nothing."""
