"""Time and timers on gevent's loop, and how reads of a busy server are merged."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from greenlet import getcurrent, greenlet

# A wake-up of a publisher's greenlet costs about 50 us, whatever it brings. Each publisher rests this long
# per other publisher after a read, so that reading takes a small share of a core whatever their number.
READ_REST_S = 0.0004
MAX_READ_REST_S = 0.04  # but no message waits longer than this to be read


class LoopClock:
    """Monotonic time and timers that fire in the hub. Callbacks must not block."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        """Call `callback` once in the hub; the returned timer must be kept until then, or stopped."""
        timer = gevent.get_hub().loop.timer(delay_s)
        timer.start(callback)
        return timer


class ReadPacer:
    """How long a publisher's reader rests between reads: nothing while there are few publishers.

    Resting readers are woken together by one timer: the loop turns once for all of them instead of once
    for each, which was a quarter of the CPU of 100 publishers.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._publishers = 0
        self._resting: dict[greenlet, None] = {}  # in the order in which they came
        self._timer: object = None
        self._clock = LoopClock()
        self.rest_s = 0.0

    def rest(self) -> None:
        """Wait for the next common wake-up, at most `rest_s`. Blocks."""
        me = getcurrent()
        self._resting[me] = None
        if self._timer is None:
            self._timer = self._clock.call_later(self.rest_s, self._wake)
        try:
            gevent.get_hub().switch()
        finally:
            self._resting.pop(me, None)

    def _wake(self) -> None:
        """Run in the hub: switch to each reader in turn; each comes back here when it waits again."""
        self._timer = None
        for reader in list(self._resting):
            if self._resting.pop(reader, self) is None:
                reader.switch()

    def publisher_began(self) -> None:
        self._change(1)

    def publisher_ended(self) -> None:
        self._change(-1)

    def _change(self, by: int) -> None:
        self._publishers += by
        if self._enabled:
            self.rest_s = min(MAX_READ_REST_S, READ_REST_S * max(0, self._publishers - 1))
