"""What media an FLV stream may announce, and who waits until that is known. Never blocks.

A player waits for ever for a kind of media that was announced and does not come, and cannot play one that
comes later than its header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..protocol import messages
from .clock import Clock, Timer
from .contents import Contents
from .header_history import Headers
from .player import Player
from .segment import AUDIO, VIDEO

# A header says that media comes, but only so long: some encoders announce audio and never send any.
TRUSTED_S: Final = 2.0
# From the beginning of a publication on both kinds may come: for so long nobody is told what does.
SETTLING_S: Final = 1.0

BOTH: Final = AUDIO | VIDEO
_KINDS: Final = {messages.AUDIO: AUDIO, messages.VIDEO: VIDEO}


class Lobby:
    """Changed by its way out only."""

    __slots__ = ("_clock", "_header_at", "_timer", "frames", "waiting")

    def __init__(self, clock: Clock, frames: int) -> None:
        """`frames` are kinds of media that have come."""
        self.frames = frames
        self.waiting: dict[Player, None] = {}
        self._clock = clock
        self._header_at: dict[int, float] = {}  # when the last one of a kind arrived
        self._timer: Timer | None = None

    def note_header(self, kind: int, arrival: float) -> None:
        """Take note of a header."""
        self._header_at[kind] = arrival

    def note_frame(self, kind: int) -> bool:
        """Take note of a frame; tell whether it is the first of its kind."""
        if self.frames & kind:
            return False
        self.frames |= kind
        return True

    def admit(
        self, player: Player, contents: Contents, headers: Headers, call: Callable[[], None]
    ) -> int | None:
        """Return the kinds of media to announce to a player; None: not known yet, it waits.

        `call` is called when that has lasted long enough; it has to take all who wait.
        """
        wanted = player.state.mask & BOTH
        now = self._clock.now()
        kinds = self._kinds(contents, headers, now) & wanted
        age_s = now - contents.publisher_at
        if kinds == wanted or (self.frames and age_s >= SETTLING_S):
            self.waiting.pop(player, None)
            return kinds
        self.waiting[player] = None
        if self._timer is None and age_s < SETTLING_S:
            self._timer = self._clock.call_later(SETTLING_S - age_s, call)
        return None

    def take_waiting(self) -> list[Player]:
        """Return all who wait, to be admitted once more."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        return list(self.waiting)

    def forget(self, player: Player) -> None:
        """Forget a player. Idempotent."""
        self.waiting.pop(player, None)

    def close(self) -> None:
        """Let nobody wait any more."""
        self.take_waiting()
        self.waiting.clear()

    def _kinds(self, contents: Contents, headers: Headers, now: float) -> int:
        """Return the kinds of media that have come, or that a new header announces."""
        kinds = self.frames
        for kind, arrival in self._header_at.items():
            if now - arrival < TRUSTED_S:
                kinds |= kind
        if now - contents.publisher_at < TRUSTED_S:
            for type_id, _ in headers:
                kinds |= _KINDS[type_id]
        return kinds
