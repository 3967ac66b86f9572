"""The HTTP callback: one POST asks whether a publication may start, one tells that it ended
(docs/callbacks.md). The same for players, where they are asked about.

`start` is asked in the publisher's own greenlet and has a deadline. `stop` never holds up a session: it is
queued per channel, in order, and tried again until the server takes it or it is given up, with a line in
the log. In which form is the business of the sender.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gevent.event import Event as Signal
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from rtmpsrv.access.backoff import Backoff, describe
from rtmpsrv.access.callback_sender import HTTP_ERRORS, CallbackTimeout, Sender
from rtmpsrv.access.facts import START, STOP, Approval, Event
from rtmpsrv.access.gate import Grant, PublishRequest, refusal
from rtmpsrv.access.grants import Recorded
from rtmpsrv.errors import AccessDenied
from rtmpsrv.log import Logger

STOP_BACKLOG = 10_000  # stops that may wait, over all channels
STOP_CONCURRENCY = 128  # requests for stops at one time; those of a hung channel are a few of them
STOP_GIVE_UP_S = 300.0
STOP_FIRST_S = 3.0  # how long a start lets the unfinished stop of its own channel go first
TRY_AGAIN_STATUS = frozenset({408, 425, 429})  # and 5xx: the server says that it is not the request's fault


@dataclass(frozen=True, slots=True)
class Asking:
    """About whom a backend is asked: the two events, and how a refusal is told."""

    begin: str
    end: str
    refuse: Callable[[str, str], AccessDenied]
    line: Callable[[Grant], str]  # ends with the same are told in order


PUBLISHERS = Asking(START, STOP, refusal, lambda grant: grant.asked or grant.channel)


class _StopLine:
    """The stops of one channel that still have to go out, oldest first; one greenlet serves it."""

    __slots__ = ("done", "grants", "hurry", "sending")

    def __init__(self, grant: Grant) -> None:
        self.grants = deque([grant])
        self.done = Signal()
        self.sending = False  # the first one is on its way
        self.hurry = Signal()  # a start of this channel waits: do not sit out the back-off


class CallbackAuthority:
    """Ask the operator's HTTP server."""

    key_names_stream = False

    def __init__(
        self,
        sender: Sender,
        *,
        log: Logger,
        asking: Asking = PUBLISHERS,
        kinds: frozenset[str] = frozenset((START, STOP)),
        backoff: type[Backoff] = Backoff,
        stop_backlog: int = STOP_BACKLOG,
        stop_give_up_s: float = STOP_GIVE_UP_S,
        stop_first_s: float = STOP_FIRST_S,
    ) -> None:
        """Tell those of the two events that are among `kinds`."""
        self._sender = sender
        self._log = log
        self._asking = asking
        self._asks = asking.begin in kinds & sender.form.kinds
        self._tells = asking.end in kinds & sender.form.kinds
        self._backoff = backoff
        self._stop_backlog = stop_backlog
        self._stop_give_up_s = stop_give_up_s
        self._stop_first_s = stop_first_s
        self._stop_slots = BoundedSemaphore(STOP_CONCURRENCY)
        self._stop_lines: dict[str, _StopLine] = {}
        self._stops_waiting = 0
        self._no_stops = Signal()
        self._no_stops.set()
        self._workers = Group()
        self._closed = False
        self.on_reported: Callable[[Grant], None] = lambda grant: None  # delivered, or given up for good
        self.on_taken: Callable[[Grant], None] = lambda grant: None  # by another process, which reports it

    def authorise(self, request: PublishRequest) -> str | Approval:
        """Return the stream id that the callback chose, or more. Blocks up to its deadline.

        Raises AccessDenied.
        """
        if not self._asks:
            return secrets.token_hex(16)
        timeout_s, begin, shown_url = self._sender.timeout_s, self._asking.begin, self._sender.shown_url
        deadline = time.monotonic() + timeout_s
        earlier = self._stop_lines.get(request.channel)
        if earlier is not None:
            earlier.hurry.set()
            earlier.done.wait(min(self._stop_first_s, timeout_s / 2))
        try:
            answer, decision = self._sender.post(_event(begin, request), deadline - time.monotonic())
        except HTTP_ERRORS as exc:
            self._log.warning(
                "%s failed channel=%s url=%s reason=%s", begin, request.channel, shown_url, describe(exc)
            )
            late = isinstance(exc, CallbackTimeout)
            variable = "CALLBACK_TIMEOUT_SECONDS" if late else "CALLBACK_URL"
            raise self._asking.refuse("the callback did not answer", variable) from None  # it quotes URLs
        if not decision.allowed:
            status = answer.status
            self._log.info("%s refused channel=%s status=%d", begin, request.channel, status)
            why = decision.reason or f"refused by the callback (status {status})"
            raise self._asking.refuse(why, "CALLBACK_URL")
        stream_id = decision.stream_id
        self._log.debug("%s accepted channel=%s stream_id=%s", begin, request.channel, stream_id)
        ends_at = time.time() + decision.lifetime_s if decision.lifetime_s else 0.0
        yes = Approval(stream_id, decision.channel, ends_at, decision.max_bitrate, decision.max_players)
        return stream_id if yes == Approval(stream_id) else yes

    def ended(self, grant: Grant) -> None:
        """Queue the `stop` of a publication. Never blocks."""
        if not self._tells:
            self.on_reported(grant)
            return
        if self._closed or self._stops_waiting >= self._stop_backlog:
            self._give_up(grant, "closed" if self._closed else "too many stops are waiting")
            if not self._closed:
                self.on_reported(grant)
            return
        self._stops_waiting += 1
        self._no_stops.clear()
        name = self._asking.line(grant)
        line = self._stop_lines.get(name)
        if line is None:
            line = self._stop_lines[name] = _StopLine(grant)
            self._workers.spawn(self._serve, name, line)
        else:
            line.grants.append(grant)

    @property
    def waiting(self) -> int:
        """How many stops have not been delivered or given up."""
        return self._stops_waiting

    def count_posts(self, posted: Callable[[str, str, float], None]) -> None:
        """Let somebody know of each request: which event, with what result, and how long it took."""
        self._sender.on_post = posted

    def take_unsent(self) -> list[Grant]:
        """Give up, for another process to send, the stops that are not on their way. Never blocks."""
        taken: list[Grant] = []
        for line in self._stop_lines.values():
            kept = deque(list(line.grants)[: line.sending])
            taken += list(line.grants)[len(kept) :]
            line.grants = kept
            line.hurry.set()  # whoever waits to try again has nothing left to try
        self._count_down(len(taken))
        for grant in taken:
            self.on_taken(grant)
        return taken

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every stop was delivered or given up. Blocks up to `timeout_s`."""
        for line in self._stop_lines.values():
            line.hurry.set()
        return bool(self._no_stops.wait(timeout_s))

    def close(self) -> None:
        """Give up the stops that are left. Blocks for a second at most."""
        self._closed = True
        self._workers.kill(timeout=1.0)
        self._sender.close()

    def _serve(self, name: str, line: _StopLine) -> None:
        try:
            while line.grants:
                grant = line.grants[0]
                self._deliver(line, grant)
                if line.grants and line.grants[0] is grant:
                    self.on_reported(line.grants.popleft())
                    self._count_down(1)
        finally:
            # Stops are left only after close() or a bug: the count must be right all the same.
            for grant in line.grants:
                self._give_up(grant, "server is shutting down")
            self._count_down(len(line.grants))
            del self._stop_lines[name]
            line.done.set()

    def _count_down(self, stops: int) -> None:
        self._stops_waiting -= stops
        if not self._stops_waiting:
            self._no_stops.set()

    def _deliver(self, line: _StopLine, grant: Grant) -> None:
        event = _event(self._asking.end, grant)
        backoff = self._backoff()
        give_up_at = time.monotonic() + self._stop_give_up_s
        while True:
            problem = self._try_stop(line, grant, event)
            if problem is None:
                return
            wait_s = backoff.next_s()
            if time.monotonic() + wait_s >= give_up_at:
                self._give_up(grant, problem)
                return
            self._log.warning(
                "%s failed, will be tried again channel=%s stream_id=%s url=%s reason=%s",
                event.kind,
                grant.channel,
                grant.stream_id,
                self._sender.shown_url,
                problem,
            )
            if line.hurry.wait(wait_s):
                line.hurry.clear()
            if not line.grants or line.grants[0] is not grant:
                return  # it was taken away

    def _try_stop(self, line: _StopLine, grant: Grant, event: Event) -> str | None:
        """Send one `stop`; return why to send it again, or None: it has arrived, or was taken away."""
        with self._stop_slots:
            if not line.grants or line.grants[0] is not grant:
                return None
            line.sending = True
            try:
                answer, _ = self._sender.post(event, self._sender.timeout_s)
            except HTTP_ERRORS as exc:
                return describe(exc)
            finally:
                line.sending = False
        status, end = answer.status, event.kind
        self._log.debug(
            "%s sent channel=%s stream_id=%s status=%d", end, grant.channel, grant.stream_id, status
        )
        return f"status {status}" if status >= 500 or status in TRY_AGAIN_STATUS else None

    def _give_up(self, grant: Grant, reason: str) -> None:
        end, channel, stream_id = self._asking.end, grant.channel, grant.stream_id
        self._log.error("%s given up channel=%s stream_id=%s reason=%s", end, channel, stream_id, reason)


def _event(kind: str, about: PublishRequest | Grant) -> Event:
    stream_id = about.stream_id if isinstance(about, Grant) else None
    file = about.file if isinstance(about, Recorded) else None
    return Event(
        kind,
        about.channel,
        about.key,
        about.client_ip,
        stream_id,
        about.facts,
        id=str(uuid.uuid4()),
        file=file,
    )
