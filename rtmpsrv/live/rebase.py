"""The times of an FLV stream: those of a publication, counted from its beginning, and never negative. Pure.

FLV's times have 32 bits and a sign: players take what lies 24.8 days after 0 for something before it.
"""

from __future__ import annotations

from typing import Final

from ..protocol.timestamps import signed_difference

MAX_TIME: Final = (1 << 31) - 1  # ms
# What is so little before the beginning belongs to it: audio that is older than the first picture.
EARLY_MS: Final = 1000
# Nobody waits for that much time to pass in media: beyond it a step back is the end of the numbers.
_NEAR_THE_END: Final = MAX_TIME - (1 << 30)


class Rebase:
    """Changed by the output that writes the times."""

    __slots__ = ("_base", "_last")

    def __init__(self, base: int) -> None:
        self._base = base  # the publication's time that is 0
        self._last = 0

    def time(self, timestamp: int) -> int | None:
        """Return the time for a timestamp; None where no time is left: the viewers' streams have to end.

        After a jump out of what can be said it goes on from the last time.
        """
        time = signed_difference(timestamp, self._base)
        if time < 0:
            if time >= -EARLY_MS:
                return 0
            if self._last > _NEAR_THE_END:
                return None
            self._base = (timestamp - self._last) & 0xFFFFFFFF
            time = self._last
        self._last = time
        return time
