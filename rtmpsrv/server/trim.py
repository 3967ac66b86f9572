"""Memory that sessions have freed, given back to the system: the C library keeps most of it.

A publisher's media lies in the heap between what others hold, so the end of the heap is seldom free. Where
the library is not glibc nothing happens here.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from .clock import LoopClock

MUCH_BYTES = 4 << 20  # received by sessions that ended since: less is not worth a look
DELAY_S = 1.0  # several sessions may end together
LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3  # malloc.h of glibc
# Trimming stops everything: 34 ms for 100 MB, 113 ms for 500 MB. So it rests 50 times as long as it took.
REST_FACTOR = 50
COLLECTOR_THRESHOLDS = 50_000, 10, 10  # allocations before the youngest generation, and how often the others


class Trim:
    """Trims the heap some time after somebody has freed much. One for each hub."""

    def __init__(self, clock: LoopClock, trim: Callable[[], None] | None = None) -> None:
        self._clock = clock
        self._trim = trim or _trim
        self._timer: object = None
        self._freed_bytes = 0
        self._rests_until = 0.0

    def freed(self, count: int) -> None:
        """Take note that so many bytes, or some of them, were let go of. Never blocks."""
        self._freed_bytes += count
        if self._freed_bytes >= MUCH_BYTES and self._timer is None:
            delay_s = max(DELAY_S, self._rests_until - self._clock.now())
            self._timer = self._clock.call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._freed_bytes = 0
        began = self._clock.now()
        self._trim()
        ended = self._clock.now()
        self._rests_until = ended + REST_FACTOR * (ended - began)


def tune_collector() -> None:
    """Let the garbage collector look at what a running server makes, and seldom.

    Nothing on the way of media is part of a cycle, and what was imported stays: walking through all that
    again and again was a tenth of the CPU of 300 publishers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def keep_large_blocks_apart() -> bool:
    """Let blocks of a mebibyte and more never be part of the heap: freed, they go back to the system.

    glibc begins so, but once such a block was freed (an unfinished message, say) it puts the next ones into
    the heap. For the whole process; False where the C library has no such setting.
    """
    import ctypes  # only where it is needed: loading it takes some ms

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))


def _trim() -> None:
    import ctypes  # only where it is needed: loading it takes some ms

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
