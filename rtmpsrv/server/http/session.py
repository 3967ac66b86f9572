"""One connection of HTTP, from its first byte to its last, or until it moves to another process.

Beside `server.session`, which speaks RTMP: a `Peer` to the same host, served by the same listeners' code. One
greenlet each, that of `run`; a stream that a handler makes has another one, which reads. Nobody else closes
the socket; others shut it down and let the session unwind.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NoReturn

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from ...errors import PeerLost
from ...log import Logger
from ..base_session import BaseSession
from ..ending import Dismissed, Ended, Moved
from ..outlet import Outlet
from ..parts import ServerParts
from ..session_state import NEVER
from ..transport import Transport
from . import conversation, telling
from .errand import Errand
from .frames import GOING_AWAY, NORMAL, REFUSED, Broken
from .head import BadRequest
from .hearing import Hearing
from .holding import Holding
from .reader import HttpReader
from .reply import Answered
from .site import Viewing
from .state import FLV, WS_FLV, HttpState

LINGER_S: Final = 1.0  # for an answer to reach a peer before its socket is closed
WRITE_AHEAD_BYTES: Final = 256 * 1024  # that wait for the socket before a handler does
ANSWER_S: Final = 120.0  # for a peer to take an answer that is no stream
LOOK_S: Final = 5.0


class HttpSession(BaseSession[HttpState]):
    """Owner of one socket; a `Peer` to its host. Others call it from their greenlets where it says so."""

    _reader: HttpReader

    def __init__(self, state: HttpState, transport: Transport, parts: ServerParts, log: Logger) -> None:
        """Begin, or go on with a state that another session's `freeze` returned."""
        assert parts.site is not None, "there is something to be seen"
        super().__init__(state, transport, log)
        self.own = state.own
        self.left = Event()
        self._site = parts.site
        self._parts = parts
        self.errand = Errand(state, self.left, lambda: self._moved)
        self._signal: Event | None = None  # ends a wait
        self._answer_until = NEVER
        self.outlet = Outlet(transport, self, parts.budget, parts.settings.stall_s, state.outlet)
        self._holding = Holding(self, state, self.outlet, parts.site, parts)
        self._reader = HttpReader(self, state, transport, self.outlet, parts)
        self._hearing = Hearing(self, state, self.outlet, self._reader)

    def run(self) -> None:
        """Serve the connection to its end, whatever happens; then close the socket. Blocks, never raises."""
        reason = "connection lost"
        try:
            if self._moved:  # before it began
                raise Moved
            self._greenlet = gevent.getcurrent()
            self._holding.resume(self._hearing.sink or self.outlet)
            self.outlet.kick()
            self._serve()
        except Ended as exc:
            reason = self._cause(str(exc))
            self._say_goodbye(reason)
        except PeerLost as exc:
            reason = self._cause(str(exc))
        except Broken as exc:
            reason = self._cause(str(exc))
            self._say_goodbye(reason, exc.code)
        except Moved:
            pass
        except Dismissed:
            reason = self._cause("dismissed")
            self._say_goodbye(reason, REFUSED)
        except gevent.GreenletExit:
            reason = "server is shutting down"
        except Exception:  # a bug of ours must cost this connection only
            self.log.exception("session failed")
            reason = "internal error"
        finally:
            self._finish(reason)

    def announce(self) -> None:
        """Say that somebody is there."""
        self.log.debug("Connection accepted from %s", self.client.ip)

    def view(self, channel: str, query: str) -> Viewing:
        """See `Request.admit`."""
        return self._holding.view(channel, query)

    def play(self, channel: str, query: str, head: Callable[[], None], *, waits: bool) -> NoReturn:
        """See `request.Asker`."""
        sink = self._hearing.sink
        self._holding.play(channel, query, sink or self.outlet, waits=waits)
        head()
        self._holding.start(FLV if sink is None else WS_FLV)
        self.errand.end()
        self._hearing.hear()

    def put(self, data: bytes, head: bytes = b"") -> None:
        """Send bytes, and a head before them; blocks while too many wait. Raises PeerLost."""
        outlet = self.outlet
        for at in range(0, len(data), WRITE_AHEAD_BYTES):
            if at:  # so do many others, perhaps
                self._site.stagger.wait()
            outlet.reply(data[at : at + WRITE_AHEAD_BYTES], head=b"" if at else head)
            if outlet.waiting_bytes > WRITE_AHEAD_BYTES:
                self._await_taken()
            if outlet.failure is not None:
                raise PeerLost(outlet.failure)

    def converse(self, heard: Callable[[str], None]) -> None:
        """Hear a WebSocket from now on; `heard` gets the texts that come, and must not block."""
        self._hearing.converse(heard, monotonic() + self._parts.settings.ping_s)

    def listen(self) -> None:
        """Hear the viewer in a greenlet of its own from now on. Idempotent, never blocks."""
        self._hearing.begin()

    def say_goodbye(self, code: int, why: str) -> None:
        """End a WebSocket, if it is one. Idempotent, never blocks."""
        self._hearing.say_goodbye(code, why)

    def viewer_left(self, reason: str) -> None:
        """Take note that the viewer of a handler's stream is gone, or has to be. Never blocks."""
        self._drop_reason = self._drop_reason or reason
        self.left.set()

    # --- from other greenlets -----------------------------------------------------------------------

    def dismiss(self, reason: str) -> None:
        """End the connection; a WebSocket is told why first. Never blocks."""
        if self._drop_reason is not None:
            return
        if self._greenlet is None:
            self.drop(reason)  # it has not begun
        else:
            self._drop_reason = reason  # nobody is woken: a handler would take it for a viewer that left
            gevent.get_hub().loop.run_callback(self._throw_out)

    def drop_gently(self, reason: str) -> None:
        """End the connection when everything that waits for the peer was written. Never blocks."""
        if self._drop_reason is None:
            self._drop_reason = reason
            self._interrupt()
            self._hearing.say_goodbye(GOING_AWAY, reason)
            self.outlet.end_when_empty()

    def refuse_play(self, code: str, description: str) -> None:
        """Tell a viewer that waits that it may not watch after all, and close. Never blocks."""
        if self._moved or self._over:
            return  # it is another session's player now, or nobody's
        if self._holding.viewing is not None:
            self.errand.refuse(code, description)
        else:
            self._hearing.say_goodbye(REFUSED, description)
            self.drop_gently(f"play refused: {description}")

    def end_publication(self, reason: str) -> None:
        """Nobody publishes by HTTP."""

    def sound(self) -> bool:
        return False  # nothing draws an answer

    @property
    def role(self) -> str:
        """What it does, in a word: player; empty for nothing (any more)."""
        return "player" if self.granted else ""

    @property
    def granted(self) -> list[Any]:
        """What it was granted by the host, and has not ended."""
        return [] if self._over else self._holding.all

    def traffic(self) -> tuple[int, int]:
        """Return how many bytes were received and sent so far. Not when it is over. Never blocks."""
        feed = self.outlet.feed
        uncounted = feed.uncounted_bytes if feed is not None else 0
        return self._state.bytes_in, self.outlet.bytes_out + uncounted

    @property
    def is_bound(self) -> bool:  # on TLS, or while a handler makes its stream
        return not self._transport.can_move or self._holding.viewing is not None

    @property
    def is_held(self) -> bool:
        return self._signal is not None

    def play_at_once(self) -> bool:
        if (signal := self._signal) is not None:
            signal.set()
        return signal is not None

    def travel(self, wait: Callable[[], object]) -> None:
        """Let somebody freeze it with its request, which has no answer yet, while `wait` blocks."""
        self.errand.travel(wait)

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know; no keys, no queries."""
        return telling.description(self._state, self.role, self.traffic(), self.outlet.waiting_bytes)

    # --- requests -----------------------------------------------------------------------------------

    def _serve(self) -> NoReturn:
        if self._state.form:
            self._hearing.hear()
        hold = self._parts.hold
        keeps = True
        while keeps:
            try:
                count = self._next_head()
                if hold.closed:  # a session that is frozen meanwhile takes the request along, unread
                    self._signal = signal = Event()
                    hold.wait(signal)
                    self._signal = None
                self._answer_until = monotonic() + ANSWER_S
                keeps = conversation.answer(self, self._site, self.errand.begin(self._reader.take(count)))
            except BadRequest as exc:
                conversation.refuse(self, self._site, exc)
                raise Ended(f"bad request: {exc}") from exc
            except Answered:
                keeps = False
            self._holding.end("answered")
            self.errand.end()
            self._reader.expect_another()
        self._await_taken()
        raise Ended("answered")

    def _next_head(self) -> int:
        """See `HttpReader.head`. Who has closed only its own side gets what it asked for before."""
        try:
            return self._reader.head()
        except PeerLost:
            self._await_taken()
            raise

    def _await_taken(self) -> None:
        """Block until nothing waits for the peer. The outlet gives up who takes nothing, this who dawdles."""
        outlet = self.outlet
        while outlet.waiting_bytes and outlet.failure is None:
            if not self._holding.viewing and monotonic() >= self._answer_until:
                outlet.fail(f"did not take an answer within {ANSWER_S:g} s")
            else:
                outlet.drain(LOOK_S)

    # --- for `BaseSession` --------------------------------------------------------------------------

    def _interrupt(self) -> None:
        self.left.set()
        self._holding.interrupt()
        if self._signal is not None:
            self._signal.set()

    def _is_busy(self) -> bool:
        is_held = self._holding.viewing is not None
        return self.errand.is_under_way or is_held or not self._hearing.is_between

    def _freeze_granted(self) -> None:
        self._holding.freeze()

    # --- ends ---------------------------------------------------------------------------------------

    def _cause(self, seen: str) -> str:
        over = "the stream is over" if self.outlet.ending else seen
        return self._drop_reason or self.outlet.failure or over

    def _say_goodbye(self, reason: str, code: int = NORMAL) -> None:
        """Let the peer read what was written before the socket goes; a reset would discard it."""
        self._ending = True
        self._hearing.say_goodbye(code, reason)
        written = self.outlet.drain(LINGER_S) and self.outlet.failure is None
        self._holding.end(reason)
        if written:
            self._hearing.stop()
            self._transport.shutdown(gsocket.SHUT_WR)
            self._reader.throw_away(monotonic() + LINGER_S)

    def _finish(self, reason: str) -> None:
        """Undo everything, in the order in which others notice; then close the socket, and say so."""
        self._ending = True
        self._hearing.stop()
        if not self._moved:
            self._holding.end(reason)
        self.outlet.close()
        self._reader.close()
        self._holding.count_traffic(*self.traffic_here(), moved=self._moved)
        if self._moved:
            self._holding.give_slot_back()
        else:
            self._transport.close()
            telling.tell_end(self.log, self._state, self.outlet.bytes_out, reason)
        self._over = True
        self._drop_reason = self._drop_reason or "over"
        self.left.set()
        del self.outlet, self._reader, self._hearing, self._holding, self._greenlet
