"""What a process that has taken over a publication finds of its recording: a file to go on with, or none.

The process before lets go of the file and notes where it was; that may take it a moment, for which the log is
kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

import gevent

from .index import MOVED, Entry
from .ledger import Ledger
from .take import Carried
from .threads import Threads

if TYPE_CHECKING:
    from rtmpsrv.live.channel import Channel

WAIT_S: Final = 5.0  # for the other process
LOOK_EVERY_S: Final = 0.05
HELD_BYTES: Final = 256 << 20  # the budget of all logs is the bound
HELD_S: Final = 2 * WAIT_S + 60.0


class Found(NamedTuple):
    """What was found; `ended` is what was finished last of the channel."""

    carried: Carried | None
    ended: Entry | None


def find(channel: Channel, ledger: Ledger, threads: Threads, wait_s: float = WAIT_S) -> Found:
    """Return what the process before left of a channel that is published here. Blocks, bounded.

    Raises OSError. To be called as soon as the channel is here: its log is held from its beginning on
    until this returns and, for a reading that is opened at once, longer.
    """
    until = time.monotonic() + wait_s
    while True:
        theirs = [one for one in threads.call(ledger.open) if one.channel == channel.name]
        for entry in theirs:
            carried = _carried(entry)
            if carried is not None and carried.place[0] == channel.publication:
                return Found(carried, None)
        if all(one.state == MOVED for one in theirs) or time.monotonic() >= until:
            return Found(None, threads.call(ledger.ended, channel.name))
        gevent.sleep(LOOK_EVERY_S)


def _carried(entry: Entry) -> Carried | None:
    try:
        return Carried.read(entry) if entry.state == MOVED else None
    except (KeyError, TypeError, ValueError):
        return None
