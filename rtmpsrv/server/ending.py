"""How a session of either kind ends: exceptions that leave its read loop, never `run`; what is left to do.

The last bytes of the peer are read, since a reset would discard what it was told; and the end is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import gevent

from ..errors import PeerLost
from ..log import Logger
from .turns import Share
from .waiting import ReadWait

if TYPE_CHECKING:
    from .host import Client
    from .served import State

THROWN_BYTES: Final = 65536  # most that one read takes of what nobody wants
THROWN_UNITS: Final = 10  # of work, for each such read
NO_REFUSAL: Final[Mapping[str, str]] = MappingProxyType({})


class Ended(Exception):
    """The connection is over; the text is the reason. Where the peer was `told`, it may read that first.

    One that `comes_again` does so on another connection at once, and this one counts no more.
    """

    def __init__(self, reason: str, told: bool = False, comes_again: bool = False) -> None:
        super().__init__(reason)
        self.told = told
        self.comes_again = comes_again


class Moved(gevent.GreenletExit):
    """The session goes on elsewhere: leave, and do not touch the socket."""


class Dismissed(gevent.GreenletExit):
    """The host wants the peer gone: tell it, and leave. Not an error, which a log handler might swallow."""


def throw_away(read: Callable[[int], bytes], wait: ReadWait, share: Share, until: float) -> None:
    """Read to the end of what a peer sends, and forget it. Blocks up to a monotonic time."""
    try:
        while monotonic() < until:
            try:
                if not read(THROWN_BYTES):
                    return
                share.spend(THROWN_UNITS)
            except BlockingIOError:
                wait.wait(until)
                share.rested(monotonic())
    except (OSError, PeerLost):
        pass  # the peer was faster


def whose(client: Client) -> dict[str, str]:
    """Return what a log of values is told of whom a line is about: nothing of what is not known."""
    told = {"address": client.ip, "channel": client.channel}
    return {name: value for name, value in told.items() if value}


def refused(what: str, user: str = "") -> dict[str, str]:
    """Return what a log of values is told of a refusal besides its reason."""
    return {"refused": what} | ({"user": user} if user else {})


def tell_end(
    log: Logger,
    level: int,
    state: State,
    bytes_out: int,
    reason: str,
    refusal: Mapping[str, str] = NO_REFUSAL,
) -> None:
    """Log that a connection is over, and perhaps what was refused to it. Never blocks."""
    fields = {
        "event": "closed",
        **whose(state.client),
        "seconds": round(monotonic() - state.accepted_at, 3),
        "received_bytes": state.bytes_in,
        "sent_bytes": bytes_out,
        "reason": reason,
        **refusal,
    }
    log.log(
        level, "closed: %s, in=%d out=%d bytes", reason, state.bytes_in, bytes_out, extra={"fields": fields}
    )
