"""The one writer of a connection's socket: answers, and what a player is sent. Its methods never block.

Everything is written at once while the socket takes it, for a turn at most. What is left then is written by a
greenlet of the outlet's own; until that is done nobody else writes. Answers go out between messages, never
inside one. Whatever goes wrong in here costs this connection only: nothing is raised to a caller, who may be
the publisher of a thousand players.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from os import sendfile
from time import monotonic

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from .feed import Feed
from .held import ANSWERS, Held, Holder
from .transport import Transport, lost
from .turns import TURN_REST_S, TURN_S

# That wait for one peer; a start with the largest headers and metadata takes 2.5 MiB.
MAX_ANSWER_BYTES = 4 << 20
MAX_COURTESY_BYTES = 1024  # acknowledgements and the like that wait: some encoders never read
SMALL_BYTES = 1024  # of answers that are taken along by the one behind them
MAX_TOGETHER = 16  # pieces in one call of the system
UNREAD_BYTES = 1 << 16  # of answers that a peer may leave unread for ever, if it plays nothing


class Progress(Enum):
    """How an attempt to write ended."""

    DONE = "nothing left"
    FULL = "the socket is full"
    TURN_OVER = "others want to run"


@dataclass(slots=True)
class OutletState:
    """What an outlet has to do yet, and what it has done. Plain and picklable."""

    bytes_out: int = 0  # excluding what the fast lane has not credited yet
    pending: list[bytes] = field(default_factory=list, repr=False)  # goes before anything else
    answers: list[bytes] = field(default_factory=list, repr=False)
    coalescing: bool = False
    ending: bool = False  # shut the socket down when everything is written


class Outlet:
    """Writes one socket. Owned by a session, which alone closes the socket after `close`."""

    def __init__(
        self,
        transport: Transport,
        holder: Holder,
        budget: Held,
        stall_s: float,
        state: OutletState | None = None,
    ) -> None:
        """Begin, or go on where another outlet's `freeze` stopped: `kick` then writes what is left."""
        state = state or OutletState()
        self.feed: Feed | None = None
        self.bytes_out = state.bytes_out
        self.media_bytes = 0  # of those, media that the socket took when it was offered
        self.failure: str | None = None  # why nothing more is written
        self.stalled = False  # because a player took nothing
        self._transport = transport
        self._write, self._write_together = transport.write, transport.write_together
        self._fd = transport.fileno()
        self.socket = self._fd if transport.can_sendfile else None  # descriptor for the fast lane
        self._holder = holder
        self._budget = budget
        self._stall_s = stall_s
        self._pending: deque[bytes | memoryview] = deque(state.pending)
        self._answers: deque[bytes] = deque(state.answers)
        self._pending_bytes = sum(map(len, state.pending))
        self._answer_bytes = sum(map(len, state.answers))
        self._reported_bytes = 0  # of both, to the budget
        self._writing = False  # somebody is in `_pump`
        self._coalescing = state.coalescing
        self.ending = state.ending  # when everything is written
        self._greenlet: gevent.Greenlet[[Progress], None] | None = None  # writes what was left
        self._emptied: Event | None = None
        self._report()

    # --- the sink of a player ---------------------------------------------------------------------

    def credit(self, count: int) -> None:
        """Take note that the fast lane has written so many bytes."""
        self.bytes_out += count
        self.media_bytes += count

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Send from a log file; returns less than `count` when the socket is full, 0 when it is dead."""
        if self._pending or self.failure is not None:
            return 0
        try:
            sent = sendfile(self._fd, fd, offset, count)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._fail_write(exc)
            return 0
        self.bytes_out += sent
        self.media_bytes += sent
        return sent

    def offer(self, data: bytes) -> bool:
        """Send a copy of media; what the socket refuses is kept. False when something is kept, or dead."""
        if self.failure is not None:
            return False
        if self._pending:
            self._keep(data)
            return False
        try:
            sent = self._write(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._fail_write(exc)
            return False
        except Exception:  # as in `kick`
            self._holder.log.exception("writing failed")
            self.fail("internal error")
            return False
        self.bytes_out += sent
        self.media_bytes += sent
        if sent == len(data):
            return True
        self._keep(memoryview(data)[sent:])
        return False

    def reply(self, data: bytes, owed: bool = True, head: bytes = b"") -> None:
        """Send an answer at the next message boundary; what is not `owed` is left out where others wait.

        A `head` goes before it.
        """
        if not data or self.failure is not None:
            return
        waiting = self._answer_bytes + len(head) + len(data)
        if not owed and waiting > MAX_COURTESY_BYTES:
            return
        if waiting > MAX_ANSWER_BYTES:
            self.fail(f"{waiting} bytes of answers not read, limit {MAX_ANSWER_BYTES}")
            return
        self._answers += (head, data) if head else (data,)
        self._answer_bytes = waiting
        self.kick()
        self._report()

    def kick(self) -> None:
        """Write what there is, for a turn; leaves the rest to the greenlet."""
        if self._greenlet is not None or self._writing or self.failure is not None:
            return
        try:
            progress = self._pump()
            if progress is not Progress.DONE and self.failure is None:
                self._greenlet = gevent.spawn(self._write_on, progress)
                if self.feed is not None:
                    self.feed.fall_behind()
        except Exception:  # a bug of ours must cost this connection only
            self._holder.log.exception("writing failed")
            self.fail("internal error")

    def coalesce(self) -> None:
        """Let the kernel join small writes from now on; nothing is in a hurry any more."""
        if not self._coalescing:
            self._coalescing = True
            self._transport.coalesce()

    # --- the session ------------------------------------------------------------------------------

    @property
    def waiting_bytes(self) -> int:
        """Answers, and copies of media, that the socket has not taken yet."""
        return self._pending_bytes + self._answer_bytes

    def fail(self, reason: str) -> None:
        """Write nothing more, hold nothing, and wake the session's reader. The first reason counts."""
        if self.failure is None:
            self._stop(reason)
            self._transport.shutdown()

    def end_when_empty(self) -> None:
        """Shut the socket down as soon as what waits was written. Never blocks."""
        self.ending = True
        self.kick()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything was written; False when it took longer. Blocks up to `timeout_s`."""
        if self._greenlet is None:
            return True
        self._emptied = emptied = Event()
        return emptied.wait(timeout_s)

    def freeze(self) -> OutletState:
        """Stop without a word to the peer and return what is left to do. The outlet is dead then."""
        state = OutletState(
            self.bytes_out,
            [bytes(data) for data in self._pending],
            list(self._answers),
            self._coalescing,
            self.ending,
        )
        self._stop("moved")
        if self._greenlet is not None:
            gevent.kill(self._greenlet)
        return state

    def close(self) -> None:
        """Stop writing; ends the greenlet. The session closes the socket afterwards. Idempotent."""
        if self.failure is None:
            self._stop("closed")
        if self._greenlet is not None:
            self._greenlet.kill()

    # --- private ----------------------------------------------------------------------------------

    def _stop(self, reason: str) -> None:
        self.failure = reason
        self._pending.clear()
        self._answers.clear()
        self._pending_bytes = self._answer_bytes = 0
        self.feed = None
        self._report()
        self._tell_emptied()

    def _fail_write(self, error: OSError) -> None:
        self.fail(str(lost(error)))

    def _keep(self, data: bytes | memoryview) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._report()

    def _report(self) -> None:
        """Let the process count what waits."""
        waiting = self._pending_bytes + self._answer_bytes
        if waiting != self._reported_bytes:
            self._reported_bytes = waiting
            self._budget.hold(ANSWERS, self._holder, waiting)

    def _tell_emptied(self) -> None:
        if self._emptied is not None:
            self._emptied.set()
            self._emptied = None

    def _pump(self) -> Progress:
        """Write until there is nothing left, the socket is full, or the turn is over."""
        pending, answers = self._pending, self._answers
        until = monotonic() + TURN_S
        self._writing = True
        try:
            while self.failure is None:
                if pending:
                    if not self._write_pending():
                        return Progress.FULL
                else:
                    feed = self.feed
                    if answers and (feed is None or feed.at_boundary):
                        self._begin_answers()
                        continue
                    moved = feed.step(bool(answers)) if feed is not None else None
                    if moved is False:
                        return Progress.FULL
                    if moved is None and not answers and not pending:
                        break
                if monotonic() >= until:
                    return Progress.TURN_OVER
        finally:
            self._writing = False
        if self.ending:
            self._transport.shutdown()
        return Progress.DONE

    def _begin_answers(self) -> None:
        """Begin the first one; behind small ones, one more."""
        while self._answers and self._pending_bytes < SMALL_BYTES:
            data = self._answers.popleft()
            self._answer_bytes -= len(data)
            self._pending_bytes += len(data)
            self._pending.append(data)

    def _write_pending(self) -> bool:
        """Write what waits, some pieces at a time; False when the socket took only part of it, or none."""
        pending = self._pending
        count = min(len(pending), MAX_TOGETHER)
        try:
            sent = self._write(pending[0]) if count == 1 else self._write_together([*islice(pending, count)])
        except BlockingIOError:
            return False
        except OSError as exc:
            self._fail_write(exc)
            return True
        self.bytes_out += sent
        self._pending_bytes -= sent
        for _ in range(count):
            data = pending[0]
            if sent < len(data):
                pending[0] = memoryview(data)[sent:]  # shares its bytes with others: a view, no copy
                return False
            sent -= len(data)
            pending.popleft()
        return True

    def _write_on(self, progress: Progress) -> None:
        """The greenlet: finish what a kick could not. A player that takes nothing for long is given up."""
        try:
            while progress is not Progress.DONE and self.failure is None:
                self._report()
                if progress is Progress.TURN_OVER:
                    gevent.sleep(TURN_REST_S)
                    progress = self._pump()
                else:
                    progress = self._pump_when_writable()
        except Exception:  # a bug of ours must cost this connection only
            self._holder.log.exception("writing failed")
            self.fail("internal error")
        self._greenlet = None
        self._report()
        self._tell_emptied()

    def _pump_when_writable(self) -> Progress:
        """Wait for the socket, then write. Blocks."""
        try:
            gsocket.wait_write(self._fd, timeout=self._stall_s)
        except gsocket.timeout:
            # This process may have been the one that did nothing: look once more.
            taken = self.bytes_out
            progress = self._pump()
            # Who only publishes may leave unread what it hardly asked for.
            counts = self.feed is not None or self.ending or self.waiting_bytes > UNREAD_BYTES
            if counts and progress is Progress.FULL and self.bytes_out == taken:
                self.stalled = self.feed is not None
                self.fail(f"took nothing for {self._stall_s:g} s")
            return progress
        return self._pump()
