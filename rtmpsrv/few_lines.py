"""Log lines that a client may cause as often as it likes: some at once, then one a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 20  # so many that somebody does by hand, or a script once, are all there
EACH_S: Final = 1.0


class FewLines:
    """Lets lines out, and tells how many it kept back. Never blocks but in `emit`."""

    def __init__(self, emit: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._may = float(AT_ONCE)
        self._looked_at = clock()
        self._kept_back = 0

    def add(self, text: str) -> None:
        """Let a line out, with the count of those that were kept back before it; or keep it back."""
        now = self._clock()
        self._may = min(AT_ONCE, self._may + (now - self._looked_at) / EACH_S)
        self._looked_at = now
        if self._may < 1:
            self._kept_back += 1
            return
        self._may -= 1
        count, self._kept_back = self._kept_back, 0
        self._emit(f"{text} ({count} like it before were not logged)" if count else text)
