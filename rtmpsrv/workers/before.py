"""A process before this one, as this one talks with it: slices come from there, and what belongs to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from posix import close
from typing import Any

from ..access.gate import Grant
from ..access.limits import ConnectionLimits
from ..errors import CannotMove
from ..live.mirror import Mirror
from ..log import Logger
from ..server.served import State
from ..server.session_state import Frozen
from .conversation import Conversation, Message
from .estate import Estate, home_of
from .inherited import InheritedAuthority
from .mirroring import Mirroring
from .wire import WireLost


@dataclass(slots=True)
class _Slice:
    """What was taken over, but not committed yet."""

    number: int
    frozen: list[Frozen] = field(default_factory=list)
    channels: dict[str, int | None] = field(default_factory=dict)  # with the process that publishes them on
    published: set[str] = field(default_factory=set)  # those whose publishers are in it
    made: dict[str, Any] = field(default_factory=dict)  # of channels, for viewers


class Before:
    """Takes over from it as long as it lives."""

    def __init__(
        self, estate: Estate, talk: Conversation, pid: int, log: Logger, *, renumbers: bool = False
    ) -> None:
        """With `renumbers` this process has sessions of its own, whose numbers must not be taken twice."""
        self.pid = pid
        self._renumbers = renumbers
        self.talk = talk
        self.mirroring = Mirroring(estate, talk, to_the_end=True)
        self.sessions = 0  # taken over
        self.channels = 0
        self.find: Callable[[int], Before | None] = lambda pid: self if pid == self.pid else None
        self._estate = estate
        self._log = log
        self._authority = InheritedAuthority(talk)
        self._slots: Counter[str] = Counter()  # taken for connections there, by address
        self._prepared: _Slice | None = None
        talk.handle("kill", self._take_kill)
        talk.handle("stops", self._take_stops)
        talk.handle("link lost", self._take_loss)
        talk.handle("slots", self._take_slots)

    def act(self, message: Message, descriptors: list[int]) -> None:
        """Take a slice, or let it run. Never blocks. Raises WireLost for what is no message."""
        match message["kind"]:
            case "slice":
                self._prepare(message, descriptors)
            case "commit" if self._prepared is not None and self._prepared.number == message["number"]:
                self.talk.tell({"kind": "taken", "number": message["number"]})
                self.commit()
            case kind:
                for descriptor in descriptors:
                    close(descriptor)
                raise WireLost(f"{kind!r} is no message")

    def commit(self) -> None:
        """Let run what was taken over last, if it does not yet. Never blocks."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return
        for name, pid in prepared.channels.items():
            if self._estate.copied is None:
                if pid is not None:
                    self._mirror(name, pid)
            elif name not in prepared.published:
                self._estate.copied(name)
        for name, made in prepared.made.items():
            if made is not None and self._estate.made is not None:
                self._estate.made.adopt(name, made)
        for frozen in prepared.frozen:
            if self._renumbers:
                frozen.state.client.number = next(self._estate.numbers)
            home_of(frozen.state, self._estate.listeners).adopt(frozen)
        self.sessions += len(prepared.frozen)
        self.channels += len(prepared.channels)

    def follow(self) -> None:
        """Take what comes later: sessions that were busy, ends, kills. Blocks until it has left."""
        estate = self._estate
        estate.elders.append(self)
        estate.kills.before.append(self._pass_kill)
        try:
            while True:
                message, descriptors = self.talk.next(None)
                if message["kind"] == "leaving":
                    self._log.info("succession: process %d has left", self.pid)
                    break
                self.act(message, descriptors)
        except WireLost as exc:
            self._log.info("succession: process %d is gone: %s", self.pid, exc)
        finally:
            self.discard()
            estate.kills.before.remove(self._pass_kill)
            estate.elders.remove(self)
            self.mirroring.lost()
            self._take_slots({"addresses": {}}, [])
            if self._authority in estate.tied:
                estate.tied.remove(self._authority)
                estate.link_lost(self._authority)
            self.talk.close()

    def meet_heir(self, descriptor: int) -> None:
        """Let it talk to this process's successor, of channels that move there. Never blocks."""
        self.talk.tell({"kind": "next"}, [descriptor])

    def turn_to_heir(self, kept: set[str]) -> None:
        """Let it turn to this process's successor, but for channels that stay here. Never blocks."""
        self.talk.tell({"kind": "heir", "kept": kept})

    def ask_to_end(self) -> None:
        """Let it drain, as at SIGTERM: nobody serves any more. Never blocks."""
        self.talk.tell({"kind": "end"})

    # --- private ----------------------------------------------------------------------------------

    def _prepare(self, message: Message, descriptors: list[int]) -> None:
        """Build what a slice holds; whoever is in it does not run yet."""
        estate, prepared = self._estate, _Slice(message["number"])
        states: list[State] = message["sessions"]
        left = descriptors[len(states) :]
        own: list[int] = []
        published = {one.publication.channel for one in states if isinstance(one.publication, Grant)}
        try:
            for name, value, segments, pid in message["channels"]:
                own, left = left[:segments], left[segments:]
                if name in published:
                    estate.published_here(name)
                channel = estate.registry.adopt(name, value, own)
                prepared.channels[name] = pid
                prepared.made[name] = value.get("made")  # not of an older version
                estate.tell(channel.take_news())
        except Exception as exc:  # noqa: BLE001 - it must cost this slice only, and goes on where it was
            if isinstance(exc, CannotMove):
                left += own  # it took nothing over
            else:
                self._log.exception("succession: a channel cannot be taken over")
            for descriptor in descriptors[: len(states)] + left:
                close(descriptor)
            for name in prepared.channels:
                estate.registry.abandon(name)
            self.talk.tell({"kind": "refused", "number": prepared.number, "reason": str(exc)})
            return
        for state, descriptor in zip(states, descriptors, strict=False):
            grant = state.publication
            if isinstance(grant, Grant) and grant.serial in message["notes"]:
                state.publication = self._inherit(grant, message["notes"][grant.serial])
                prepared.published.add(grant.channel)
            prepared.frozen.append(Frozen(state, descriptor))
        self._prepared = prepared
        self.talk.tell({"kind": "prepared", "number": prepared.number})

    def discard(self) -> None:
        """Let go of what was not committed: it goes on where it was. Idempotent, never blocks."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            for frozen in prepared.frozen:
                close(frozen.descriptor)
                if isinstance(frozen.state.publication, Grant):
                    self._estate.gate.abandon(frozen.state.publication)
            for name in prepared.channels:
                self._estate.registry.abandon(name)

    def _inherit(self, grant: Grant, note: dict[str, bool]) -> Grant:
        estate = self._estate
        known: Any = {"killed": note["killed"], "notify": note["notify"]}
        if not note["lent"]:
            return estate.gate.inherit(grant, known)
        if self._authority not in estate.tied:
            estate.tied.append(self._authority)
        own = estate.gate.inherit(grant, known, self._authority)
        self._authority.adopted(own, grant.serial)
        return own

    def _mirror(self, name: str, pid: int) -> None:
        """Follow a channel that another process publishes; the end of it, if that is gone."""
        owner = self.find(pid)
        if owner is not None:
            owner.mirroring.begin(name)
        else:
            self._estate.tell(Mirror(self._estate.registry.open(name)).lost())

    def _take_kill(self, message: Message, _descriptors: list[int]) -> None:
        self._estate.kills.from_before(message["channel"], message["stream_id"], message["reason"])

    def _take_stops(self, message: Message, _descriptors: list[int]) -> None:
        reports = self._estate.reports
        for grant in message["grants"]:
            if reports is not None:
                reports.ended(grant)

    def _take_slots(self, message: Message, _descriptors: list[int]) -> None:
        """Count the connections that are left there: the limits are for all processes together."""
        slots = self._estate.parts.slots
        if not isinstance(slots, ConnectionLimits):
            return  # a keeper counts for all processes
        now: Counter[str] = Counter(message["addresses"])
        for address in (now - self._slots).elements():
            slots.take(address)
        for address in (self._slots - now).elements():
            slots.release(address)
        self._slots = now

    def _take_loss(self, message: Message, _descriptors: list[int]) -> None:
        self._estate.link_lost(self._authority, self._authority.own_serials(message["serials"]))

    def _pass_kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        message = {"kind": "kill", "channel": channel, "stream_id": stream_id, "reason": reason}
        return self.talk.tell(message)
