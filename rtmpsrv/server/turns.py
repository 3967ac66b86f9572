"""Fair shares of the hub: how long one connection may work before the others have their turn.

Work is counted twice. By time: a turn is over after 1 ms, wherever it is. By units, which are messages, more
or less: they come back at 5,000 a second, so that whoever floods is read no faster than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import gevent
from gevent.event import Event

from ..errors import PeerLost

TURN_S = 0.001  # of work without giving way
UNITS_PER_S = 5000.0  # encoders send 100 to 200 messages a second
BURST_UNITS = 5000.0  # what was saved up: a start with everything that an encoder has buffered
FIRST_BURST_UNITS = 500.0  # the same before publish or play: ten times what clients need
SPENT_UNITS = 250.0  # the most that an encoder sends at once, but for its start
MAX_DEBT_UNITS = 5000.0  # a second's worth
# A turn that was overspent, since one message took so long, is paid back by an equal rest, except by who was
# granted something: a publisher's players may take that time. What seems longer was this process's own stop.
OVERSPENT_S = 0.004
MOST_PAID_BACK_S = 0.1
# Giving way takes a timer, since only that brings a round of the loop: after sleep(0) gevent runs the same
# greenlet up to 50 times before it looks at any socket (CALLBACK_CHECK_COUNT of its loops).
TURN_REST_S = 0.0001
SHORT_REST_S = 0.005  # nobody needs to interrupt it
LOOK_EVERY_S = 0.25  # while units are waited for nothing is read, so who hung up has to be looked for


@dataclass(slots=True)
class Account:
    """The units of one connection. Plain and picklable; time is the caller's, so no clock is in here."""

    units: float = FIRST_BURST_UNITS
    counted_at: float = 0.0  # monotonic seconds
    burst: float = FIRST_BURST_UNITS

    @property
    def trusted(self) -> bool:
        """Tell whether the connection has been granted something."""
        return self.burst >= BURST_UNITS

    def trust(self) -> None:
        """Let a connection work as it likes for a second, once: it may publish or play."""
        self.units += BURST_UNITS - self.burst
        self.burst = BURST_UNITS

    def has_saved(self, now: float) -> bool:
        """Tell whether it has nearly all that it may save up: it sends far less than it may."""
        return self.units + (now - self.counted_at) * UNITS_PER_S > self.burst - SPENT_UNITS

    def spend(self, units: int, now: float) -> float:
        """Take units away; return for how many seconds to do nothing, 0.0 for not at all.

        May be overdrawn by what one call does, and what is owed is waited for as a whole, not unit by unit:
        at most `MAX_DEBT_UNITS`, since whoever waits does not notice that it was told to stop.
        """
        if units <= self.units:  # what was earned since can wait: it is counted by time
            self.units -= units
            return 0.0
        earned = self.units + (now - self.counted_at) * UNITS_PER_S
        self.counted_at = now
        left = (earned if earned < self.burst else self.burst) - units
        if left >= 0:
            self.units = left
            return 0.0
        self.units = left = max(left, -MAX_DEBT_UNITS)
        return -left / UNITS_PER_S


class Share:
    """One greenlet's share of the hub."""

    __slots__ = ("_began", "_bell", "_has_left", "_interrupted", "_look_at", "_turns", "account", "now")

    def __init__(self, turns: Turns, account: Account, has_left: Callable[[], bool] | None) -> None:
        self._turns = turns
        self.account = account
        self.now = monotonic()  # when it was looked at last; in the same turn, so not long ago
        self._began = self.now
        self._has_left = has_left
        self._look_at = self.now + LOOK_EVERY_S
        self._bell: Event | None = None  # ends a wait for units
        self._interrupted = False

    def rested(self, now: float) -> None:
        """Take note that others could run until `now`: a new turn begins."""
        self.now = self._began = now

    def spend(self, units: int = 1) -> None:
        """Count work that was done; blocks when the turn is over or the units are used up.

        Raises PeerLost when units are waited for and the peer turns out to have left: what it sent before
        is more than it may.
        """
        account = self.account
        self.now = now = monotonic()
        rest_s = account.spend(units, now)
        if not account.trusted and now - self._began >= OVERSPENT_S:
            rest_s = max(rest_s, min(now - self._began, MOST_PAID_BACK_S))
        if rest_s:
            self._wait_for_units(now + rest_s)
        elif now - self._began >= TURN_S:
            self._turns.rest(0.0)
        else:
            return
        self.now = self._began = monotonic()

    def interrupt(self) -> None:
        """Wait for units no more, now and later. From any greenlet; never blocks."""
        self._interrupted = True
        if self._bell is not None:
            self._bell.set()

    def close(self) -> None:
        """Look for the peer no more, so that nothing keeps its session. Idempotent."""
        self._has_left = None

    def _wait_for_units(self, until: float) -> None:
        """Let the others run until then, for a round of the loop at least; look for the peer meanwhile."""
        now = monotonic()
        while True:
            if self._has_left is not None and now >= self._look_at:
                self._look_at = now + LOOK_EVERY_S
                if self._has_left():
                    raise PeerLost("closed by the peer")
            self._rest(max(TURN_REST_S, min(until - now, LOOK_EVERY_S)))
            now = monotonic()
            if now >= until or self._interrupted:
                return

    def _rest(self, rest_s: float) -> None:
        if self._interrupted or rest_s < SHORT_REST_S:
            self._turns.rest(min(rest_s, SHORT_REST_S))
            return
        self._bell = Event()
        try:
            self._turns.rest(rest_s, self._bell)
        finally:
            self._bell = None


class Turns:
    """Gives out shares. One for each hub; nothing of it is shared between threads."""

    def share(self, account: Account | None = None, has_left: Callable[[], bool] | None = None) -> Share:
        """Return a share for the greenlet that will use it: the units of an account, a look at its peer."""
        if account is None:
            account = Account(BURST_UNITS, monotonic(), BURST_UNITS)
        return Share(self, account, has_left)

    def rest(self, rest_s: float, bell: Event | None = None) -> None:
        """Let the others run, for a round of the loop or longer; at most until `bell` rings. Blocks."""
        if bell is None:
            gevent.sleep(max(rest_s, TURN_REST_S))
        else:
            bell.wait(rest_s)
