"""Reading one connection: bytes in, media appended, requests handed on; deadlines of a silent peer.

A reader has two ways. In its own greenlet it reads, works through what came, turn by turn, and waits. That of
a publisher rests instead while only media comes, and the hub calls `take`: for bytes, or by a common timer.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import NoReturn

from ..errors import PeerLost
from ..protocol import events
from ..protocol.link import MESSAGES_PER_CALL
from ..protocol.state import Phase
from . import exchange_log
from .ending import Ended, throw_away
from .held import UNFINISHED, Owner
from .outlet import Outlet
from .parts import ServerParts
from .requests import Requests
from .session_state import SessionState
from .transport import Transport, lost
from .waiting import ReadWait

READ_BYTES = 65536  # most that one read takes
MOST_READS = 4  # of the hub, for one publisher: a keyframe may need more than one
# A wait that ends this late was delayed by this process itself (stopped, or busy). Peers were not silent
# meanwhile, nobody listened: the whole wait does not count.
LATE_S = 1.0
GONE = "closed by the peer"
ASK_EVERY_S = 1.0  # whether a slowed peer is still there
HELD_STEP_BYTES = 65536  # held bytes are counted each time that so much more has come


class Reader:
    """Reads one socket. Used by its session's greenlet, and by the hub while that rests."""

    __slots__ = (
        "_ask_at", "_connection", "_held_bytes", "_holder", "_left_over", "_look_at", "_outlet", "_parts",
        "_read", "_requests", "_share", "_state", "_stopped", "_transport", "_uncounted_bytes", "_units",
        "_wait",
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
        self._read = transport.read
        self._outlet = outlet
        self._requests = requests
        self._parts = parts
        self._share = parts.turns.share(state.account, self._has_left)
        self._wait = ReadWait(transport.fileno())
        self._units = state.connection.work  # of those that were spent: of messages, and of requests
        self._stopped = False
        state.connection.judged = [] if holder.log.isEnabledFor(logging.DEBUG) else None
        self._left_over: events.Event | Exception | None = None  # what `take` leaves to the greenlet
        self._ask_at = 0.0
        self._look_at = 0.0  # when the greenlet has to look at deadlines and pings
        self._held_bytes = 0  # as the process was told
        self._uncounted_bytes = 0  # read since then

    def serve(self) -> NoReturn:
        """Read until the connection is over: Ended, PeerLost or RemoteProtocolError tell how. Blocks."""
        state, connection, requests = self._state, self._connection, self._requests
        read, share = self._read, self._share
        self._work_off()  # what a session that moved has brought along
        while True:
            # First of all: bytes that are there are never overlooked, however late it is.
            try:
                data = read(READ_BYTES)
            except BlockingIOError:
                self._wait_for_bytes()
                continue
            except OSError as exc:
                raise lost(exc) from exc
            if not data:
                raise PeerLost(GONE)
            count = len(data)
            if not state.bytes_in:
                self._holder.announce()
            state.bytes_in += count
            state.heard_at = share.now
            connection.receive_data(data)
            if state.shaking_hands and connection.phase not in (Phase.C1, Phase.C2):
                state.shaking_hands = False
                requests.restart_setup()
                self._holder.log.debug("= handshake done")
            self._work_off()
            self._uncounted_bytes += count
            if self._held_bytes or self._uncounted_bytes >= HELD_STEP_BYTES:
                self._count_held()
            if (
                (publication := requests.publication) is not None
                and not publication.may_block
                and count < READ_BYTES
                and not self._transport.has_more
            ):
                self._rest()

    def take(self, now: float, reads: int = MOST_READS) -> bool:
        """Read for a publisher at rest; False when its greenlet has to go on. Never blocks or raises."""
        state = self._state
        if self._stopped:
            return False
        try:
            data = self._read(READ_BYTES)
        except BlockingIOError:
            return now < self._look_at and now < state.heard_at + self._parts.settings.idle_s
        except OSError as exc:
            self._left_over = lost(exc)
            return False
        if not data:
            self._left_over = PeerLost(GONE)
            return False
        try:
            count = len(data)
            state.bytes_in += count
            state.heard_at = now
            connection = self._connection
            run = connection.take_media(data)
            if run and (publication := self._requests.publication) is not None:
                publication.append(run)
            if connection.backlog and len(run) < MESSAGES_PER_CALL:
                self._left_over = self._next_event()
            if connection.outbox:
                self._requests.answer()
            self._uncounted_bytes += count
            if self._held_bytes or self._uncounted_bytes >= HELD_STEP_BYTES:
                self._count_held()
            units = connection.work + self._requests.units
            spent, self._units = units - self._units, units
            return not (
                self._share.account.spend(spent, now)
                or self._left_over is not None
                or connection.backlog
                or self._transport.has_more
                or self._outlet.failure is not None
                or now >= self._look_at
                or connection.judged
            ) and (count < READ_BYTES or (reads > 1 and self.take(now, reads - 1)))
        except Exception as exc:  # noqa: BLE001 - raised again by the greenlet that it belongs to
            self._left_over = exc
            return False

    def stop(self) -> None:
        """End `serve` soon, though bytes are left. From any greenlet; the caller must end its other waits."""
        self._stopped = True
        self._share.interrupt()

    def release(self) -> None:
        """Read no more, at once: the session moves. From another greenlet."""
        self._stopped = True
        self._parts.ingest.forget(self)
        self.close()

    def close(self) -> None:
        """Give everything back; before the socket is closed. Idempotent."""
        self._stopped = True
        self._wait.close()
        self._share.close()
        if self._held_bytes:
            self._held_bytes = 0
            self._parts.budget.hold(UNFINISHED, self._holder, 0)

    @property
    def is_busy(self) -> bool:
        """Tell whether it has taken a request from the connection that nobody has handled yet."""
        return self._left_over is not None

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
        throw_away(self._read, self._wait, self._share, until)

    # --- private ----------------------------------------------------------------------------------

    def _work_off(self) -> None:
        """Work through all that the connection has got; gives way when the turn is over."""
        connection, requests = self._connection, self._requests
        while True:
            event = self._next_event()
            if connection.judged:
                exchange_log.received(self._holder.log, connection.judged)
                connection.judged.clear()
            if event is not None:
                requests.handle(event)
            if connection.outbox:
                requests.answer()
            if self._outlet.failure is not None:
                raise PeerLost(self._outlet.failure)
            units = connection.work + requests.units
            spent, self._units = units - self._units, units
            self._share.spend(spent)
            if self._stopped:
                raise Ended("stopped")
            if event is None and not connection.backlog:
                return

    def _next_event(self) -> events.Event | None:
        """Append media up to the next event and return that; None when there is none for now."""
        requests = self._requests
        for event in self._connection.events():
            if isinstance(event, list):
                publication = requests.publication
                if publication is not None:
                    publication.append(event)
            else:
                return event
        return None

    def _rest(self) -> None:
        """Let the hub read, until there is something that it leaves to this greenlet."""
        state, ingest, idle_s = self._state, self._parts.ingest, self._parts.settings.idle_s
        self._look_at = min(state.deadline, state.next_ping)
        goes_on = True
        while goes_on:
            if ingest.rest_s and state.account.has_saved(monotonic()):
                goes_on = ingest.rest(self)
            else:
                goes_on = self._wait.watch(self._readable, min(self._look_at, state.heard_at + idle_s))
        now = monotonic()
        self._share.rested(now)
        if now - min(self._look_at, state.heard_at + idle_s) > LATE_S:
            state.heard_at = now
        left_over = self._left_over
        if isinstance(left_over, Exception):
            self._left_over = None
            try:
                raise left_over
            finally:
                del left_over  # it would keep itself, and all that its frames know, for the collector
        self._share.spend(0)  # what the hub has overspent is waited for first
        if self._stopped:
            raise Ended("stopped")
        if left_over is not None:
            self._left_over = None
            self._requests.handle(left_over)
        self._work_off()
        if self._uncounted_bytes >= HELD_STEP_BYTES:
            self._count_held()

    def _readable(self) -> None:
        """Run in the hub: take. Whoever sends all it may reads for itself, so that others need not wait."""
        now = monotonic()
        if not self.take(now):
            self._wait.wake(False)
        elif self._parts.ingest.rest_s and self._state.account.has_saved(now):
            self._wait.wake(True)

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

    def _count_held(self) -> None:
        """Let the process count what the peer makes us hold: unfinished messages, mostly."""
        self._uncounted_bytes = 0
        held = self._connection.held_bytes
        if held < HELD_STEP_BYTES:
            held = 0
        if held != self._held_bytes:
            self._held_bytes = held
            self._parts.budget.hold(UNFINISHED, self._holder, held)
