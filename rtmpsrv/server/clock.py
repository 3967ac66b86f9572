"""Time and timers on gevent's loop, and how busy the process is."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, process_time
from typing import Any

import gevent

from .load import SAMPLE_S, Load, pressure

IDLE_SAMPLES = 40  # without anybody's timer, after which sampling stops: nobody asks for the load either


class LoopClock:
    """Monotonic time and timers that fire in the hub. Callbacks must not block. One for each hub."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = monotonic  # itself: it is asked for each message
        self.pressure = 0.0  # to merge: 0 up to a third of a core in the last second or so, 1 at a whole one
        self._load = Load(monotonic(), process_time())
        self._sampler: Any = None
        self._idle_samples = 0

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        """Call `callback` once in the hub; the returned timer must be kept until then, or stopped."""
        loop = gevent.get_hub().loop
        self._idle_samples = 0
        if self._sampler is None:
            self._sampler = loop.timer(SAMPLE_S, SAMPLE_S, ref=False)
            self._sampler.start(self.sample)
        timer = loop.timer(max(0.0, delay_s))
        timer.start(callback)
        return timer

    def sample(self) -> None:
        """Look how busy the process was. Called by a timer, which ends when nobody needs it for long."""
        self._load.note(monotonic(), process_time())
        self.pressure = pressure(self._load.share)
        self._idle_samples += 1
        if self._idle_samples > IDLE_SAMPLES:
            self._sampler.stop()
            self._sampler.close()
            self._sampler = None
            self.pressure = 0.0
