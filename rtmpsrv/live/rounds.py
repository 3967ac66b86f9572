"""How what was flushed reaches all followers of an output: by rounds of sends.

A round to many is done in several goes, between which others run: other channels, and the publisher of this
one. What is flushed meanwhile goes to those who have not had their turn; the next round has it for the rest.
Where some frames are sent together anyway each go has a frame of its own, so that nobody waits for the go
before. Never blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from .audience import Audience
from .clock import Clock, Timer
from .frame_waits import FrameWaits
from .lane import Late
from .log import Log
from .player import Player
from .schedule import MERGED, FlushSchedule

# The timer that lets others run. Their sockets are looked at before it fires.
AT_ONCE_S: Final = 0.0
# What waits is sent as well by the output's own timer, which is to fire first.
BEHIND_OUTPUT_S: Final = 0.001
# A message that comes sooner behind the begin of a go than this belongs to the same frame.
FRAME_S: Final = 0.01


class Rounds:
    """Those of one output, which begins them."""

    __slots__ = ("_audience", "_awaits_frame", "_began_at", "_clock", "_elsewhere_s", "_go_at", "_is_alone",
                 "_later_s", "_log", "_now", "_schedule", "_spent_s", "_timer", "_tries", "_waits",
                 "behind_since", "later_s", "under_way")  # fmt: skip

    def __init__(self, log: Log, audience: Audience, schedule: FlushSchedule, clock: Clock) -> None:
        self._log, self._audience, self._schedule = log, audience, schedule
        self._clock, self._now = clock, clock.now
        self._timer: Timer | None = None
        self._began_at = self._spent_s = self._later_s = self._elsewhere_s = 0.0
        self._awaits_frame = False  # the next go does
        self._is_alone = False  # nothing else is made of what is flushed
        self._go_at = 0.0  # when the last go began
        self._tries = False  # this round began early, to give each go a frame of its own
        self._waits = FrameWaits()
        self.under_way = False  # those who have not had their turn get what is flushed now, too
        self.behind_since = inf  # arrival of the first that some were not sent, though it was flushed
        self.later_s = 0.0  # what the last round took behind its first go

    def begin(self, begin: int, messages: Sequence[bytes]) -> list[Player]:
        """Begin a round: `messages` are the bytes of the log from `begin` to what was flushed.

        Returns those who are behind now, for the caller to kick; `go_on` follows.
        """
        if self._timer is not None:
            self._stop_timer()
        self.under_way, self.behind_since = True, inf
        late = self._audience.send(self._log, begin, messages)
        return self._behind(late) if late else []

    def go_on(self, began_at: float, elsewhere_s: float, is_alone: bool) -> None:
        """Take note of when a round began, which has had its first go, and what it costs elsewhere.

        It `is_alone` where each flush costs nothing else: then there may be one for each go.
        """
        now = self._now()
        self._began_at, self._elsewhere_s, self._is_alone = began_at, elsewhere_s, is_alone
        self._go_at = began_at
        self._spent_s, self._later_s = now - began_at, 0.0
        self._have_next_go(now)

    def joined(self, is_alone: bool) -> None:
        """Take note that more was flushed while a round is under way; as `go_on`."""
        self._is_alone = is_alone
        if self._awaits_frame and self._now() - self._go_at >= FRAME_S:
            self._waits.came()
            self._stop_timer()
            self._next()

    def finish(self) -> None:
        """Send everything to all, without letting others run."""
        while self.under_way or self._audience.behind(self._log.flushed) is not None:
            self._next()
        self.stop()

    def stop(self) -> None:
        """Do nothing any more."""
        self._stop_timer()
        self.under_way, self.behind_since = False, inf

    # --- private ----------------------------------------------------------------------------------

    def _behind(self, late: list[Late]) -> list[Player]:
        for player, position in late:
            player.take_cursor(self._log, position)
        return [player for player, _ in late]

    def _next(self) -> None:
        """Go on with a round, or begin one for those whom the last one left behind."""
        began_at = self._now()
        log = self._log
        if self._awaits_frame:
            self._waits.missed(began_at)
        if not self.under_way and self._audience.behind(log.flushed) is None:
            self.stop()  # who was behind has left
        elif not self.under_way:
            _kick(self.begin(log.flushed, ()))
            self.go_on(began_at, self._elsewhere_s, self._is_alone)
        else:
            self._stop_timer()
            self._go_at = began_at
            _kick(self._behind(self._audience.send(log, log.flushed, ())))
            now = self._now()
            self._spent_s += now - began_at
            self._later_s += now - began_at
            self._have_next_go(now)
        # Also of a round of one go: the kick for one who skips flushes.
        if not self.under_way and (behind := self._audience.behind(log.flushed)) is not None:
            self._begin_in_time(behind, self._now())

    def _stop_timer(self) -> None:
        self._awaits_frame = False
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _have_next_go(self, now: float) -> None:
        """Let others run before the next go; or take note that all have had their turn."""
        schedule = self._schedule
        may_wait = (
            schedule.is_dear and self._is_alone and not self._clock.pressure and self._waits.may_wait(now)
        )
        goes = self._audience.goes() if may_wait else []
        have_frames = 0 < len(goes) <= MERGED
        if self._audience.to_serve:
            delay_s = self._next_go_s(goes[0], now) if have_frames else AT_ONCE_S
            self._awaits_frame = delay_s > AT_ONCE_S
            self._timer = self._clock.call_later(delay_s, self._next)
            return
        self.under_way = False
        self.later_s = self._later_s
        together = len(goes) - len(set(goes)) if have_frames else 0
        if together and self._tries:
            self._waits.missed(now)
        self._tries = together > 0
        schedule.flushed(self._began_at, now, self._spent_s, self._elsewhere_s, together)

    def _next_go_s(self, position: int, now: float) -> float:
        """Return how long those at a position wait, who are next, if no frame comes before."""
        log = self._log
        oldest_at = log.arrival_at(position)
        if oldest_at is None:
            return AT_ONCE_S
        waiting = log.count - log.number_at(position)
        return max(AT_ONCE_S, self._schedule.next_go_at(waiting, oldest_at) - now)

    def _begin_in_time(self, behind: int, now: float) -> None:
        """Begin the next round when it is due to those who have had their turn before something was flushed.

        It lies behind a position.
        """
        log, schedule = self._log, self._schedule
        if log.keyframe is not None and log.keyframe >= behind:
            schedule.keyframe()
        oldest_at = log.arrival_at(behind)
        assert oldest_at is not None, "there is something"
        self.behind_since = oldest_at
        due_at = schedule.due_at(log.count - log.number_at(behind), oldest_at, self._clock.pressure)
        delay_s = due_at + schedule.leeway_s + BEHIND_OUTPUT_S - now
        self._timer = self._clock.call_later(max(AT_ONCE_S, delay_s), self._next)


def _kick(players: list[Player]) -> None:
    for player in players:
        player.sink.kick()
