"""The one process that several workers ask: who may publish, who may connect, who serves which channel.

It runs the gate, with callback or control server and Redis, and the limits of connections, for all of them.
It may die at any moment: workers go on, and tell the next keeper what they have; what was not reported is in
the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final

import gevent
from gevent import socket as gsocket
from gevent.event import Event
from gevent.pool import Group

from rtmpsrv.access.gate import KILLED, Gate, Grant, PublishRequest, refusal, taken
from rtmpsrv.access.journal import Journal
from rtmpsrv.log import Logger
from rtmpsrv.workers import doors
from rtmpsrv.workers.book import Book, SlotBook
from rtmpsrv.workers.calls import CallLost
from rtmpsrv.workers.former import Former
from rtmpsrv.workers.member import Member
from rtmpsrv.workers.members import Members
from rtmpsrv.workers.wire import Wire

CLAIM_S: Final = 5.0  # for the workers of the keeper before to come and say what they have
TRAVEL_S: Final = 10.0  # for a publication to arrive at another worker
SOUND_S: Final = 2.0  # for a worker to find out whether a publisher is still there
FLUSH_S: Final = 1.0  # for a worker to read what it is told at the end
REPORTS_S: Final = 5.0  # for ends to be reported, before the next keeper does it
OVERLAP_S: Final = 2.0  # with the next keeper, which hears commands before this one does no more
LOOK_EVERY_S: Final = 0.05
FIRST_SLOTS_S: Final = 1.0  # for the same workers, before the first connections are counted without theirs


class Keeper:
    """The book, and all that is asked about it. Told by its members only, in methods that do not block."""

    def __init__(
        self,
        gate: Gate,
        slots: SlotBook,
        journal: Journal,
        log: Logger,
        former: Sequence[Former] = (),
        *,
        remembers: bool = True,
    ) -> None:
        """`former` are keepers that retire; `remembers`: the authority does, when a keeper has died."""
        self.book = Book()
        self.slots = slots
        self._gate = gate
        self.on_block: Callable[[str, float], object] = gate.block  # of a channel, for so long
        self._journal = journal
        self._log = log
        self._remembers = remembers
        self.members = Members()
        self._kills: dict[int, str] = {}  # of publications whose worker cannot be told now
        self._expected: set[str] = set()
        self._settled = Event()
        self._left = False
        self._retired = False
        self.retiring = Event()  # the next keeper is there: somebody is to call `retire`
        self._next: list[Member] = []  # keepers, while this one retires
        self._tasks = Group()
        self._listener: gsocket.socket | None = None
        self._former = list(former)
        self.admin_door: Callable[[], int | None] = lambda: None  # what the next keeper gets
        self._restore()

    # --- its life ---------------------------------------------------------------------------------

    def listen(self, sock: gsocket.socket) -> None:
        """Accept workers from now on. Never blocks."""
        self._listener = sock
        self._tasks.spawn(doors.accept, sock, lambda one: self._tasks.spawn(self.serve, one))

    def serve(self, sock: gsocket.socket) -> None:
        """Serve one connection of a worker, or of somebody who only asks, to its end. Blocks."""
        member = Member(self, Wire(sock), self._log)
        self.members.connections.add(member)
        try:
            why = member.calls.serve()
        finally:
            self.members.connections.discard(member)
        self._lost(member, why)

    def close(self, timeout_s: float) -> bool:
        """Admit nobody, end everything, report it; return whether all was. Blocks up to `timeout_s`."""
        over = self._gate.close(timeout_s)
        self.members.flush(FLUSH_S)
        self.leave()
        return over

    def retire(self, door: gsocket.socket, handed_on: Callable[[], None], linger_s: float) -> None:
        """Let the next keeper take over, and end what was begun. Blocks up to `linger_s`.

        That is: the answers that workers wait for; and where the authority would forget what it granted with
        the end of this process, all of that. The next keeper is heard at `door`; at `handed_on` it begins.
        """
        if self._listener is not None:
            self._listener.close()
        self.listen(door)
        # In the meantime it does its work as ever: what is on its way is reported by it alone.
        self._gate.wait_idle(REPORTS_S)
        self._retired = True
        self._journal.close()
        handed_on()
        self.members.tell_all("retiring", not self._remembers)
        if self._remembers:
            self.book = Book()  # the next keeper's now
        gevent.sleep(OVERLAP_S)
        until = monotonic() + linger_s
        while not self._left and (len(self.book) or self.members.are_asking) and monotonic() < until:
            gevent.sleep(LOOK_EVERY_S)
        self._gate.wait_idle(REPORTS_S)
        self.leave()

    def held(self, member: Member) -> list[tuple[Grant, str]]:
        """Return what this keeper still reports the ends of, and by which workers, to the next one."""
        self._next.append(member)
        return [(held.grant, held.worker) for held in self.book] if self._retired else []

    def leave(self) -> None:
        """Be gone, without a word to anybody, as if killed."""
        self._left = True
        for former in self._former:
            former.close()
        if self._listener is not None:
            self._listener.close()
        self.members.close()
        self._tasks.kill(timeout=1)
        self._journal.close()

    def describe(self, timeout_s: float) -> dict[str, Any]:
        """Return what an operator wants to know, of all workers. Blocks up to `timeout_s`."""
        return {
            "keeper": {
                "on_air": self.book.directory(),
                "connections": len(self.slots),
                "unreported": sum([kept.ended for kept in self._journal.kept.values()]),
                "expected": sorted(self._expected),
            },
            **self.members.describe(timeout_s),
        }

    # --- asked by workers -------------------------------------------------------------------------

    def admit(self, member: Member, serial: int, request: PublishRequest) -> Grant:
        """Return what a publication was granted, or raise AccessDenied. Blocks as long as the gate does."""
        member.asking.add(serial)
        try:
            self._settled.wait(CLAIM_S)
            self._make_sure_that_it_is_free(request.channel)
            grant = self._gate.admit(request, partial(self._kill, serial), serial)
        finally:
            is_wanted = serial in member.asking
            member.asking.discard(serial)
        self._journal.began(grant, member.name)
        if not is_wanted:  # its session is over, or its worker
            self._report(grant)
            raise refusal(KILLED)
        if self._retired and self._remembers:
            return grant  # the next keeper's: its worker tells of it
        if not self.book.add(grant, member.name):  # somebody else was faster while the gate was asked
            self._report(grant)
            raise taken()
        self._tell_all("on_air", grant.channel, member.name, grant.max_players)
        return grant

    def admit_connection(self, member: Member, number: int, address: str) -> str | None:
        """Count a connection; return why it may not be, None for yes. Blocks for `FIRST_SLOTS_S` at most."""
        member.asking.add(number)
        self._settled.wait(FIRST_SLOTS_S)
        if number not in member.asking:
            return "it is over"
        member.asking.discard(number)
        return self.slots.admit(number, address, member.name)

    # --- told by workers --------------------------------------------------------------------------

    def welcome(self, member: Member, name: str, told: dict[str, Any]) -> None:
        """Take note of a worker, and of all that it has: what it had before and does not name is over."""
        claims: list[Grant] = told.get("claims", [])
        slots: dict[int, str] = told.get("slots", {})
        for serial in told.get("departed", []):
            self.depart(serial, name)
        self.members.add(member, name)
        claimed = {grant.serial for grant in claims}
        for grant in self.book.of(name):
            if grant.serial not in claimed:
                self.release(grant.serial)
        member.calls.tell("directory", self.book.directory(), self.book.limits())
        for grant in claims:
            self.arrived(member, grant, held=False)
        self.slots.claim(name, slots)
        self._expected.discard(name)
        if not self._expected:
            self._settled.set()
        self._log.info("worker %s is here, publications=%d connections=%d", name, len(claims), len(slots))

    def arrived(self, member: Member, grant: Grant, held: bool) -> None:
        """Take note that a worker serves a publication, which the keeper may have heard of or not.

        `held`: a keeper that has retired granted it a moment ago, and reports its end.
        """
        serial, is_ours = grant.serial, self._remembers and not held
        known = self.book.find(serial) is not None
        if not self.book.add(grant, member.name):
            self._log.warning("two publishers, one is ended channel=%s worker=%s", grant.channel, member.name)
            self._gate.adopt(grant, partial(self._kill, serial), notify=is_ours)
            self._report(grant)
            member.calls.tell("kill", serial, "the channel is published elsewhere")
            return
        if not known:
            self._gate.adopt(grant, partial(self._kill, serial), notify=is_ours)
            if is_ours:
                self._journal.began(grant, member.name)
        self._journal.passed_on(serial, member.name)
        self._tell_all("on_air", grant.channel, member.name, grant.max_players)
        if not (known or held or self._remembers):
            self._gate.kill(grant.channel, grant.stream_id, "control link lost")
        elif serial in self._kills:
            member.calls.tell("kill", serial, self._kills[serial])

    def depart(self, serial: int, worker: str) -> None:
        """Take note that a publication is on its way to another worker, which may have told already."""
        if self.book.depart(serial, worker):
            self._tasks.spawn(self._look_for, serial)

    def release(self, serial: int) -> None:
        """End a publication, and report it once. Idempotent."""
        self._kills.pop(serial, None)
        held = self.book.remove(serial)
        if held is None:
            return
        self._tell_all("off_air", held.grant.channel, held.worker)
        self._report(held.grant)
        for one in self._former:
            one.release(serial)

    def pass_on_connection(self, number: int, worker: str) -> None:
        """Take note that a connection is another worker's now."""
        self.slots.pass_on(number, worker if worker in self.members else None)

    # --- private ----------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Go on where the keeper before was: with what its workers will claim, and what was not reported."""
        kept = list(self._journal.kept.values())
        for publication in kept:
            grant, owner = publication.grant, publication.owner
            if owner and not publication.ended:
                self._expected.add(owner)
            if not self._remembers:
                self._journal.reported(grant)
                continue
            self._gate.adopt(grant, partial(self._kill, grant.serial))
            if publication.ended or not owner or not self.book.add(grant, owner):
                self._report(grant)
        if kept:
            self._log.info(
                "%d publications of the keeper before, %d of them on the air", len(kept), len(self.book)
            )
        for former in self._former:
            for grant, owner in former.held:
                if self.book.add(grant, owner):
                    self._gate.adopt(grant, partial(self._kill, grant.serial), notify=False)
                    self._expected.add(owner)
            self._tasks.spawn(self._hear_former, former)
        if self._expected:
            self._tasks.spawn(self._wait_for_claims)
        else:
            self._settled.set()

    def _hear_former(self, former: Former) -> None:
        """Pass on kills of a keeper that retires, which are all of them when it is gone."""
        former.serve(self._kill)
        self._former.remove(former)
        for grant, _ in former.held:
            self._kill(grant.serial, "control link lost")

    def _wait_for_claims(self) -> None:
        self._settled.wait(CLAIM_S)
        for worker in self._expected:
            self._log.warning("worker %s has not come back", worker)
            for grant in self.book.of(worker):
                self.release(grant.serial)
        self._expected.clear()
        self._settled.set()

    def _report(self, grant: Grant) -> None:
        """Let the authority know of an end, unless it knows that already."""
        self._gate.release(grant)
        if (kept := self._journal.kept.get(grant.serial)) is not None and not kept.ended:
            self._journal.reported(grant)

    def _look_for(self, serial: int) -> None:
        gevent.sleep(TRAVEL_S)
        if (held := self.book.find(serial)) is not None and held.travelling:
            self._log.warning("publication was lost between two workers channel=%s", held.grant.channel)
            self.release(serial)

    def _make_sure_that_it_is_free(self, channel: str) -> None:
        """Let the channel's worker look whether its publisher is gone. Raises AccessDenied, and CallLost."""
        asked, until = "", monotonic() + SOUND_S
        while (held := self.book.on_air(channel)) is not None and monotonic() < until:
            if held.travelling:
                gevent.sleep(LOOK_EVERY_S)  # the worker where it arrives is asked, too
            elif held.worker != asked:
                asked = held.worker
                self.members.sound(asked, channel, SOUND_S)
            else:
                break
        if self._retired:
            raise CallLost("retired")  # the next one is to be asked
        if held is not None:
            raise taken()

    def _kill(self, serial: int, reason: str) -> None:
        """Let the worker that serves a publication end it, or the one that will."""
        for one in self._next:
            one.calls.tell("kill", serial, reason)
        held = self.book.find(serial)
        if held is not None:
            self._kills[serial] = reason
            self.members.tell(held.worker, "kill", serial, reason)

    def _lost(self, member: Member, why: str) -> None:
        """Release all that a worker had, unless it has come back over another connection."""
        member.asking.clear()
        if member in self._next:
            self._next.remove(member)
        if self._left or self._retired or not self.members.discard(member):
            return
        grants, numbers = self.book.of(member.name), self.slots.of(member.name)
        self._log.info("worker %s is gone: %s, publications=%d", member.name, why, len(grants))
        for grant in grants:
            self.release(grant.serial)
        for number in numbers:
            self.slots.release(number)

    def _tell_all(self, name: str, channel: str, worker: str, *more: int) -> None:
        if not self._retired:  # else the next one does
            self.members.tell_all(name, channel, worker, *more)
