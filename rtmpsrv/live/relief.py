"""Who gives way when the process holds more than it may: what costs most goes first. Never blocks.

Caches, windows of HLS and MP4, and what else is there for viewers by HTTP are compared by their bytes, and
caches by how long they are kept, too. So whoever fills the memory pays for it, and the cache of a usual
stream stays. What is there for viewers by HTTP costs more than the cache of the same stream: it goes before.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from .budget import UNFINISHED, WINDOWS, Budget

if TYPE_CHECKING:
    from .channel import Channel
    from .output import Output

# Keyframes are seldom further apart. A younger cache is no cheaper for that: it may be of keyframes only.
USUAL_S: Final = 10.0
ASIDE_S: Final = 2 * USUAL_S  # as dear as a cache so old is what some viewers need, not all
SLACK_BITS: Final = 6  # of caches so small a part of the limit goes as well: looking at all is not cheap
WHY: Final = "the process holds too much"

Cache = tuple[float, float, int, "Output"]  # cost, below 0; age; a number of its own; whose it is


def relieve(budget: Budget, channels: list[Channel], now: float) -> None:
    """Bring what is held under the limit.

    What costs most goes first, of caches and of what viewers by HTTP need; then what laggards hold, then
    unfinished messages of whoever has most.
    """
    if budget.used_bytes > budget.limit_bytes:
        _shed(budget, channels, now)
    if budget.used_bytes > budget.limit_bytes:
        for channel in channels:
            channel.skip_laggards()
    while budget.used_bytes > budget.limit_bytes and budget.drop_largest(UNFINISHED, WHY):
        pass


def _shed(budget: Budget, channels: list[Channel], now: float) -> None:
    """Give back caches, windows, and what else is there for viewers by HTTP. Keeps no output in being."""
    outputs = [output for channel in channels for output in channel.outputs()]
    caches = [
        _cache(output, number, now)
        for number, output in enumerate(outputs)
        if output.log.first < output.log.end
    ]
    heapify(caches)
    asides = [(held, number, output) for number, output in enumerate(outputs) if (held := _aside(output))]
    asides.sort()
    enough = budget.limit_bytes - (budget.limit_bytes >> SLACK_BITS)
    while budget.used_bytes > enough:
        held, window = asides[-1][0] if asides else 0, budget.largest(WINDOWS)
        most = max(held, window)
        if caches and most * ASIDE_S < -caches[0][0]:
            _, _, number, output = heappop(caches)
            output.shed()
            if output.log.first < output.log.end:
                heappush(caches, _cache(output, number, now))
        elif not most or budget.used_bytes <= budget.limit_bytes:
            break
        elif window > held:
            budget.drop_largest(WINDOWS, WHY)
        else:
            asides.pop()[2].shed_aside()


def _cache(output: Output, number: int, now: float) -> Cache:
    """Return where a cache is among others: the dearest comes first, of equal ones the oldest."""
    log = output.log
    age_s = now - (log.oldest_kept_s() or now)
    return (log.first - log.end) * max(age_s, USUAL_S), -age_s, number, output


def _aside(output: Output) -> int:
    beside = output.beside
    return beside.spare_bytes(output.log, output.lowest()) if beside is not None else 0
