"""Time, as live/ knows it: declared here, since who brings it is above. Tests bring their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call to come."""

    def stop(self) -> None:
        """Do not call, if that has not happened yet."""


class Clock(Protocol):
    """Time, timers and how busy the process is."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback`, which must not block, once after `delay_s`; keep the result until then."""

    @property
    def pressure(self) -> float:
        """How much the process has to merge: 0 while it is not busy, 1 when it lately used a whole core."""
