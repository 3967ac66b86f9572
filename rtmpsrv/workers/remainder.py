"""What stays in a process that has a successor: served here, mirrored, or moved as soon as it can be."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Final

import gevent
from gevent import socket as gsocket

from ..access.gate import Authority
from ..log import Logger
from ..server.served import Served
from .conversation import Conversation, Message
from .estate import Estate, addresses_of, published_here
from .handing import STEP_S, Handing, Refused
from .mirroring import Mirroring
from .slices import Slice
from .wire import Wire, WireLost

LOOK_S: Final = 0.05  # how often what stays is looked at, whether it can go now
FIRST_NUMBER: Final = 1 << 20  # of late slices


class Remainder:
    """Serves what is left until it ends, or moves. Its successor may be succeeded meanwhile."""

    def __init__(self, estate: Estate, handing: Handing, log: Logger, *, moves: bool) -> None:
        self._estate = estate
        self._handing = handing
        self._log = log
        self._moves = moves
        self._former: list[Handing] = []  # with successors that were succeeded themselves
        self._next: Handing | None = None  # with the successor's successor, before that serves
        self._unwanted: set[int] = set()  # sessions that a successor refused
        self._number = FIRST_NUMBER
        self._told = addresses_of(estate)  # connections by address, as the successor knows them
        self._until = 0.0  # when what is left is closed
        self._meet(handing)
        estate.kills.after = self._pass_kill
        estate.link_lost_after = self._link_lost

    @property
    def sessions(self) -> int:
        """How many are left."""
        return sum(len(listener.sessions) for listener in self._estate.listeners)

    def run(self, linger_s: float) -> None:
        """Return when nothing is left, or the time is over. Blocks."""
        estate, hold = self._estate, self._estate.parts.hold
        self._until = monotonic() + linger_s
        self._log.info("succession: %d sessions stay here", self.sessions)
        if not self._moves or estate.copied is not None:
            hold.open()  # a worker can ask the keeper, and copy what others have
        while monotonic() < self._until and (self._connections or self._lends or self._reports_left()):
            if not self._moves:
                pass
            elif self._handing.talk.goes_on:
                self.follow()
                for part in self._handing.plan(1, self._unwanted):
                    self._move(part)
                self._part_with_tls()
            elif hold.closed:
                hold.open()  # there is nobody who could take them any more
                self._handing.mirroring.lost()
            self._tell_slots()
            gevent.sleep(LOOK_S)
        estate.kills.after = estate.link_lost_after = None
        for handing in self._handings:
            if handing.talk.tell({"kind": "leaving"}):
                with suppress(WireLost):
                    handing.talk.flush(STEP_S)
            handing.mirroring.lost()
            handing.talk.close()

    def follow(self) -> None:
        """Mirror what is played or read here and published elsewhere. Never blocks."""
        if self._estate.copied is not None:
            return  # the workers' copies do
        here = published_here(self._estate)
        mirrorings = [handing.mirroring for handing in self._handings]
        others = [*mirrorings, *(elder.mirroring for elder in self._estate.elders)]
        for channel in self._estate.registry:
            if (
                (channel.players or channel.readings)
                and channel.name not in here
                and not any(channel.name in one for one in others)
            ):
                self._handing.mirroring.begin(channel.name)
        for mirroring in mirrorings:
            mirroring.end_unused()

    # --- private ----------------------------------------------------------------------------------

    @property
    def _handings(self) -> list[Handing]:
        return [*self._former, self._handing, *([self._next] if self._next is not None else [])]

    @property
    def _connections(self) -> int:
        """How many connections are left, those in a handshake included."""
        return sum(len(listener.greenlets) for listener in self._estate.listeners)

    @property
    def _lends(self) -> bool:
        """Whether ends of what successors have are to be reported here; not when they are gone."""
        return any(handing.lent and handing.talk.goes_on for handing in self._handings)

    def _reports_left(self) -> bool:
        """Pass on what waits to be reported; tell whether something is on its way."""
        reports = self._estate.reports
        if reports is None:
            return False
        if self._moves and reports not in self._estate.tied and self._handing.talk.goes_on:
            stops = reports.take_unsent()
            if stops:
                self._handing.talk.tell({"kind": "stops", "grants": stops})
        return not reports.wait_idle(0)

    def _move(self, part: Slice[Served]) -> None:
        """Move what was in the middle of a request before."""
        numbers = {session.client.number for session in part.sessions}
        publishers = {session.client.number for session in part.sessions if session.role == "publisher"}
        self._number += 1
        try:
            self._handing.hand_over(self._number, self._number, part)
        except Refused as exc:
            self._log.info("succession: %d sessions stay here: %s", len(numbers), exc)
            self._unwanted |= numbers
            gevent.sleep(0)  # they have a session again after this turn
            for listener in self._estate.listeners:
                for session in list(listener.sessions):
                    if session.client.number in publishers:
                        session.dismiss("another publisher was faster")
        except (WireLost, OSError) as exc:
            self._log.warning("succession: the successor was lost: %s", exc)
            self._handing.talk.close()
            self._handing.take_back()

    def _part_with_tls(self) -> None:
        """See to connections that ask for something now but cannot move.

        Players are served here, by a mirror. A publisher is closed, which comes back to the successor.
        """
        for listener in self._estate.listeners:
            for session in list(listener.sessions):
                if session.is_bound and session.is_held and not session.play_at_once():
                    session.drop("the server is being replaced")

    def _tell_slots(self) -> None:
        """Let the successor count the connections that are left here, where they change."""
        left = addresses_of(self._estate)
        if left != self._told:
            self._told = left
            self._handing.talk.tell({"kind": "slots", "addresses": dict(left)})

    def _meet(self, handing: Handing) -> None:
        handing.talk.handle("kill", self._take_kill)
        handing.talk.handle("next", self._take_next)
        handing.talk.handle("heir", self._take_heir)
        handing.talk.handle("end", self._take_end)
        handing.talk.on_lost = partial(self._lose, handing)
        handing.mirroring.on_moved = partial(self._follow_on, handing)

    def _take_next(self, _message: Message, descriptors: list[int]) -> None:
        """Talk with the successor of the successor: channels that move there are followed at once."""
        self._handing.mirroring.keep()
        talk = Conversation(Wire(gsocket.socket(fileno=descriptors[0])))
        self._next = Handing(self._estate, talk, Mirroring(self._estate, talk), self._log)
        self._meet(self._next)
        talk.listen()

    def _take_heir(self, message: Message, _descriptors: list[int]) -> None:
        if self._next is not None:  # else it was lost
            self._turn(self._next, set(message["kept"]))

    def _turn(self, heir: Handing, kept: set[str]) -> None:
        """Turn to the successor of the successor, but for channels that the latter keeps."""
        former, self._handing, self._next = self._handing, heir, None
        self._former.append(former)
        heir.serving = True
        self._told = Counter()
        for name in former.mirroring.names - kept:
            self._follow_on(former, name)

    def _follow_on(self, handing: Handing, name: str) -> None:
        """Follow a channel to the process that one successor has handed it over to."""
        newer = self._next if handing is self._handing else self._handing
        if newer is not None:
            handing.mirroring.end(name)
            newer.mirroring.begin(name)

    def _lose(self, handing: Handing) -> None:
        """Do without another process. A next one that never served has taken its channels along."""
        if handing is self._handing and self._next is not None and self._next.talk.goes_on:
            self._turn(self._next, set())  # which serves, or will: its last word was not heard
        handing.mirroring.lost()
        if handing is self._next:
            self._next = None
            gevent.spawn(handing.talk.close)

    def _take_end(self, _message: Message, _descriptors: list[int]) -> None:
        """Leave: the server was told to stop."""
        self._until = monotonic()

    def _take_kill(self, message: Message, _descriptors: list[int]) -> None:
        self._estate.kills.from_after(message["channel"], message["stream_id"], message["reason"])

    def _pass_kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        message = {"kind": "kill", "channel": channel, "stream_id": stream_id, "reason": reason}
        return self._handing.talk.tell(message)

    def _link_lost(self, authority: Authority, serials: set[int] | None) -> None:
        for handing in self._handings:
            handing.link_lost(authority, serials)
