"""Ends publishers and players whose terms run out, or that new rules would refuse. Grants nothing.

One greenlet looks at all of them; it is begun with the first that has terms which may end. Knows no sockets:
each comes with a function that ends it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import gevent
from gevent.event import Event

from rtmpsrv.access.terms import NO_LIMIT, Terms
from rtmpsrv.errors import AccessDenied
from rtmpsrv.log import Logger

CHECK_S = 0.5  # a token that runs out ends its stream within a second
BITRATE_WINDOW_S = 10.0  # encoders send keyframes in bursts
JUDGED_AT_ONCE = 100  # with new rules; then others have their turn
ROUND_S = 0.0001  # a timer, for a round of the loop; with none gevent looks at sockets every 50th time

Judge = Callable[[], Terms]


class Stay:
    """One client that publishes or plays. Changed by its Watch only."""

    __slots__ = ("end", "judge", "over", "samples", "sent", "terms")

    def __init__(
        self, judge: Judge, terms: Terms | None, end: Callable[[str], None], sent: Callable[[], int] | None
    ) -> None:
        self.judge = judge
        self.terms = terms  # None: to be judged
        self.end = end
        self.sent = sent  # bytes so far, of a publisher
        self.samples: deque[tuple[float, int]] = deque()  # when, and bytes until then
        self.over = False


class Watch:
    """All clients that may have to go. Methods never block."""

    def __init__(
        self,
        log: Logger,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self._wall_clock = wall_clock
        self._clock = clock
        self._stays: set[Stay] = set()
        self._rules_changed = False
        self._wake = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def enter(
        self,
        judge: Judge,
        terms: Terms | None,
        end: Callable[[str], None],
        sent: Callable[[], int] | None = None,
    ) -> Stay:
        """Watch somebody from now on; `end` gets the reason, once, and must not block.

        `judge` returns the terms by the rules in force, or raises AccessDenied; it must not block. With terms
        None it is asked at the next look.
        """
        stay = Stay(judge, terms, end, sent)
        self._stays.add(stay)
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        if len(self._stays) == 1 or terms is None:
            self._wake.set()
        return stay

    def leave(self, stay: Stay) -> None:
        """Watch somebody no more. Idempotent."""
        stay.over = True
        self._stays.discard(stay)

    def judge_again(self) -> None:
        """Take note that the rules are others now."""
        self._rules_changed = True
        self._wake.set()

    def close(self) -> None:
        """End the watching."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def look(self) -> None:
        """End whose time is over. Gives way to others where there are many to judge."""
        judge_all, self._rules_changed = self._rules_changed, False
        judged = 0
        for stay in list(self._stays):
            if judge_all or stay.terms is None:
                self._judge(stay)
                judged += 1
                if judged % JUDGED_AT_ONCE == 0:
                    gevent.sleep(ROUND_S)
            if not stay.over and stay.terms is not None:
                reason = self._reason(stay, stay.terms)
                if reason:
                    self._end(stay, reason)

    def describe(self) -> dict[str, int]:
        """Say how many are watched."""
        return {"watched": len(self._stays)}

    # --- private ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait(CHECK_S if self._stays else None)
            self._wake.clear()
            try:
                self.look()
            except Exception:
                self.log.exception("internal error, the watch goes on")

    def _judge(self, stay: Stay) -> None:
        if stay.over:
            return  # has left while others were judged
        try:
            stay.terms = stay.judge()
        except AccessDenied as exc:
            self._end(stay, exc.description)

    def _reason(self, stay: Stay, terms: Terms) -> str:
        if terms.until <= self._wall_clock():
            return terms.why
        limit = terms.max_bitrate
        if limit != NO_LIMIT and stay.sent is not None and self._is_too_fast(stay, stay.sent(), limit):
            return f"more than {limit} bits per second"
        return ""

    def _is_too_fast(self, stay: Stay, sent: int, limit: int) -> bool:
        now, samples = self._clock(), stay.samples
        samples.append((now, sent))
        while len(samples) > 1 and now - samples[1][0] >= BITRATE_WINDOW_S:
            samples.popleft()
        began, before = samples[0]
        return (sent - before) * 8 > limit * max(now - began, BITRATE_WINDOW_S)

    def _end(self, stay: Stay, reason: str) -> None:
        self.leave(stay)
        stay.end(reason)
