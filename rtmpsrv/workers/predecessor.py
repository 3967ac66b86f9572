"""The old side of a succession: this process hands over all it can, serves what stays, and leaves.

The steps are in docs/architecture.md. Until a slice is committed everything can be undone: its sessions go on
in this process, as if nothing had been.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Final, Protocol

import gevent
from gevent import socket as gsocket

from ..log import Logger
from . import schema
from .conversation import Conversation
from .estate import Estate, addresses_of, published_here
from .handing import STEP_S, Handing, Refused
from .mirroring import Mirroring
from .remainder import Remainder
from .wire import Wire, WireLost

END_S: Final = 1.0  # between the end of a process's sockets and its own


class Heir(Protocol):
    """The process that is to succeed this one."""

    pid: int

    def kill(self) -> None:
        """End it, and return when it is gone."""

    def ended_with(self, timeout_s: float) -> int | None:
        """Return its exit code, that of a signal below 0; None when it lives or is no child. Blocks."""


class Predecessor:
    """Hands over to one successor."""

    def __init__(
        self, estate: Estate, heir: Heir, wire: Wire, log: Logger, *, start_s: float, linger_s: float
    ) -> None:
        """Prepare; `start_s` is the successor's time to be ready, `linger_s` that of what cannot move."""
        self.serving = False  # the successor is
        self._cancelled = False
        self._estate = estate
        self._heir = heir
        self._log = log
        self._start_s = start_s
        self._linger_s = linger_s
        self._talk = Conversation(wire)
        self._handing = Handing(estate, self._talk, Mirroring(estate, self._talk), log)

    def run(self) -> bool:
        """Hand everything over; False when this process goes on as before. Blocks, for long if much stays."""
        began = monotonic()
        self._talk.listen()
        try:
            moves = self._agree()
            self._pause()
            if moves:
                self._introduce_elders()
                self._hand_over_all()
            self._let_serve(moves)
        except (WireLost, Refused, OSError) as exc:
            self._roll_back(str(exc))
        except Exception:  # noqa: BLE001 - a bug of ours must cost this attempt only
            self._log.exception("succession failed")
            self._roll_back("internal error")
        else:
            self._log.info(
                "succession: process %d serves, after %d ms", self._heir.pid, 1000 * (monotonic() - began)
            )
            self._stay()
        finally:
            self._talk.close()
        return self.serving

    def cancel(self, reason: str) -> None:
        """Give up at the next step, unless the successor serves already. Never blocks."""
        self._cancelled = True
        self._talk.give_up(reason)

    # --- the steps --------------------------------------------------------------------------------

    def _agree(self) -> bool:
        """Wait until the successor is ready; tell whether it can take sessions over."""
        estate = self._estate
        doors = [(door.bound_to, door.descriptor) for door in estate.doors if door.descriptor is not None]
        hello = {
            "kind": "hello",
            "schema": schema.SCHEMA,
            "clock": schema.clock_identity(),
            "agreed": estate.agreed,
            "pid": os.getpid(),
            "listeners": [*(one.bound_to for one in estate.listeners), *(place for place, _ in doors)],
            "login_secret": estate.login_secret,  # with it sessions that have logged in may stay
        }
        began = monotonic()
        sockets = [listener.socket.fileno() for listener in estate.listeners]
        self._talk.say(hello, sockets + [descriptor for _, descriptor in doors])
        ready = self._talk.answer(self._start_s, "ready")
        obstacle = str(ready.get("obstacle", "it does not tell whether it can"))
        self._log.info(
            "succession: process %d is ready after %d ms", self._heir.pid, 1000 * (monotonic() - began)
        )
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
        for door in self._estate.doors:  # first, while streams do not wait yet
            door.pause()
        self._estate.parts.hold.close()
        for listener in self._estate.listeners:
            listener.pause()
        gevent.sleep(0)  # what was accepted before has a session after this turn of the loop

    def _introduce_elders(self) -> None:
        """Give the successor a wire to each process before this one, where sessions are left."""
        for elder in self._estate.elders:
            end, other = gsocket.socketpair(gsocket.AF_UNIX)
            with end, other:
                self._talk.say({"kind": "elder", "pid": elder.pid}, [other.fileno()])
                elder.meet_heir(end.fileno())

    def _hand_over_all(self) -> None:
        began = monotonic()
        slices = self._handing.plan()
        for number, part in enumerate(slices, 1):
            try:
                self._handing.hand_over(number, len(slices), part)
            except Refused as exc:
                if not self._handing.committed:
                    raise
                # Ending the successor would end what it serves already.
                self._log.error("succession: slice %d stays here: %s", number, exc)
        self._log.info(
            "succession: %d sessions handed over in %d ms",
            self._handing.committed,
            1000 * (monotonic() - began),
        )

    def _let_serve(self, moves: bool) -> None:
        """Let the successor accept and answer; from then on it is the server."""
        estate = self._estate
        handshakes = sum(len(listener.greenlets) for listener in estate.listeners)  # each may take a number
        number = next(estate.parts.numbers) + handshakes
        closed = estate.gate.blocks()
        self._talk.say({"kind": "slots", "addresses": dict(addresses_of(estate))})
        away = estate.turned_away.left(monotonic())
        serve = {"kind": "serve", "moves": moves, "number": number, "blocks": closed, "turned_away": away}
        if estate.past is not None:
            serve["past"] = estate.past.snapshot()
        if estate.made is not None:
            serve["made"] = estate.made.numbers()
        self._talk.say(serve)
        self._talk.answer(max(STEP_S, self._start_s / 2), "serving")
        self.serving = self._handing.serving = True
        for listener in estate.listeners:
            listener.close()
        for door in estate.doors:
            door.retire()
        if moves and estate.commands is not None:
            gevent.spawn(estate.commands.stop)
        self._remainder = Remainder(estate, self._handing, self._log, moves=moves)
        if moves:
            kept = published_here(estate)
            for elder in estate.elders:
                elder.turn_to_heir(kept)
            self._remainder.follow()

    def _stay(self) -> None:
        """Serve what is left; the top of a greenlet."""
        try:
            self._remainder.run(self._linger_s)
        except Exception:  # noqa: BLE001 - a bug of ours: better an end in good order than none
            self._log.exception("what is left of a succession failed")

    # --- back -------------------------------------------------------------------------------------

    def _roll_back(self, reason: str) -> None:
        """Go on as before."""
        code = None if self._cancelled or self._talk.goes_on else self._heir.ended_with(END_S)
        if code is not None:  # by itself: what a broken wire says is a consequence
            how = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
            reason = f"the successor {how}, see above"
        began = monotonic()
        self._heir.kill()  # first: it has our sockets
        taken_back = self._handing.take_back()
        self._handing.mirroring.lost()
        self._estate.parts.hold.open()
        for listener in self._estate.listeners:
            listener.resume()
        for door in self._estate.doors:
            door.resume()
        here = sum(len(listener.sessions) for listener in self._estate.listeners) + taken_back
        if self._cancelled:  # on purpose: nothing goes on
            self._log.info(
                "succession given up: %s. %d sessions are here, %d ended with the successor",
                reason, here, self._handing.committed,
            )  # fmt: skip
        else:
            self._log.error(
                "succession failed: %s. This process goes on with %d sessions; "
                "%d were lost with the successor",
                reason, here, self._handing.committed,
            )  # fmt: skip
        self._log.info(
            "succession: process %d was ended in %d ms", self._heir.pid, 1000 * (monotonic() - began)
        )
