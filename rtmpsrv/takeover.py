"""What a publisher has to wait for whose channel is on the air: the end of the present one, or a refusal.

Sees how the present one does, and ends it as the policy says. Which channel that is, the relay knows.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

import gevent

from .access.gate import taken
from .access.second_publisher import REFUSE, Choice, SecondPolicy, choose
from .server.host import Peer

WATCH_S = 0.1  # how often a publisher is looked at that may be stalled
# Most that players wait for the one that takes over, while its authority is asked.
TAKEOVER_S = 60.0
MOVE_S = 1.0  # for the present one to arrive in another process, where it is looked at again, or to come back
REPLACED = "another publisher with the same right has taken over"
SOUNDING_S = 0.3  # for a peer's system to answer: an encoder that comes back must find its channel free


class Present(Protocol):
    """The publisher on the air."""

    peer: Peer

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is on its way to another session or process: nobody can end it here."""

    def has_left(self) -> bool:
        """Tell whether it has hung up. Never blocks."""

    def end(self, reason: str, keep_s: float) -> None:
        """Take it off the air; players are kept for so long for one who goes on. Never blocks."""


def make_room(
    has_left: Callable[[], bool],
    present: Present,
    is_there: Callable[[], bool],
    policy: SecondPolicy,
    same_right: bool,
) -> bool:
    """End the present publisher for the one who asks, or raise AccessDenied. Blocks for some seconds at most.

    Tell whether its players are kept. `has_left` says whether the one who asks has; the present one may end
    by itself meanwhile, and is not there any more.
    """
    if not present.has_left() and present.peer.sound():
        gevent.sleep(SOUNDING_S)
    keeps = same_right and (policy.mode != REFUSE or policy.reconnect_s > 0)
    keep_s = max(TAKEOVER_S, policy.reconnect_s) if keeps else 0.0
    asked_at = monotonic()
    while is_there():
        silent_s, waited_s = present.peer.silence_s(), monotonic() - asked_at
        if present.is_over:
            if waited_s >= MOVE_S:
                raise taken()
            gevent.sleep(WATCH_S)
            continue
        choice = choose(policy.mode, same_right, present.has_left(), silent_s, waited_s)
        if choice is Choice.KEEP or has_left():
            raise taken()
        if choice is Choice.WATCH:
            gevent.sleep(WATCH_S)
        elif choice is Choice.BURY:
            present.end("the peer has left", keep_s)
            present.peer.drop("closed by the peer")
        else:
            present.end(REPLACED, keep_s)
            present.peer.dismiss(REPLACED)
    return keeps
