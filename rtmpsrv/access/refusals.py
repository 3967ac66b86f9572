"""How long a refusal waits before it is told: who guesses keys gets slower. Pure: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from .limits import counted_as

FREE_REFUSALS = 3  # a mistyped key is no guess
FIRST_DELAY_S = 0.1
GROWTH = 2.0
LONGEST_DELAY_S = 2.0
FORGOTTEN_AFTER_S = 60.0  # without a further refusal
MAX_ADDRESSES = 10_000  # the one whose last refusal is longest ago makes room
TOLD_EVERY_S = 1.0


class RefusalDelay:
    """The refusals of each address, IPv6 by /64. `tell` gets how many there were since, and the last address.

    Never blocks: who refuses waits, with its client's connection open, so that one address can try no faster
    than its connections allow.
    """

    def __init__(self, tell: Callable[[int, str], object] = lambda count, address: None) -> None:
        self._tell = tell
        self._told_at = float("-inf")
        self._untold = 0
        self._total = 0
        self._slowed = 0
        # How many refusals and when the last one was; the longest ago comes first.
        self._refusals: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def refused(self, address: str, now: float) -> float:
        """Note a refusal at monotonic seconds `now`; return the seconds to wait before it is told."""
        key = counted_as(address)
        count, last = self._refusals.pop(key, (0, now))
        if now - last >= FORGOTTEN_AFTER_S:
            count = 0
        count += 1
        self._refusals[key] = count, now
        self._make_room(now)
        delay_s = _delay_s(count)
        self._count(address, delay_s, now)
        return delay_s

    def describe(self) -> dict[str, int]:
        """Say how many refusals there were, how many had to wait, and how many addresses are known."""
        return {"refused": self._total, "slowed": self._slowed, "addresses": len(self._refusals)}

    def _make_room(self, now: float) -> None:
        oldest = next(iter(self._refusals))
        if len(self._refusals) > MAX_ADDRESSES or now - self._refusals[oldest][1] >= FORGOTTEN_AFTER_S:
            del self._refusals[oldest]

    def _count(self, address: str, delay_s: float, now: float) -> None:
        self._total += 1
        self._slowed += delay_s > 0
        self._untold += 1
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            count, self._untold = self._untold, 0
            if count > 1:  # one has its own line, which says more
                self._tell(count, address)


def _delay_s(count: int) -> float:
    if count <= FREE_REFUSALS:
        return 0.0
    doublings = min(count - FREE_REFUSALS - 1, 16)  # no large powers: the longest delay is long reached
    return min(FIRST_DELAY_S * GROWTH**doublings, LONGEST_DELAY_S)
