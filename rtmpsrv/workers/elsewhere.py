"""Players that wait in this worker for a channel of another one: they move there, or a copy comes here.

A copy is made where a player cannot move, or where there are so many already that a copy costs less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event

from rtmpsrv.access.second_publisher import Claim
from rtmpsrv.log import Logger
from rtmpsrv.server.host import Peer
from rtmpsrv.server.served import Served
from rtmpsrv.workers.directory import Directory
from rtmpsrv.workers.moving import ANSWER_S, Moving

FIRST_RETRY_S: Final = 0.02
LONGEST_RETRY_S: Final = 2.0
ROOM_S: Final = 5.0  # for another worker to end its publisher, which may have to be watched for 3 s
OWNER_S: Final = 5.0  # for a worker that has just begun to hear from the keeper


class Copies(Protocol):
    """Channels of other workers that are played here too."""

    def open(self, channel: str) -> None:
        """Begin one, unless there is one. Never blocks."""

    def turn(self, channel: str) -> None:
        """Take note that the channel may be another worker's now. Never blocks."""

    def close(self, channel: str) -> None:
        """End one, if there is one: its players are told, and wait. Never blocks."""


class Elsewhere:
    """What a relay asks about the other workers.

    `keeps`, `wait`, `pass_on` and `go_on` block: all else is done in greenlets.
    """

    def __init__(
        self,
        directory: Directory,
        moving: Moving,
        copies: Copies,
        waiting: Callable[[str], Sequence[Peer]],
        log: Logger,
    ) -> None:
        self._directory = directory
        self._moving = moving
        self._copies = copies
        self._waiting = waiting
        self.log = log
        self._tasks: dict[str, gevent.Greenlet[..., None]] = {}  # one for each channel that is wanted
        self._feeding: set[gevent.Greenlet[..., Any]] = (
            set()
        )  # copies taken over, and publishers on their way
        self._changes: dict[str, Event] = {}  # of channels of other workers for whose next one somebody waits
        directory.on_change = self._changed

    def wanted(self, name: str) -> None:
        """Take note that somebody may wait here for a channel that is elsewhere."""
        if name not in self._tasks and self._directory.elsewhere(name) is not None and self._waiting(name):
            self._tasks[name] = gevent.spawn(self._bring_together, name)

    def adopted(self, name: str) -> None:
        """Take note that another worker's copy of a channel was taken over: it has to go on being fed."""
        task = gevent.spawn(self._feed, name)
        self._feeding.add(task)
        task.rawlink(self._feeding.discard)

    def max_players(self, name: str) -> int:
        """Return how many may play a channel of another worker, as its backend says; 0 for any number."""
        return self._directory.max_players(name)

    def names(self) -> list[str]:
        """Return the channels that are on the air in other workers."""
        return self._directory.names()

    def has(self, name: str) -> bool:
        """Tell whether a channel is on the air in another worker."""
        return self._directory.elsewhere(name) is not None

    def keeps(self, name: str) -> bool:
        """Tell whether a channel's last worker waits for a publisher to go on. Blocks for a moment."""
        worker = self._directory.last(name)
        return worker is not None and bool(self._moving.ask(worker, "keeps", name, timeout_s=ANSWER_S))

    def last(self, name: str) -> str | None:
        """Return the worker that has a channel, or had it last; None when that is this one."""
        return self._directory.last(name)

    def wait(self, name: str, timeout_s: float) -> None:
        """Wait until a channel of another worker is that one's no more. Blocks up to `timeout_s`."""
        if self.has(name):
            self._changes.setdefault(name, Event()).wait(timeout_s)

    def pass_on(self, peer: Peer, name: str) -> None:
        """Let a connection go, with what it asks, to the worker that has a channel, or had it last.

        Returns when it stays here. Blocks for some seconds.
        """
        worker = self._directory.last(name)
        if worker is not None and isinstance(peer, Served) and not peer.is_bound:
            self._let_travel(peer, worker)

    def published_here(self, name: str) -> None:
        """Take note that a channel has a publisher here from now on."""
        self._copies.close(name)

    def go_on(self, peer: Peer, name: str, claim: Claim) -> None:
        """Let a publisher go on for one of another worker with the same right: it moves there.

        Returns when it stays here: because it has no such right, or on TLS. Then there is room for it here,
        as far as the other worker may make some. Blocks for some seconds.
        """
        worker = self._directory.last(name)
        if worker is None or not self._moving.ask(worker, "may_go_on", name, claim, timeout_s=ANSWER_S):
            return
        if isinstance(peer, Served) and not peer.is_bound:
            self._let_travel(peer, worker)
        self._moving.ask(worker, "make_room", name, claim, timeout_s=ROOM_S)

    def close(self) -> None:
        """Look for nobody any more."""
        for task in [*self._tasks.values(), *self._feeding]:
            task.kill(block=False)

    def _let_travel(self, peer: Served, worker: str) -> None:
        task = gevent.spawn(self._moving.move, peer, worker)
        self._feeding.add(task)
        task.rawlink(self._feeding.discard)
        peer.travel(task.join)

    def _changed(self, name: str) -> None:
        if (change := self._changes.pop(name, None)) is not None:
            change.set()
        self._copies.turn(name)
        self.wanted(name)

    def _feed(self, name: str) -> None:
        """Go on with a copy as soon as it is known whose it is; else its players wait for a publisher."""
        until = monotonic() + OWNER_S
        while self._directory.elsewhere(name) is None and monotonic() < until:
            gevent.sleep(FIRST_RETRY_S)
        self._copies.open(name)

    def _bring_together(self, name: str) -> None:
        """Move or feed those who wait for a channel, until nobody does or it is nowhere. Blocks."""
        wait_s = 0.0
        try:
            while True:
                # The one who asked has to get to the end of its request first.
                gevent.sleep(wait_s)
                worker, waiting = self._directory.elsewhere(name), self._waiting(name)
                if worker is None or not waiting:
                    return
                self._bring(name, worker, waiting)
                wait_s = min(max(2 * wait_s, FIRST_RETRY_S), LONGEST_RETRY_S)
        except Exception:  # a bug must not end what comes later
            self.log.exception("players were not brought to their channel")
        finally:
            del self._tasks[name]

    def _bring(self, name: str, worker: str, waiting: Sequence[Peer]) -> None:
        room = self._moving.room(worker, name)
        for peer in waiting:
            if self._directory.elsewhere(name) != worker:
                return
            if not isinstance(peer, Served) or peer.is_bound or room <= 0:
                self._copies.open(name)
            elif peer.can_move() and self._moving.move(peer, worker):  # else it is tried again
                room -= 1
