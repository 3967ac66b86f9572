"""Whether goes of a round may wait for frames of their own: learnt from whether these came. No clock."""

from __future__ import annotations

from typing import Final

# A frame that did not come in time weighs as much as three that came: at 20 frames a second half of them do,
# and a publisher that is late once has not changed.
MISS: Final = 3
MOST_MISSED: Final = 15
AGAIN_S: Final = 30.0  # after so many misses nobody waits for so long


class FrameWaits:
    """What became of the waits of one output. Times are monotonic seconds."""

    __slots__ = ("_missed", "_until")

    def __init__(self) -> None:
        self._missed = 0
        self._until = 0.0

    def may_wait(self, now: float) -> bool:
        """Tell whether it is likely to pay."""
        return now >= self._until

    def came(self) -> None:
        """Take note of a frame that was waited for."""
        if self._missed:
            self._missed -= 1

    def missed(self, now: float) -> None:
        """Take note of one that did not come, or of goes that could not be given a frame each."""
        self._missed += MISS
        if self._missed >= MOST_MISSED:
            self._missed = 0
            self._until = now + AGAIN_S
