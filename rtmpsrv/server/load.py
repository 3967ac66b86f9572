"""How busy the process is, as a share of a core, and how much waiting that calls for. Arithmetic, no clock.

What a wait buys depends on the whole process: where it is idle, merging saves nothing that anybody needs.
"""

from __future__ import annotations

SAMPLE_S = 0.25  # between two looks at the CPU time; sooner ones would be too coarse
# The same while the process is far from having to wait: a look that finds a core asleep costs as much as a
# quarter of a frame for three players, and would be one wake-up of nine.
CALM_SAMPLE_S = 1.0
MEMORY_S = 1.0  # a sample loses its weight in about so long
FREE_SHARE = 1 / 3  # of a core: below it nothing waits
CALM_SHARE = FREE_SHARE / 2


class Load:
    """The share of a core that was used lately: told of CPU time, asked for the share."""

    __slots__ = ("_cpu_s", "now", "share")

    def __init__(self, now: float, cpu_s: float) -> None:
        """Begin at a monotonic time and a CPU time, both in seconds."""
        self.share = 0.0  # 0 to 1; a process with busy threads may use more, which counts as 1
        self.now = now  # of the last sample
        self._cpu_s = cpu_s

    def note(self, now: float, cpu_s: float) -> None:
        """Take a sample: every `SAMPLE_S` or so, or after a longer time."""
        passed = now - self.now
        if passed <= 0:
            return
        used = min(1.0, max(0.0, (cpu_s - self._cpu_s) / passed))
        weight = min(1.0, passed / MEMORY_S)
        self.share += (used - self.share) * weight
        self.now, self._cpu_s = now, cpu_s


def pressure(share: float) -> float:
    """Return 0.0 up to a third of a core, and in proportion to 1.0 at a whole one."""
    return max(0.0, share - FREE_SHARE) / (1 - FREE_SHARE)


def sample_s(share: float) -> float:
    """Return after how many seconds to look again."""
    return CALM_SAMPLE_S if share < CALM_SHARE else SAMPLE_S
