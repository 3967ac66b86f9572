"""Reading one connection of HTTP, with deadlines: heads of requests, and what a viewer says."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, NoReturn

from ...errors import PeerLost
from ..ending import THROWN_UNITS, Ended, throw_away
from ..held import UNFINISHED, Owner
from ..outlet import Outlet
from ..parts import ServerParts
from ..session_state import NEVER
from ..transport import Transport, lost
from ..waiting import ReadWait
from .frames import PING, frame
from .head import END, MAX_HEAD_BYTES, BadRequest
from .state import HttpState

READ_BYTES: Final = 16384
KEEP_ALIVE_S: Final = 30.0  # between two requests
REQUEST_UNITS: Final = 25  # of work
FRAMES_UNITS: Final = 200  # for some frames of a viewer
MAX_THROWN_BYTES: Final = 65536  # of a viewer who has nothing to say, and does
LATE_S: Final = 1.0  # a wait that ends this late was delayed by this process itself
HELD_STEP_BYTES: Final = 4096  # what is less belongs to what any connection costs
COPIES: Final = 2  # of a head: its bytes, and its fields as texts
GONE: Final = "closed by the peer"


class HttpReader:
    """Reads one socket. One greenlet at a time."""

    __slots__ = (
        "_answered_bytes", "_held", "_holder", "_is_drained", "_outlet", "_parts", "_places", "_share",
        "_stagger", "_state", "_stopped", "_transport", "_wait",
    )  # fmt: skip

    def __init__(
        self, holder: Owner, state: HttpState, transport: Transport, outlet: Outlet, parts: ServerParts
    ) -> None:
        self._holder = holder
        self._state = state
        self._outlet = outlet
        self._parts = parts
        assert parts.site is not None, "there is something to be seen"
        self._places = parts.site.places
        self._stagger = parts.site.stagger
        self._answered_bytes = 0  # of the request that is answered
        self._held = 0  # bytes, as the budget knows it
        self._transport = transport
        self._is_drained = False  # the last read took all there was
        self._share = parts.turns.share(state.account, transport.has_left)
        self._wait = ReadWait(transport.fileno())
        self._stopped = False

    def head(self) -> int:
        """Wait for a head, and return how many bytes of `unread` it has. Blocks.

        Raises BadRequest for one that is too long, Ended at a deadline, PeerLost.
        """
        self._places.rests(self._holder)
        try:
            end = self._find_end()
        finally:
            self._places.works(self._holder)
        self._share.spend(REQUEST_UNITS)
        self._stagger.wait()
        return end + len(END)

    def _find_end(self) -> int:
        state = self._state
        looked = 0
        while (end := state.unread.find(END, max(0, looked - len(END)))) < 0:
            looked = len(state.unread)
            if looked > MAX_HEAD_BYTES:
                raise BadRequest(431, f"A head has {MAX_HEAD_BYTES} bytes at most")
            data = self._next(state.deadline)
            if data is None:
                raise Ended("no request in time" if state.unread else "nothing more was asked for")
            if not looked and state.bytes_in > len(data):
                state.deadline = monotonic() + self._parts.settings.handshake_s
            state.unread += data
            self._count()
        if end > MAX_HEAD_BYTES:
            raise BadRequest(431, f"A head has {MAX_HEAD_BYTES} bytes at most")
        return end

    def take(self, count: int) -> bytes:
        """Take so many bytes of what came: a head that `head` has found, and that is answered now."""
        state = self._state
        taken, state.unread = state.unread[:count], state.unread[count:]
        self._answered_bytes = COPIES * count
        self._count()
        return taken

    def expect_another(self) -> None:
        """Give the peer its time to ask for something else."""
        state = self._state
        self._answered_bytes = 0
        self._count()
        now = monotonic()
        if state.unread:  # it has begun to
            state.deadline = now + self._parts.settings.handshake_s
        else:
            state.deadline = now + min(KEEP_ALIVE_S, self._parts.settings.idle_s)

    def watch_out(self) -> NoReturn:
        """Wait until a viewer has left. Blocks; Ended and PeerLost tell how."""
        thrown = len(self._state.unread)
        self._state.unread = b""
        self._count()
        while True:
            data = self._next(NEVER)
            assert data is not None, "there is no deadline"
            thrown += len(data)
            if thrown > MAX_THROWN_BYTES:
                raise Ended(f"sent more than {MAX_THROWN_BYTES} bytes while it watched")
            self._share.spend(THROWN_UNITS)

    def listen(self, take: Callable[[bytes], int]) -> NoReturn:
        """Read what comes over a WebSocket, and ask from time to time whether anybody is there. Blocks.

        `take` gets all that was not taken yet, and says how many bytes it took. It may raise what ends the
        connection.
        """
        state, settings = self._state, self._parts.settings
        while True:
            done = take(state.unread)
            state.unread = state.unread[done:]
            if self._outlet.failure is not None:
                raise PeerLost(self._outlet.failure)
            if done:
                self._share.spend(FRAMES_UNITS)  # before there is more to do
                continue
            data = self._next(min(state.next_ping, state.heard_at + settings.idle_s))
            if data is not None:
                state.unread += data
                self._share.spend(THROWN_UNITS)
                continue
            now = monotonic()
            if now >= state.heard_at + settings.idle_s:
                raise Ended(f"sent nothing for {settings.idle_s:g} s")
            if now >= state.next_ping:
                state.next_ping = now + settings.ping_s
                self._outlet.reply(frame(PING, 0), owed=False)

    def stop(self) -> None:
        """End what blocks in here soon. From any greenlet; the caller shuts the socket down."""
        self._stopped = True
        self._share.interrupt()

    def release(self) -> None:
        """Read no more, at once: the session moves. From another greenlet."""
        self.close()

    def close(self) -> None:
        """Give everything back; before the socket is closed. Idempotent."""
        self._stopped = True
        self._hold(0)
        self._wait.close()
        self._share.close()

    def throw_away(self, until: float) -> None:
        """See `ending.throw_away`. Blocks up to a monotonic time."""
        throw_away(self._transport.read, self._wait, self._share, until)

    # --- private ----------------------------------------------------------------------------------

    def _count(self) -> None:
        """Let the process count what came, until it is answered; unless it is little."""
        count = len(self._state.unread) + self._answered_bytes
        self._hold(count if count >= HELD_STEP_BYTES else 0)

    def _hold(self, count: int) -> None:
        if count != self._held:
            self._held = count
            self._parts.budget.hold(UNFINISHED, self._holder, count)

    def _next(self, until: float) -> bytes | None:
        """Return what comes next; None when nothing has come until then. Raises PeerLost, Ended."""
        state, share = self._state, self._share
        while True:
            if self._stopped:
                raise Ended("stopped")
            was_drained, data = self._is_drained, self._read()
            if data is None:
                began = monotonic()
                if began >= until and not was_drained:
                    return None
                self._wait.wait(until)
                now = monotonic()
                share.rested(now)
                if now - until > LATE_S:
                    until += now - began
                    state.deadline += now - began
                    state.heard_at += now - began
                continue
            if not data:
                raise PeerLost(GONE)
            if not state.bytes_in:
                self._holder.announce()
            state.bytes_in += len(data)
            state.heard_at = monotonic()
            share.spend()
            return data

    def _read(self) -> bytes | None:
        """Read what is there; None for nothing. Raises PeerLost."""
        if self._is_drained:  # then it most likely still is, and the system need not say so
            self._is_drained = False
            return None
        try:
            data = self._transport.read(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise lost(exc) from exc
        self._is_drained = len(data) < READ_BYTES and not self._transport.has_more
        return data
