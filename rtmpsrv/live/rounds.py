"""How what was flushed reaches all followers of an output: by rounds of sends.

A round to many is done in several goes, between which others run: other channels, and the publisher of this
one. What is flushed meanwhile goes to those who have not had their turn; the next round has it for the rest.
Never blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .audience import Audience
from .clock import Clock, Timer
from .lane import Late
from .log import Log
from .player import Player
from .schedule import FlushSchedule

# The timer that lets others run. Their sockets are looked at before it fires.
AT_ONCE_S: Final = 0.0


class Rounds:
    """Those of one output, which begins them."""

    __slots__ = ("_audience", "_began_at", "_clock", "_elsewhere_s", "_later_s", "_log", "_now", "_schedule",
                 "_spent_s", "_timer", "later_s", "under_way")  # fmt: skip

    def __init__(self, log: Log, audience: Audience, schedule: FlushSchedule, clock: Clock) -> None:
        self._log, self._audience, self._schedule = log, audience, schedule
        self._clock, self._now = clock, clock.now
        self._timer: Timer | None = None
        self._began_at = self._spent_s = self._later_s = self._elsewhere_s = 0.0
        self.under_way = False  # those who have not had their turn get what is flushed now, too
        self.later_s = 0.0  # what the last round took behind its first go

    def begin(self, begin: int, messages: Sequence[bytes]) -> list[Player]:
        """Begin a round: `messages` are the bytes of the log from `begin` to what was flushed.

        Returns those who are behind now, for the caller to kick; `go_on` follows.
        """
        if self._timer is not None:
            self._stop_timer()
        self.under_way = True
        late = self._audience.send(self._log, begin, messages)
        return self._behind(late) if late else []

    def go_on(self, began_at: float, elsewhere_s: float) -> None:
        """Take note of when a round began, which has had its first go, and what it costs elsewhere."""
        now = self._now()
        self._began_at, self._elsewhere_s = began_at, elsewhere_s
        self._spent_s, self._later_s = now - began_at, 0.0
        self._have_next_go(now)

    def finish(self) -> None:
        """Send everything to all, without letting others run."""
        while self.under_way or self._audience.behind(self._log.flushed) is not None:
            self._next()
        self.stop()

    def stop(self) -> None:
        """Do nothing any more."""
        self._stop_timer()
        self.under_way = False

    # --- private ----------------------------------------------------------------------------------

    def _behind(self, late: list[Late]) -> list[Player]:
        for player, position in late:
            player.take_cursor(self._log, position)
        return [player for player, _ in late]

    def _next(self) -> None:
        """Go on with a round, or begin one for those whom the last one left behind."""
        began_at = self._now()
        log = self._log
        if not self.under_way:
            _kick(self.begin(log.flushed, ()))
            self.go_on(began_at, self._elsewhere_s)
        else:
            self._stop_timer()
            _kick(self._behind(self._audience.send(log, log.flushed, ())))
            now = self._now()
            self._spent_s += now - began_at
            self._later_s += now - began_at
            self._have_next_go(now)
        # Also of a round of one go: the kick for one who skips flushes.
        if not self.under_way and (behind := self._audience.behind(log.flushed)) is not None:
            self._begin_in_time(behind, self._now())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _have_next_go(self, now: float) -> None:
        """Let others run before the next go; or take note that all have had their turn."""
        if self._audience.to_serve:
            self._timer = self._clock.call_later(AT_ONCE_S, self._next)
            return
        self.under_way = False
        self.later_s = self._later_s
        self._schedule.flushed(self._began_at, now, self._spent_s, self._elsewhere_s)

    def _begin_in_time(self, behind: int, now: float) -> None:
        """Begin the next round when it is due to those who have had their turn before something was flushed.

        It lies behind a position.
        """
        log, schedule = self._log, self._schedule
        if log.keyframe is not None and log.keyframe >= behind:
            schedule.keyframe()
        oldest_at = log.arrival_at(behind)
        assert oldest_at is not None, "there is something"
        due_at = schedule.due_at(log.count - log.number_at(behind), oldest_at, self._clock.pressure)
        self._timer = self._clock.call_later(max(AT_ONCE_S, due_at + schedule.leeway_s - now), self._next)


def _kick(players: list[Player]) -> None:
    for player in players:
        player.sink.kick()
