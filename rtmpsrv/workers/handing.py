"""Moving slices to the successor: which can go, and one of them from the freeze to its commit."""

from __future__ import annotations

from time import monotonic
from typing import Final

import gevent

from ..access.gate import Authority, Grant
from ..log import Logger
from ..server.served import Served
from .conversation import Conversation, Message
from .estate import Estate, channels_of, is_fixed, published_here, waits
from .mirroring import Mirroring
from .parcel import Parcel, freeze
from .slices import Slice, plan
from .wire import WireLost

STEP_S: Final = 2.0  # for the successor to answer; it is the pause of a session whose successor hangs
SESSION_S: Final = 0.001  # more than that for each session of a slice
SETTLE_S: Final = 0.5  # for publishers that are in the middle of something


class Refused(Exception):
    """The successor will not have a slice; it has let go of it."""


class Handing:
    """What has gone to the successor, and what is on its way."""

    def __init__(self, estate: Estate, talk: Conversation, mirroring: Mirroring, log: Logger) -> None:
        self.talk = talk
        self.mirroring = mirroring
        self.on_its_way: Parcel | None = None
        self.committed = 0  # sessions
        self.serving = False  # the successor is
        self.lent: dict[int, tuple[Authority, Grant]] = {}  # by serial: their ends are reported here
        self._estate = estate
        self._log = log
        talk.handle("ended", self._take_end)

    def plan(
        self, most: int | None = None, without: frozenset[int] | set[int] = frozenset()
    ) -> list[Slice[Served]]:
        """Divide what can go now, but for sessions of some numbers.

        Each channel goes on its own with `most` 1: later, when those are known there that others publish on.
        """
        going = []
        for listener in self._estate.listeners:
            for session in listener.sessions:
                if is_fixed(session) or session.client.number in without:
                    continue
                names = channels_of(session)
                if names or session.can_move():
                    alone = waits(session, self._estate)  # however many wait, few are frozen at once
                    going.append((session, None if alone else next(iter(names), None)))
        if most is not None:
            return plan(going, most)
        return plan(going, alone=self._published_elsewhere({name for _session, name in going}))

    def hand_over(self, number: int, of: int, part: Slice[Served]) -> None:
        """Move one slice. Raises Refused, or WireLost; `on_its_way` is then what has to go on here.

        Blocks for a few seconds at most.
        """
        self._settle(part)
        began = monotonic()
        parcel = self.on_its_way = freeze(part, self._estate, late=self.serving)
        frozen_s = monotonic() - began
        if not parcel.frozen and all(moved.owner is None for moved in parcel.channels):
            self.on_its_way = None
            return
        self.talk.say(parcel.message(number), parcel.descriptors)
        step_s = STEP_S + SESSION_S * len(parcel.frozen)
        answer = self.talk.answer(step_s, "prepared", "refused")
        if answer["kind"] == "refused":
            self.take_back()
            raise Refused(str(answer.get("reason")))
        self.talk.say({"kind": "commit", "number": number})
        self._await_taken(step_s)
        self.on_its_way = None
        self.committed += len(parcel.frozen)
        self.lent.update(parcel.lent)
        for name in parcel.let_go(self._estate):
            (self._estate.copied or self.mirroring.begin)(name)
        self._log.info(
            "succession: slice %d of %d: %d sessions, %d channels, frozen in %d ms, done after %d ms",
            number, of, len(parcel.frozen), len(parcel.channels),
            1000 * frozen_s, 1000 * (monotonic() - began),
        )  # fmt: skip

    def _published_elsewhere(self, known: set[str | None]) -> list[str]:
        """Name channels without anybody who can go, whose publisher stays in this process or another.

        The successor has to know them: somebody may come there to play, or to publish.
        """
        estate = self._estate
        if estate.copied is not None:
            return []  # a keeper knows
        here = published_here(estate, fixed=True)
        return [
            channel.name
            for channel in estate.registry
            if channel.name not in known
            and (channel.name in here or any(channel.name in elder.mirroring for elder in estate.elders))
        ]

    def take_back(self) -> int:
        """Let what is on its way go on here; return how many sessions. Never blocks."""
        parcel, self.on_its_way = self.on_its_way, None
        if parcel is None:
            return 0
        parcel.take_back()
        return len(parcel.frozen)

    def link_lost(self, authority: Authority, serials: set[int] | None) -> None:
        """Tell the successor that what an authority granted is over, or some of it. Never blocks."""
        over = {
            serial
            for serial, (owner, _grant) in self.lent.items()
            if owner is authority and (serials is None or serial in serials)
        }
        for serial in over:
            del self.lent[serial]
        if over:
            self.talk.tell({"kind": "link lost", "serials": over})

    def _await_taken(self, step_s: float) -> None:
        """Wait until the successor has the slice for good, but has not begun with it. Raises WireLost."""
        try:
            self.talk.answer(step_s, "taken")
        except WireLost:
            # One that serves and is silent cannot be ended: it may begin with it yet.
            if not (self.serving and self.talk.goes_on):
                raise

    def _settle(self, part: Slice[Served]) -> None:
        """Give publishers that are in the middle of something a moment. Blocks up to `SETTLE_S`."""
        until = monotonic() + SETTLE_S
        while monotonic() < until and any(
            session.role == "publisher" and not session.can_move() for session in part.sessions
        ):
            gevent.sleep(0.005)

    def _take_end(self, message: Message, _descriptors: list[int]) -> None:
        """Report an end over a connection of this process."""
        lent = self.lent.pop(message["serial"], None)
        if lent is not None:
            authority, grant = lent
            authority.ended(grant)
