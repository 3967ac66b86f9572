"""What an operator is told of a connection of HTTP: while it is there, and at its end."""

from __future__ import annotations

import logging
import re
from time import monotonic
from typing import Any, Final

from ...log import Logger
from .. import ending
from .routes import HLS, Route
from .state import HttpState

# What is shown of a path. A key may be anywhere in it: as by RTMP, or with a `&` in place of the `?`.
_CHANNEL: Final = re.compile(r"[0-9A-Za-z_\-]+(/[0-9A-Za-z_\-]+)*")
_OF_HLS: Final = re.compile(r"(index|live)\.m3u8|[0-9a-z]+-(init)?[0-9]+(-[0-9]+)?\.m4s")


def asked_for(route: Route | None) -> str:
    """Say what a request is for, in words of ours and with the names that channels usually have."""
    if route is None:
        return "nothing that there is"
    said = [route.kind]
    if route.channel:
        is_usual = _CHANNEL.fullmatch(route.channel)
        said.append(route.channel if is_usual else f"{len(route.channel)} characters")
    if route.kind == HLS:
        said.append(route.rest if _OF_HLS.fullmatch(route.rest) else f"{len(route.rest)} characters")
    return " ".join(said)


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
