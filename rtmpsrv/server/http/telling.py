"""What an operator is told of a connection of HTTP: while it is there, and at its end."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from ...log import Logger
from .. import ending
from .state import HttpState


def description(state: HttpState, role: str, traffic: tuple[int, int], waiting_bytes: int) -> dict[str, Any]:
    """Return what is known of it; no keys, no queries."""
    client = state.client
    return {
        "number": client.number,
        "ip": client.ip,
        "port": client.port,
        "secure": client.secure,
        "app": client.app,
        "role": role,
        "form": client.form,
        "accepted_at": state.accepted_at,
        "seconds": monotonic() - state.accepted_at,
        "bytes_in": traffic[0],
        "bytes_out": traffic[1],
        "held_bytes": len(state.unread),
        "waiting_bytes": waiting_bytes,
    }


def tell_end(log: Logger, state: HttpState, bytes_out: int, reason: str) -> None:
    """Log that it is over. Pages are many short connections: only of those that watched all are told."""
    ending.tell_end(log, logging.INFO if state.form else logging.DEBUG, state, bytes_out, reason)
