"""What comes from one peer: read, media appended, work and held bytes counted. Nothing in here blocks.

Where a greenlet rests the hub calls `take`, once for each read of a publisher: so this module is compiled as
well (docs/compiled.md). What is neither media nor the protocol's own affair is left to the greenlet.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from ..errors import PeerLost
from ..protocol.events import Event
from ..protocol.link import MESSAGES_PER_CALL
from .held import UNFINISHED, Owner
from .outlet import Outlet
from .parts import ServerParts
from .requests import Requests
from .session_state import SessionState
from .transport import Transport, lost

READ_BYTES: Final = 65536  # most that one read takes
MOST_READS: Final = 4  # of the hub, for one publisher: a keyframe may need more than one
GONE: Final = "closed by the peer"
HELD_STEP_BYTES: Final = 65536  # held bytes are counted each time that so much more has come


class Intake:
    """Takes in what one socket brings. For its session's greenlet, and for the hub while that rests."""

    __slots__ = (
        "_account", "_connection", "_failure", "_held_bytes", "_holder", "_idle_s", "_look_at", "_outlet",
        "_parts", "_read", "_request", "_requests", "_state", "_transport", "_uncounted_bytes", "_units",
        "_wake", "stopped",
    )  # fmt: skip

    def __init__(
        self,
        holder: Owner,
        state: SessionState,
        transport: Transport,
        outlet: Outlet,
        requests: Requests,
        parts: ServerParts,
        wake: Callable[[bool], None],
    ) -> None:
        """Make one; `wake` ends the rest of the greenlet: False, it has to go on, True, it may rest again."""
        self.stopped = False  # takes no more
        self._holder = holder
        self._state = state
        self._connection = state.connection
        self._account = state.account
        self._transport = transport
        self._read = transport.read
        self._outlet = outlet
        self._requests = requests
        self._parts = parts
        self._idle_s = parts.settings.idle_s
        self._wake = wake
        self._request: Event | None = None  # that `take` leaves to the greenlet
        self._failure: Exception | None = None  # that it met
        self._look_at = 0.0  # when the greenlet has to look at deadlines and pings
        self._units = state.connection.work  # of those that were spent: of messages, and of requests
        self._held_bytes = 0  # as the process was told
        self._uncounted_bytes = 0  # read since then

    # --- in the hub -------------------------------------------------------------------------------

    def readable(self) -> None:
        """Take what has come. Whoever sends all it may reads for itself, so that others need not wait."""
        now = monotonic()
        if not self.take(now):
            self._wake(False)
        elif (
            self._parts.ingest.rest_s
            and self._requests.publication is not None
            and self._account.has_saved(now)
        ):
            self._wake(True)

    def take(self, now: float, reads: int = MOST_READS) -> bool:
        """Read for a greenlet at rest; False when that has to go on. Never blocks or raises."""
        if self.stopped:
            return False
        try:
            try:
                data = self.read(now)
            except BlockingIOError:
                return now < self._look_at and now < self._state.heard_at + self._idle_s
            connection = self._connection
            run = connection.take_media(data)
            if run and (publication := self._requests.publication) is not None:
                publication.append(run)
            if connection.backlog and len(run) < MESSAGES_PER_CALL:
                self._request = self.next_event()
            if connection.outbox:
                self._requests.answer()
            count = len(data)
            self.count_held(count)
            return not (
                self._account.spend(self.spent(), now)
                or self._request is not None
                or connection.backlog
                or self._transport.has_more
                or self._outlet.failure is not None
                or now >= self._look_at
                or connection.judged
            ) and (count < READ_BYTES or (reads > 1 and self.take(now, reads - 1)))
        except Exception as exc:  # noqa: BLE001 - raised again by the greenlet that it belongs to
            self._failure = exc
            return False

    # --- in either --------------------------------------------------------------------------------

    def read(self, now: float) -> bytes:
        """Read once. Raises BlockingIOError when nothing is there, PeerLost at the end."""
        try:
            data = self._read(READ_BYTES)
        except BlockingIOError:
            raise
        except OSError as exc:
            raise lost(exc) from exc
        if not data:
            raise PeerLost(GONE)
        state = self._state
        state.bytes_in += len(data)
        state.heard_at = now
        return data

    def next_event(self) -> Event | None:
        """Append media up to the next event and return that; None when there is none for now."""
        for event in self._connection.events():
            if not isinstance(event, list):
                return event
            publication = self._requests.publication
            if publication is not None:
                publication.append(event)
        return None

    def spent(self) -> int:
        """Return the units of work since the last call."""
        before, self._units = self._units, self._connection.work + self._requests.units
        return self._units - before

    def count_held(self, read_bytes: int) -> None:
        """Let the process count what the peer makes us hold, unfinished messages mostly; not each time."""
        self._uncounted_bytes += read_bytes
        if not self._held_bytes and self._uncounted_bytes < HELD_STEP_BYTES:
            return
        self._uncounted_bytes = 0
        held = self._connection.held_bytes
        if held < HELD_STEP_BYTES:
            held = 0
        if held != self._held_bytes:
            self._held_bytes = held
            self._parts.budget.hold(UNFINISHED, self._holder, held)

    # --- in the greenlet --------------------------------------------------------------------------

    def rest_until(self, look_at: float) -> None:
        """Take note of when the greenlet has to go on, whatever comes."""
        self._look_at = look_at

    @property
    def has_left_over(self) -> bool:
        """Tell whether `take` has left something that nobody has seen to yet."""
        return self._request is not None or self._failure is not None

    def request(self) -> Event | None:
        """Return and forget the request that `take` has left."""
        request, self._request = self._request, None
        return request

    def raise_failure(self) -> None:
        """Raise and forget what `take` has met."""
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it would keep itself, and all that its frames know, for the collector

    def stop(self) -> None:
        """Let `take` take no more. From any greenlet."""
        self.stopped = True

    def close(self) -> None:
        """Take no more, and let the process count nothing any more. Idempotent."""
        self.stopped = True
        if self._held_bytes:
            self._held_bytes = 0
            self._parts.budget.hold(UNFINISHED, self._holder, 0)
