"""What a backend is told and asked beside the start and the stop of publications, where it wants to be.

Connections and players are asked about in their own greenlets. Who publishes or plays is asked about from
time to time, and ends when its time is up: one greenlet looks at all of them.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable

import gevent
from gevent.pool import Pool

from rtmpsrv.access.backoff import describe
from rtmpsrv.access.callback_sender import HTTP_ERRORS, CallbackTimeout, Sender
from rtmpsrv.access.callbacks import Asking, CallbackAuthority
from rtmpsrv.access.facts import CONNECT, PLAY, PLAY_STOP, RECORD_DONE, UPDATE, Event, Facts
from rtmpsrv.access.grants import Grant, PublishRequest, Recorded, granted
from rtmpsrv.access.hooks import Watch
from rtmpsrv.errors import AccessDenied
from rtmpsrv.log import Logger, RateLimited

UPDATE_S = 30.0  # nginx-rtmp's default
LOOK_EVERY_S = 0.5  # whether somebody's time is up
UPDATE_CONCURRENCY = 32
TIME_IS_UP = "the time that the callback allowed is over"
MAY_NOT_GO_ON = "ended by the callback"


def refused_player(why: str, variable: str) -> AccessDenied:
    """Return the refusal of a player."""
    return AccessDenied("NetStream.Play.BadName", f"You may not play: {why}", variable)


def refused_client(why: str, variable: str) -> AccessDenied:
    """Return the refusal of a connection."""
    return AccessDenied("NetConnection.Connect.Rejected", f"You may not connect: {why}", variable)


# Players of one channel leave at one time: no order is kept among them.
PLAYERS = Asking(PLAY, PLAY_STOP, refused_player, lambda grant: str(grant.serial))
# Nobody is asked about recordings.
RECORDINGS = Asking("", RECORD_DONE, refused_client, lambda grant: grant.channel)


class CallbackHooks:
    """Asks the operator's HTTP server."""

    def __init__(
        self,
        sender: Sender,
        *,
        log: Logger,
        kinds: frozenset[str],
        update_s: float = UPDATE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Ask and tell about the events among `kinds`."""
        self.wants_facts = sender.form.wants_facts
        self._sender = sender
        self._log = log
        self._kinds = kinds = kinds & sender.form.kinds
        self._update_s = update_s
        self._clock = clock
        self._players = CallbackAuthority(sender, log=log, asking=PLAYERS, kinds=kinds)
        self._recordings = CallbackAuthority(sender, log=log, asking=RECORDINGS, kinds=kinds)
        self._serials = itertools.count(1)
        self._watched: set[_Watched] = set()
        self._looking: gevent.Greenlet[..., None] | None = None
        self._updates = Pool(UPDATE_CONCURRENCY)
        self._last_failure = ""
        self._failures = RateLimited(
            lambda n: log.warning("updates without an answer: %d, the last reason=%s", n, self._last_failure)
        )

    def connect(self, client_ip: str, facts: Facts) -> str:
        """Ask whether a client may connect; return the app that it gets. Blocks up to the deadline."""
        if CONNECT not in self._kinds:
            return ""
        event = Event(CONNECT, facts.app, "", client_ip, None, facts, id=str(uuid.uuid4()))
        try:
            answer, decision = self._sender.post(event, self._sender.timeout_s)
        except HTTP_ERRORS as exc:
            shown_url = self._sender.shown_url
            self._log.warning("connect failed app=%s url=%s reason=%s", facts.app, shown_url, describe(exc))
            late = isinstance(exc, CallbackTimeout)
            variable = "CALLBACK_TIMEOUT_SECONDS" if late else "CALLBACK_URL"
            raise refused_client("the callback did not answer", variable) from None  # the cause quotes URLs
        if not decision.allowed:
            self._log.info("connect refused app=%s status=%d", facts.app, answer.status)
            why = decision.reason or f"refused by the callback (status {answer.status})"
            raise refused_client(why, "CALLBACK_URL")
        return decision.channel

    def play(self, request: PublishRequest) -> Grant | None:
        """Ask whether a client may play. Blocks up to the deadline."""
        if PLAY not in self._kinds and PLAY_STOP not in self._kinds:
            return None
        return granted(request, self._players.authorise(request), next(self._serials))

    @property
    def waiting(self) -> int:
        """How many reports of players that have left, and of recordings, are not delivered or given up."""
        return self._players.waiting + self._recordings.waiting

    def count_posts(self, posted: Callable[[str, str, float], None]) -> None:
        """As `CallbackAuthority.count_posts`."""
        self._sender.on_post = posted

    def left(self, visit: Grant) -> None:
        """Queue the report that a player has left. Never blocks."""
        self._players.ended(visit)

    def recorded(self, recorded: Recorded) -> None:
        """Queue the report that a recording is whole. Never blocks."""
        self._recordings.ended(recorded)

    def watch(self, grant: Grant, end: Callable[[str], None], *, publishes: bool) -> Watch:
        """Look after one that has just begun, or goes on here. Never blocks."""
        updates = UPDATE in self._kinds
        if not updates and not grant.ends_at:
            return Watch()
        now = self._clock()
        update_at = now + self._update_s if updates else float("inf")
        watched = _Watched(grant, end, publishes, grant.facts.asked_at or now, update_at, self._watched)
        if self._looking is None:
            self._looking = gevent.spawn(self._look)
        return watched

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every report was delivered or given up. Blocks up to `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        idle = self._players.wait_idle(timeout_s)
        return self._recordings.wait_idle(max(0.0, deadline - time.monotonic())) and idle

    def finish(self, timeout_s: float) -> bool:
        """Wait until every report has gone out, then close; tell whether they have. As `wait_idle`."""
        idle = self.wait_idle(timeout_s)
        self.close()
        return idle

    def close(self) -> None:
        """Look at nobody any more, give up what was not told. Blocks for a second or two."""
        if self._looking is not None:
            self._looking.kill()
        self._updates.kill(timeout=1.0)
        self._players.close()
        self._recordings.close()

    def _look(self) -> None:
        while True:
            gevent.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """End those whose time is up, and ask about those whose turn it is. Never blocks."""
        now = self._clock()
        for watched in list(self._watched):
            if watched.ends(now):
                watched.end(TIME_IS_UP)
            elif watched.asks(now) and self._updates.free_count():
                watched.next_update(now + self._update_s)
                self._updates.spawn(self._ask, watched, now)

    def _ask(self, watched: _Watched, now: float) -> None:
        event = watched.event(now)
        try:
            answer, decision = self._sender.post(event, self._sender.timeout_s)
        except HTTP_ERRORS as exc:
            self._last_failure = describe(exc)
            self._failures.add()
            return  # nobody has said no
        if not decision.allowed:
            self._log.info("update refused channel=%s status=%d", event.channel, answer.status)
            watched.end(f"{MAY_NOT_GO_ON}: {decision.reason or f'status {answer.status}'}")
        elif decision.lifetime_s:
            watched.ends_in(decision.lifetime_s, self._clock())


class _Watched(Watch):
    """One publisher or player. Changed by its hooks only."""

    __slots__ = ("_all", "_asked_at", "_end", "_ends_at", "_grant", "_publishes", "_update_at")

    def __init__(
        self,
        grant: Grant,
        end: Callable[[str], None],
        publishes: bool,
        asked_at: float,
        update_at: float,
        everybody: set[_Watched],
    ) -> None:
        self._grant = grant
        self._end = end
        self._publishes = publishes
        self._asked_at = asked_at
        self._ends_at = grant.ends_at or float("inf")
        self._update_at = update_at
        self._all = everybody
        everybody.add(self)

    def cancel(self) -> None:
        """Look no more."""
        self._all.discard(self)

    def end(self, reason: str) -> None:
        """End it, unless it is over already."""
        if self in self._all:
            self._all.discard(self)
            self._end(reason)

    def ends(self, now: float) -> bool:
        return now >= self._ends_at

    def asks(self, now: float) -> bool:
        return now >= self._update_at

    def next_update(self, at: float) -> None:
        self._update_at = at

    def ends_in(self, seconds: float, now: float) -> None:
        self._ends_at = now + seconds

    def event(self, now: float) -> Event:
        """Return the update about it."""
        grant = self._grant
        seconds = max(0, int(now - self._asked_at))
        return Event(
            UPDATE, grant.channel, grant.key, grant.client_ip, grant.stream_id, grant.facts,
            self._publishes, seconds, str(uuid.uuid4()),
        )  # fmt: skip
