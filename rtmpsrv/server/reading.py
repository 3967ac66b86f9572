"""Reading one connection: requests handed on, turns, rests; deadlines of a silent peer.

A reader has two ways. In its own greenlet it reads, works through what came, turn by turn, and waits. That of
a publisher rests instead while only media comes, that of a player while it only acknowledges, and the hub
takes this in: for bytes, or, from publishers, by a common timer.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import NoReturn

from ..errors import PeerLost
from ..protocol import events
from ..protocol.state import Phase
from . import exchange_log
from .ending import Ended, throw_away
from .held import Owner
from .intake import READ_BYTES, Intake
from .outlet import Outlet
from .parts import ServerParts
from .requests import Requests
from .session_state import SessionState
from .transport import Transport
from .waiting import ReadWait

# A wait that ends this late was delayed by this process itself (stopped, or busy). Peers were not silent
# meanwhile, nobody listened: the whole wait does not count.
LATE_S = 1.0
ASK_EVERY_S = 1.0  # whether a slowed peer is still there


class Reader:
    """Reads one socket. Used by its session's greenlet, and by the hub while that rests."""

    __slots__ = (
        "_ask_at", "_connection", "_holder", "_intake", "_outlet", "_parts", "_requests", "_share", "_state",
        "_transport", "_wait",
    )  # fmt: skip

    def __init__(
        self,
        holder: Owner,
        state: SessionState,
        transport: Transport,
        outlet: Outlet,
        requests: Requests,
        parts: ServerParts,
    ) -> None:
        self._holder = holder
        self._state = state
        self._connection = state.connection
        self._transport = transport
        self._outlet = outlet
        self._requests = requests
        self._parts = parts
        self._share = parts.turns.share(state.account, self._has_left)
        self._wait = ReadWait(transport.fileno())
        self._intake = Intake(holder, state, transport, outlet, requests, parts, self._wait.wake)
        state.connection.judged = [] if holder.log.isEnabledFor(logging.DEBUG) else None
        self._ask_at = 0.0

    def serve(self) -> NoReturn:
        """Read until the connection is over: Ended, PeerLost or RemoteProtocolError tell how. Blocks."""
        state, connection, requests = self._state, self._connection, self._requests
        intake, share = self._intake, self._share
        self._work_off()  # what a session that moved has brought along
        while True:
            # First of all: bytes that are there are never overlooked, however late it is.
            try:
                data = intake.read(share.now)
            except BlockingIOError:
                self._wait_for_bytes()
                continue
            count = len(data)
            if state.bytes_in == count:
                self._holder.announce()
            connection.receive_data(data)
            if state.shaking_hands and connection.phase not in (Phase.C1, Phase.C2):
                state.shaking_hands = False
                requests.restart_setup()
                self._holder.log.debug("= handshake done")
            self._work_off()
            intake.count_held(count)
            if count < READ_BYTES and not self._transport.has_more and self._may_rest():
                self._rest()

    def stop(self) -> None:
        """End `serve` soon, though bytes are left. From any greenlet; the caller must end its other waits."""
        self._intake.stop()
        self._share.interrupt()

    def release(self) -> None:
        """Read no more, at once: the session moves. From another greenlet."""
        self._parts.ingest.forget(self._intake)
        self.close()

    def close(self) -> None:
        """Give everything back; before the socket is closed. Idempotent."""
        self._wait.close()
        self._share.close()
        self._intake.close()

    @property
    def is_busy(self) -> bool:
        """Tell whether it has taken a request from the connection that nobody has handled yet."""
        return self._intake.has_left_over

    @property
    def is_behind(self) -> bool:
        """Tell whether the peer has sent what was not looked at yet, so that its end may be hidden."""
        return self._connection.backlog or self._transport.has_unread()

    def ping(self) -> None:
        """Ask the peer, who is connected, for an answer. Never blocks."""
        self._requests.send(events.Ping(int((monotonic() - self._state.connected_at) * 1000)))
        self._requests.answer()

    def throw_away(self, until: float) -> None:
        """See `ending.throw_away`. Blocks up to a monotonic time."""
        throw_away(self._transport.read, self._wait, self._share, until)

    # --- private ----------------------------------------------------------------------------------

    def _work_off(self) -> None:
        """Work through all that the connection has got; gives way when the turn is over."""
        connection, requests, intake = self._connection, self._requests, self._intake
        while True:
            event = intake.next_event()
            if connection.judged:
                exchange_log.received(self._holder.log, connection.judged)
                connection.judged.clear()
            if event is not None:
                requests.handle(event)
            if connection.outbox:
                requests.answer()
            if self._outlet.failure is not None:
                raise PeerLost(self._outlet.failure)
            self._share.spend(intake.spent())
            if intake.stopped:
                raise Ended("stopped")
            if event is None and not connection.backlog:
                return

    def _may_rest(self) -> bool:
        """Tell whether the hub may read: media for a host that does not block, or hardly anything."""
        publication = self._requests.publication
        if publication is None:
            return self._requests.playback is not None
        return not publication.may_block

    def _rest(self) -> None:
        """Let the hub read, until there is something that it leaves to this greenlet."""
        state, requests, intake = self._state, self._requests, self._intake
        ingest, idle_s = self._parts.ingest, self._parts.settings.idle_s
        look_at = min(state.deadline, state.next_ping)
        intake.rest_until(look_at)
        goes_on = True
        while goes_on:
            if ingest.rest_s and requests.publication is not None and state.account.has_saved(monotonic()):
                goes_on = ingest.rest(intake)
            else:
                goes_on = self._wait.watch(intake.readable, min(look_at, state.heard_at + idle_s))
        now = monotonic()
        self._share.rested(now)
        if now - min(look_at, state.heard_at + idle_s) > LATE_S:
            state.heard_at = now
        intake.raise_failure()
        self._share.spend(0)  # what the hub has overspent is waited for first
        if intake.stopped:
            raise Ended("stopped")
        if (request := intake.request()) is not None:
            requests.handle(request)
        self._work_off()
        intake.count_held(0)

    def _has_left(self) -> bool:
        """Look for a peer that is slowed, and ask it from time to time: its end is behind unread bytes."""
        now = monotonic()
        if now >= self._ask_at and self._connection.phase is Phase.CONNECTED:
            self._ask_at = now + ASK_EVERY_S
            self.ping()
        return self._transport.has_left()

    def _wait_for_bytes(self) -> None:
        """Wait until there is something to read, or something else to do. Raises Ended at a deadline."""
        state, settings = self._state, self._parts.settings
        began = self._share.now
        until = min(state.heard_at + settings.idle_s, state.deadline, state.next_ping)
        if began >= until:
            self._keep_time(began)
            until = min(state.heard_at + settings.idle_s, state.deadline, state.next_ping)
        self._wait.wait(until)
        now = monotonic()
        if now - until > LATE_S:
            state.heard_at += now - began
            state.deadline += now - began
        self._share.rested(now)

    def _keep_time(self, now: float) -> None:
        """Send a ping that is due; raise Ended when a deadline has passed. Nothing is left to read."""
        state, settings = self._state, self._parts.settings
        if now >= state.next_ping:
            state.next_ping = now + settings.ping_s
            self.ping()
        if now >= state.heard_at + settings.idle_s and not self._takes(now):
            raise Ended(f"sent nothing for {settings.idle_s:g} s")
        if now >= state.deadline:
            if state.shaking_hands:
                raise Ended(f"no handshake within {settings.handshake_s:g} s")
            raise Ended(f"neither publish nor play within {settings.setup_s:g} s")

    def _takes(self, now: float) -> bool:
        """Tell whether a player that says nothing took some of its stream since the last look."""
        state, playback = self._state, self._requests.playback
        if playback is None:
            return False
        # Not what it was told: a ping that goes into the buffer of a dead connection is no sign of life.
        taken = self._outlet.media_bytes + playback.feed.uncounted_bytes
        if taken == state.taken_bytes:
            return False
        state.taken_bytes = taken
        state.heard_at = now
        return True
