"""Which channels nobody may publish on for a while. Pure: the time is an argument."""

from __future__ import annotations

MAX_BLOCKS = 10_000  # the oldest makes room
MAX_BLOCK_S = 365 * 24 * 3600  # as long as anybody may close a channel


class Blocks:
    """Channels with the time until which they are closed."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # the last one that was asked for comes last

    def add(self, channel: str, seconds: float, now: float) -> None:
        """Close a channel from monotonic seconds `now` on, whatever was said before; 0 opens it."""
        self._until.pop(channel, None)
        if seconds > 0:
            self._make_room(now)
            self._until[channel] = now + seconds

    def has_room(self, channel: str, now: float) -> bool:
        """Tell whether a channel can be closed without that another one is opened."""
        if len(self._until) >= MAX_BLOCKS:
            for one in [one for one, until in self._until.items() if until <= now]:
                del self._until[one]
        return channel in self._until or len(self._until) < MAX_BLOCKS

    def left_s(self, channel: str, now: float) -> float:
        """Return for how many seconds a channel is closed still; 0 for an open one."""
        until = self._until.get(channel)
        if until is None:
            return 0.0
        if until <= now:
            del self._until[channel]
            return 0.0
        return until - now

    def left(self, now: float) -> dict[str, float]:
        """Return for how long each channel is closed still, in the order of `add`."""
        return {channel: until - now for channel, until in self._until.items() if until > now}

    def describe(self) -> dict[str, int]:
        """Say how many channels are in the book."""
        return {"blocked": len(self._until)}

    def _make_room(self, now: float) -> None:
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now and len(self._until) < MAX_BLOCKS:
                return
            del self._until[oldest]
