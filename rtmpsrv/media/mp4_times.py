"""A publisher's times as a time that goes on: 32 bits wrap, and may jump. Pure."""

from __future__ import annotations

from typing import Final

MAX_JUMP_MS: Final = 10_000  # between two messages; more is an error of the publisher's, and bridged
BRIDGE_MS: Final = 20
_HALF: Final = 1 << 31


class Times:
    """Of one configuration; changed by its reader only."""

    def __init__(self) -> None:
        self._raw: int | None = None
        self._now = 0
        self._top = 0

    def snapshot(self) -> list[int]:
        """Return plain values for `resume`; there was a message."""
        assert self._raw is not None, "what was settled has had frames"
        return [self._raw, self._now, self._top]

    def resume(self, value: list[int]) -> None:
        """Go on from there."""
        raw, now, top = value
        self._raw, self._now, self._top = int(raw), int(now), int(top)

    def place(self, timestamp: int) -> int:
        """Return the time of a message."""
        if self._raw is None:
            self._now = self._top = timestamp
        else:
            step = (timestamp - self._raw + _HALF) % (2 * _HALF) - _HALF
            self._now += step
            if step > MAX_JUMP_MS or self._now < self._top - MAX_JUMP_MS:
                self._now = self._top + BRIDGE_MS
            self._top = max(self._top, self._now)
        self._raw = timestamp
        return self._now
