"""How late the event loop is: a timer that notes when it was called, against when it should have been."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import gevent

EVERY_S: Final = 0.5  # 40 us of CPU time each second: an idle process stays idle


class LoopLag:
    """Notes the lag from `start` to `stop`. Never blocks."""

    def __init__(self, note: Callable[[float], None], every_s: float = EVERY_S) -> None:
        self._note = note
        self._every_s = every_s
        self._due_at = 0.0
        self._timer: Any = None

    def start(self) -> None:
        """Begin. Idempotent."""
        if self._timer is None:
            # It repeats: one that had fired and was started anew would fire at once, and for ever.
            self._timer = gevent.get_hub().loop.timer(self._every_s, self._every_s, ref=False)
            self._due_at = monotonic() + self._every_s
            self._timer.start(self._called, update=True)

    def stop(self) -> None:
        """End. Idempotent."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _called(self) -> None:
        now = monotonic()
        self._note(max(0.0, now - self._due_at))
        self._due_at = max(self._due_at + self._every_s, now)  # as the loop does
