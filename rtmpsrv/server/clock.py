"""Time and timers on gevent's loop, and how busy the process is."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, process_time
from typing import Any

import gevent

from .load import Load, pressure, sample_s

IDLE_S = 10.0  # without anybody's timer, after which sampling stops: nobody asks for the load either


class LoopClock:
    """Monotonic time and timers that fire in the hub. Callbacks must not block. One for each hub."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = monotonic  # itself: it is asked for each message
        self.pressure = 0.0  # to merge: 0 up to a third of a core in the last second or so, 1 at a whole one
        self._load = Load(monotonic(), process_time())
        self._sampler: Any = None
        self._sample_s = 0.0  # between two looks of the sampler
        self._idle_s = 0.0

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        """Call `callback` once in the hub; the returned timer must be kept until then, or stopped."""
        loop = gevent.get_hub().loop
        self._idle_s = 0.0
        if self._sampler is None:
            self._sample_every(sample_s(self._load.share))
        timer = loop.timer(max(0.0, delay_s))
        # The loop knows the time at which it woke: after long work a timer would be that much early.
        timer.start(callback, update=True)
        return timer

    def sample(self) -> None:
        """Look how busy the process was. Called by a timer, which ends when nobody needs it for long."""
        self._load.note(monotonic(), process_time())
        share = self._load.share
        self.pressure = pressure(share)
        self._idle_s += self._sample_s
        if self._idle_s > IDLE_S:
            self._stop_sampling()
            self.pressure = 0.0
        elif sample_s(share) != self._sample_s:
            self._stop_sampling()
            self._sample_every(sample_s(share))

    def _sample_every(self, seconds: float) -> None:
        self._sample_s = seconds
        self._sampler = gevent.get_hub().loop.timer(seconds, seconds, ref=False)
        self._sampler.start(self.sample)

    def _stop_sampling(self) -> None:
        self._sampler.stop()
        self._sampler.close()
        self._sampler = None
