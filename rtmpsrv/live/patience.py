"""For how long a channel waits for a publisher to go on where another one stopped. Never blocks."""

from __future__ import annotations

from collections.abc import Callable

from .clock import Clock, Timer


class Patience:
    """A wait with an end. Changed by its channel only."""

    __slots__ = ("_clock", "_in_vain", "_timer", "_until")

    def __init__(self, clock: Clock, *in_vain: Callable[[], None]) -> None:
        """When nobody came by the end of a wait all of `in_vain` are called, in order."""
        self._clock = clock
        self._in_vain = in_vain
        self._timer: Timer | None = None  # while somebody is waited for
        self._until = 0.0

    @property
    def waits(self) -> bool:
        """Whether somebody is waited for."""
        return self._timer is not None

    @property
    def until(self) -> float | None:
        """The monotonic time of the end; None where nobody is waited for."""
        return self._until if self._timer is not None else None

    def wait(self, until: float | None) -> None:
        """Wait until a monotonic time, or until another one; None: no more."""
        self.stop()
        if until is not None:
            self._until = until
            self._timer = self._clock.call_later(max(0.0, until - self._clock.now()), self._give_up)

    def stop(self) -> None:
        """Wait no more. Idempotent."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _give_up(self) -> None:
        self.stop()
        for call in self._in_vain:
            call()
