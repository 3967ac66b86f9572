"""The one process that several workers ask: who may publish, who may connect, who serves which channel.

It runs the gate, with callback or control server and Redis, and the limits of connections, for all of them.
It may die at any moment: workers go on, and tell the next keeper what they have; what was not reported is in
the journal.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import gevent
from gevent import socket as gsocket
from gevent.event import Event
from gevent.pool import Group

from rtmpsrv.access.gate import KILLED, Gate, Grant, PublishRequest, refusal, taken
from rtmpsrv.access.journal import Journal
from rtmpsrv.log import Logger
from rtmpsrv.workers.book import Book, SlotBook
from rtmpsrv.workers.calls import CallLost
from rtmpsrv.workers.member import Member
from rtmpsrv.workers.wire import Wire

CLAIM_S: Final = 5.0  # for the workers of the keeper before to come and say what they have
TRAVEL_S: Final = 10.0  # for a publication to arrive at another worker
SOUND_S: Final = 2.0  # for a worker to find out whether a publisher is still there
FLUSH_S: Final = 1.0  # for a worker to read what it is told at the end
FIRST_SLOTS_S: Final = 1.0  # for the same workers, before the first connections are counted without theirs


class Keeper:
    """The book, and all that is asked about it. Told by its members only, in methods that do not block."""

    def __init__(
        self, gate: Gate, slots: SlotBook, journal: Journal, log: Logger, *, remembers: bool = True
    ) -> None:
        """`remembers`: the authority knows what it granted to a keeper that has died since."""
        self.book = Book()
        self.slots = slots
        self._gate = gate
        self._journal = journal
        self._log = log
        self._remembers = remembers
        self._members: dict[str, Member] = {}
        self._kills: dict[int, str] = {}  # of publications whose worker cannot be told now
        self._expected: set[str] = set()
        self._settled = Event()
        self._left = False
        self._tasks = Group()
        self._listener: gsocket.socket | None = None
        self._connections: set[Member] = set()
        self._restore()

    # --- its life ---------------------------------------------------------------------------------

    def listen(self, sock: gsocket.socket) -> None:
        """Accept workers from now on. Never blocks."""
        self._listener = sock
        self._tasks.spawn(self._accept, sock)

    def serve(self, sock: gsocket.socket) -> None:
        """Serve one connection of a worker, or of somebody who only asks, to its end. Blocks."""
        member = Member(self, Wire(sock), self._log)
        self._connections.add(member)
        try:
            why = member.calls.serve()
        finally:
            self._connections.discard(member)
        self._lost(member, why)

    def close(self, timeout_s: float) -> bool:
        """Admit nobody, end everything, report it; return whether all was. Blocks up to `timeout_s`."""
        over = self._gate.close(timeout_s)
        for member in list(self._connections):
            member.calls.flush(FLUSH_S)
        self.leave()
        return over

    def leave(self) -> None:
        """Be gone, without a word to anybody, as if killed."""
        self._left = True
        if self._listener is not None:
            self._listener.close()
        for member in list(self._connections):
            member.calls.close()
            member.calls.kill_answers()
        self._tasks.kill(timeout=1)
        self._journal.close()

    def describe(self, timeout_s: float) -> dict[str, Any]:
        """Return what an operator wants to know, of all workers. Blocks up to `timeout_s`."""
        asked = {
            name: gevent.spawn(member.describe, timeout_s) for name, member in sorted(self._members.items())
        }
        gevent.joinall(list(asked.values()), timeout_s)
        workers = {name: greenlet.value for name, greenlet in asked.items() if greenlet.value is not None}
        return {
            "keeper": {
                "on_air": self.book.directory(),
                "connections": len(self.slots),
                "unreported": sum([kept.ended for kept in self._journal.kept.values()]),
                "expected": sorted(self._expected),
            },
            "workers": workers,
            "silent": [name for name in asked if name not in workers],
        }

    # --- asked by workers -------------------------------------------------------------------------

    def admit(self, member: Member, serial: int, request: PublishRequest) -> str:
        """Return the stream id of a publication, or raise AccessDenied. Blocks as long as the gate does."""
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
        if not self.book.add(grant, member.name):  # somebody else was faster while the gate was asked
            self._report(grant)
            raise taken()
        self._tell_all("on_air", grant.channel, member.name)
        return grant.stream_id

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
            self.depart(serial)
        member.name = name
        before, self._members[name] = self._members.get(name), member
        if before is not None:
            before.calls.close("another one has that name")
        claimed = {grant.serial for grant in claims}
        for grant in self.book.of(name):
            if grant.serial not in claimed:
                self.release(grant.serial)
        member.calls.tell("directory", self.book.directory())
        for grant in claims:
            self.arrived(member, grant)
        self.slots.claim(name, slots)
        self._expected.discard(name)
        if not self._expected:
            self._settled.set()
        self._log.info("worker %s is here, publications=%d connections=%d", name, len(claims), len(slots))

    def arrived(self, member: Member, grant: Grant) -> None:
        """Take note that a worker serves a publication, which the keeper may have heard of or not."""
        serial = grant.serial
        known = self.book.find(serial) is not None
        if not self.book.add(grant, member.name):
            self._log.warning("two publishers, one is ended channel=%s worker=%s", grant.channel, member.name)
            self._gate.adopt(grant, partial(self._kill, serial), notify=self._remembers)
            self._report(grant)
            member.calls.tell("kill", serial, "the channel is published elsewhere")
            return
        if not known:
            self._gate.adopt(grant, partial(self._kill, serial), notify=self._remembers)
            if self._remembers:
                self._journal.began(grant, member.name)
        self._journal.passed_on(serial, member.name)
        self._tell_all("on_air", grant.channel, member.name)
        if not known and not self._remembers:
            self._gate.kill(grant.channel, grant.stream_id, "control link lost")
        elif serial in self._kills:
            member.calls.tell("kill", serial, self._kills[serial])

    def depart(self, serial: int) -> None:
        """Take note that a publication is on its way to another worker, which says when it has arrived."""
        self.book.depart(serial)
        self._tasks.spawn(self._look_for, serial)

    def release(self, serial: int) -> None:
        """End a publication, and report it once. Idempotent."""
        self._kills.pop(serial, None)
        held = self.book.remove(serial)
        if held is None:
            return
        self._tell_all("off_air", held.grant.channel, held.worker)
        self._report(held.grant)

    def pass_on_connection(self, number: int, worker: str) -> None:
        """Take note that a connection has gone to another worker."""
        self.slots.pass_on(number, worker if worker in self._members else None)

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
        if self._expected:
            self._tasks.spawn(self._wait_for_claims)
        else:
            self._settled.set()

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
        kept = self._journal.kept.get(grant.serial)
        if kept is not None and not kept.ended:
            self._journal.reported(grant)

    def _look_for(self, serial: int) -> None:
        gevent.sleep(TRAVEL_S)
        held = self.book.find(serial)
        if held is not None and held.travelling:
            self._log.warning("publication was lost between two workers channel=%s", held.grant.channel)
            self.release(serial)

    def _accept(self, listener: gsocket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            self._tasks.spawn(self.serve, sock)

    def _make_sure_that_it_is_free(self, channel: str) -> None:
        """Let the worker that serves a channel look whether its publisher is gone. Raises AccessDenied."""
        owner = self.book.owner(channel)
        if owner is None:
            return
        member = self._members.get(owner)
        if member is not None:
            try:
                member.calls.call("is_free", channel, timeout_s=SOUND_S)
            except CallLost as exc:
                self._log.debug("publisher not sounded channel=%s worker=%s reason=%s", channel, owner, exc)
        if self.book.owner(channel) is not None:
            raise taken()

    def _kill(self, serial: int, reason: str) -> None:
        """Let the worker that serves a publication end it, or the one that will."""
        held = self.book.find(serial)
        if held is None:
            return
        self._kills[serial] = reason
        member = self._members.get(held.worker)
        if member is not None:
            member.calls.tell("kill", serial, reason)

    def _lost(self, member: Member, why: str) -> None:
        """Release all that a worker had, unless it has come back over another connection."""
        member.asking.clear()
        if self._left:
            return
        if self._members.get(member.name) is not member:
            return
        del self._members[member.name]
        grants, numbers = self.book.of(member.name), self.slots.of(member.name)
        self._log.info("worker %s is gone: %s, publications=%d", member.name, why, len(grants))
        for grant in grants:
            self.release(grant.serial)
        for number in numbers:
            self.slots.release(number)

    def _tell_all(self, name: str, channel: str, worker: str) -> None:
        for member in self._members.values():
            member.calls.tell(name, channel, worker)
