"""What becomes of a publisher whose channel is on the air already. Decides by what is seen; pure.

Who shows the same secret as the present one, or is the same by its token, has the same right: mostly it is
the same encoder, whose network was lost and whose first connection nobody has ended yet.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256

from rtmpsrv.access.names import StreamName

REFUSE, STALLED, TAKEOVER = "refuse", "stalled", "takeover"
MODES = (REFUSE, STALLED, TAKEOVER)
MAX_RECONNECT_S = 3600  # that a channel may be kept for its publisher
STALLED_S = 3.0  # without a byte; encoders send many times a second

Claim = tuple[bytes, ...]  # digests of all that shows who somebody is; never the secrets themselves


@dataclass(frozen=True, slots=True)
class SecondPolicy:
    """What holds for a channel."""

    mode: str = REFUSE
    reconnect_s: float = 0.0  # players are kept for so long when the publisher is gone


class Choice(Enum):
    """What to do with the publisher that is on the air."""

    KEEP = auto()  # and refuse the second one
    WATCH = auto()  # for a moment: it may be stalled
    BURY = auto()  # it has left
    REPLACE = auto()


def choose(mode: str, same_right: bool, has_left: bool, silent_s: float, waited_s: float) -> Choice:
    """Decide by how long the present publisher has said nothing, and how long the second one has waited."""
    if has_left:
        return Choice.BURY
    if mode == REFUSE or not same_right:
        return Choice.KEEP
    if mode == TAKEOVER or silent_s >= STALLED_S:
        return Choice.REPLACE
    return Choice.KEEP if silent_s < waited_s else Choice.WATCH


def claim_of(stream: StreamName, subject: str = "") -> Claim:
    """Return what a publisher shows; `subject` is that of a token that was found genuine."""
    shown = [("secret", stream.shown)] if stream.shown else []
    if stream.user and stream.password:
        shown.append(("user", f"{stream.user}\0{stream.password}"))
    if subject:
        shown.append(("subject", subject))
    return tuple(
        [sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).digest() for kind, text in shown]
    )


def same_right(one: Claim, other: Claim) -> bool:
    """Tell whether two publishers show the same of anything. The time that it takes tells nothing."""
    # A list, not a generator: every pair is compared.
    return any([hmac.compare_digest(mine, theirs) for mine in one for theirs in other])  # noqa: C419
