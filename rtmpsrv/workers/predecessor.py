"""The old side of a succession: this process hands over all it can, serves what stays, and leaves.

The steps are in docs/architecture.md. Until a slice is committed everything can be undone: its sessions go on
in this process, as if nothing had been.
"""

from __future__ import annotations

import os
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

import gevent

from ..access.gate import Authority, Grant
from ..log import Logger
from ..server.session import Session
from . import schema
from .conversation import Conversation, Message
from .estate import Estate, channels_of, is_fixed
from .parcel import Parcel, freeze
from .slices import Slice, plan
from .wire import Wire, WireLost

STEP_S: Final = 2.0  # for the successor to answer; it is the pause of a session whose successor hangs
SETTLE_S: Final = 0.5  # for publishers that are in the middle of something
LOOK_S: Final = 0.05  # how often what stays is looked at, whether it can go now


class Heir(Protocol):
    """The process that is to succeed this one."""

    pid: int

    def kill(self) -> None:
        """End it, and return when it is gone."""


class Refused(Exception):
    """The successor will not have a slice; it has let go of it."""


class Predecessor:
    """Hands over to one successor."""

    def __init__(
        self, estate: Estate, heir: Heir, wire: Wire, log: Logger, *, start_s: float, linger_s: float
    ) -> None:
        """Prepare; `start_s` is the successor's time to be ready, `linger_s` that of what cannot move."""
        self.serving = False  # the successor is
        self._estate = estate
        self._heir = heir
        self._talk = Conversation(wire, {"ended": self._take_end, "kill": self._take_kill})
        self._log = log
        self._start_s = start_s
        self._linger_s = linger_s
        self._on_its_way: Parcel | None = None
        self._committed = 0  # sessions
        self._unwanted: set[int] = set()  # sessions that the successor refused
        self._lent: dict[int, tuple[Authority, Grant]] = {}  # by serial: whose ends are reported here

    def run(self) -> bool:
        """Hand everything over; False when this process goes on as before. Blocks, for long if much stays."""
        began = monotonic()
        try:
            moves = self._agree()
            self._pause()
            if moves:
                self._hand_over_all()
            self._let_serve(moves)
        except (WireLost, Refused, OSError) as exc:
            self._roll_back(str(exc))
        except Exception:  # noqa: BLE001 - a bug of ours must cost this attempt only
            self._log.exception("succession failed")
            self._roll_back("internal error")
        else:
            self._tell("process %d serves, after %d ms", self._heir.pid, 1000 * (monotonic() - began))
            self._stay(moves)
        finally:
            self._talk.close()
        return self.serving

    def cancel(self, reason: str) -> None:
        """Give up at the next step, unless the successor serves already. Never blocks."""
        self._talk.give_up(reason)

    # --- the steps --------------------------------------------------------------------------------

    def _agree(self) -> bool:
        """Wait until the successor is ready; tell whether it can take sessions over."""
        estate = self._estate
        hello = {
            "kind": "hello",
            "schema": schema.SCHEMA,
            "clock": schema.clock_identity(),
            "agreed": estate.agreed,
            "pid": os.getpid(),
            "listeners": [listener.bound_to for listener in estate.listeners],
        }
        began = monotonic()
        self._talk.say(hello, [listener.socket.fileno() for listener in estate.listeners])
        ready = self._talk.answer(self._start_s, "ready")
        obstacle = str(ready.get("obstacle", "it does not tell whether it can"))
        self._tell("process %d is ready after %d ms", self._heir.pid, 1000 * (monotonic() - began))
        if obstacle:
            self._log.warning(
                "succession: sessions cannot move: %s. They stay here until they end, %d s at most",
                obstacle,
                self._linger_s,
            )
        elif estate.reports is not None and not ready.get("reports"):
            estate.tied.append(estate.reports)
        return not obstacle

    def _pause(self) -> None:
        """Accept nobody more, and let nobody begin to publish or to play."""
        self._estate.parts.hold.close()
        for listener in self._estate.listeners:
            listener.pause()
        gevent.sleep(0)  # what was accepted before has a session after this turn of the loop

    def _hand_over_all(self) -> None:
        began = monotonic()
        slices = self._plan()
        for number, part in enumerate(slices, 1):
            try:
                self._hand_over(number, len(slices), part)
            except Refused as exc:
                if not self._committed:
                    raise
                # Ending the successor would end what it serves already.
                self._log.error("succession: slice %d stays here: %s", number, exc)
        self._tell("%d sessions handed over in %d ms", self._committed, 1000 * (monotonic() - began))

    def _plan(self, most: int | None = None) -> list[Slice[Session]]:
        """Divide what can go now; each channel on its own with `most` 1."""
        everybody = [session for listener in self._estate.listeners for session in listener.sessions]
        kept = {name for session in everybody if is_fixed(session) for name in channels_of(session)}
        going = []
        for session in everybody:
            names = channels_of(session)
            if is_fixed(session) or session.client.number in self._unwanted or names & kept:
                continue
            if names or session.can_move():
                going.append((session, next(iter(names), None)))
        return plan(going) if most is None else plan(going, most)

    def _hand_over(self, number: int, of: int, part: Slice[Session]) -> None:
        """Move one slice. Raises Refused, or WireLost; `_on_its_way` is then what has to go on here."""
        self._settle(part)
        began = monotonic()
        parcel = self._on_its_way = freeze(part, self._estate)
        frozen_s = monotonic() - began
        if not parcel.frozen:
            self._on_its_way = None
            return
        self._talk.say(parcel.message(number), parcel.descriptors)
        answer = self._talk.answer(STEP_S, "prepared", "refused")
        if answer["kind"] == "refused":
            self._take_back(parcel)
            raise Refused(str(answer.get("reason")))
        self._talk.say({"kind": "commit", "number": number})
        self._talk.flush(STEP_S)
        self._on_its_way = None
        self._committed += len(parcel.frozen)
        self._lent.update(parcel.lent)
        parcel.let_go(self._estate)
        self._tell(
            "slice %d of %d: %d sessions, %d channels, %d descriptors, frozen in %d ms, done after %d ms",
            number, of, len(parcel.frozen), len(parcel.channels), len(parcel.descriptors),
            1000 * frozen_s, 1000 * (monotonic() - began),
        )  # fmt: skip

    def _settle(self, part: Slice[Session]) -> None:
        """Give publishers that are in the middle of something a moment. Blocks up to `SETTLE_S`."""
        until = monotonic() + SETTLE_S
        while monotonic() < until and any(
            session.role == "publisher" and not session.can_move() for session in part.sessions
        ):
            gevent.sleep(0.005)

    def _let_serve(self, moves: bool) -> None:
        """Let the successor accept and answer; from then on it is the server."""
        estate = self._estate
        handshakes = sum(len(listener.greenlets) for listener in estate.listeners)  # each may take a number
        number = next(estate.parts.numbers) + handshakes
        closed = estate.gate.blocks()
        self._talk.say({"kind": "serve", "moves": moves, "number": number, "blocks": closed})
        self._talk.answer(max(STEP_S, self._start_s / 2), "serving")
        self.serving = True
        for listener in estate.listeners:
            listener.close()
        if moves and estate.commands is not None:
            gevent.spawn(estate.commands.stop)
        estate.kills.after = self._pass_kill
        estate.link_lost_after = self._link_lost

    def _stay(self, moves: bool) -> None:
        """Serve what could not move; move what can by now. Until nothing is left, or the time is over."""
        estate = self._estate
        until = monotonic() + self._linger_s
        self._tell("%d sessions stay here", self._sessions)
        if not moves:
            estate.parts.hold.open()
        number = 1 << 20
        while monotonic() < until and (self._sessions or self._lends or self._reports_left(moves)):
            if self._talk.goes_on and moves:
                for part in self._plan(most=1):
                    number += 1
                    self._hand_over_late(number, part)
                self._part_with_tls()
            elif estate.parts.hold.closed:
                estate.parts.hold.open()  # there is nobody who could take them any more
            gevent.sleep(LOOK_S)
        if self._talk.tell({"kind": "leaving"}):
            with suppress(WireLost):
                self._talk.flush(STEP_S)

    def _hand_over_late(self, number: int, part: Slice[Session]) -> None:
        """Move what was in the middle of a request before."""
        numbers = {session.client.number for session in part.sessions}
        publishers = {session.client.number for session in part.sessions if session.role == "publisher"}
        try:
            self._hand_over(number, number, part)
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
            if self._on_its_way is not None:
                self._heir.kill()
                self._take_back(self._on_its_way)

    def _part_with_tls(self) -> None:
        """Close connections on TLS that ask for something now: they come back to the successor."""
        for listener in self._estate.listeners:
            for session in list(listener.sessions):
                if session.is_bound and session.is_held:
                    session.drop("the server is being replaced")

    @property
    def _lends(self) -> bool:
        """Whether ends of what the successor has are to be reported here; not when it is gone."""
        return bool(self._lent) and self._talk.goes_on

    @property
    def _sessions(self) -> int:
        return sum(len(listener.sessions) for listener in self._estate.listeners)

    def _reports_left(self, moves: bool) -> bool:
        """Pass on what waits to be reported; tell whether something is on its way."""
        reports = self._estate.reports
        if reports is None:
            return False
        if moves and reports not in self._estate.tied and self._talk.goes_on:
            stops = reports.take_unsent()
            if stops:
                self._talk.tell({"kind": "stops", "grants": stops})
        return not reports.wait_idle(0)

    # --- back -------------------------------------------------------------------------------------

    def _roll_back(self, reason: str) -> None:
        """Go on as before."""
        began = monotonic()
        self._heir.kill()  # first: it has our sockets
        parcel = self._on_its_way
        if parcel is not None:
            self._take_back(parcel)
        self._estate.parts.hold.open()
        for listener in self._estate.listeners:
            listener.resume()
        self._log.error(
            "succession failed: %s. This process goes on with %d sessions; %d were lost with the successor",
            self._talk.lost or reason,
            self._sessions + (len(parcel.frozen) if parcel is not None else 0),
            self._committed,
        )
        self._tell("process %d was ended in %d ms", self._heir.pid, 1000 * (monotonic() - began))

    def _take_back(self, parcel: Parcel) -> None:
        self._on_its_way = None
        parcel.take_back()

    # --- what comes unasked -----------------------------------------------------------------------

    def _take_end(self, message: Message) -> None:
        """Report an end over the connection of this process."""
        lent = self._lent.pop(message["serial"], None)
        if lent is not None:
            authority, grant = lent
            authority.ended(grant)

    def _take_kill(self, message: Message) -> None:
        self._estate.kills.from_after(message["channel"], message["stream_id"], message["reason"])

    def _pass_kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        message = {"kind": "kill", "channel": channel, "stream_id": stream_id, "reason": reason}
        return self._talk.tell(message)

    def _link_lost(self, authority: Authority) -> None:
        """Tell the successor that what an authority granted is over."""
        serials = [serial for serial, (owner, _grant) in self._lent.items() if owner is authority]
        for serial in serials:
            del self._lent[serial]
        if serials:
            self._talk.tell({"kind": "link lost", "serials": serials})

    def _tell(self, text: str, *values: object) -> None:
        self._log.info(f"succession: {text}", *values)
