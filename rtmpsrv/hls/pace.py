"""Makers take turns on the hub, which they leave to others most of the time whatever is sent to them.

What one stream needs is far less. Where publishers flood, makers fall behind, and readings skip.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

SLICE_S: Final = 0.002  # that a maker works at a time
SHARE: Final = 0.4  # of the time, that all makers together may work
OWN_SHARE: Final = 0.1  # that one may

AT_ONCE: Final = 64  # messages
LAG_BYTES: Final = 8 << 20  # behind the publisher; more, and it goes on at the newest keyframe
LAG_S: Final = 5.0


class Pace:
    """One for all makers of a process. Never blocks."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self.now = now
        self._free_at = 0.0

    def rest_s(self, worked_s: float, own_share: float = OWN_SHARE) -> float:
        """Return how long a maker is to rest now that has worked for so long, and may for such a share."""
        now = self.now()
        self._free_at = max(self._free_at, now - worked_s) + worked_s / SHARE
        return max(self._free_at - now, worked_s / own_share - worked_s)
