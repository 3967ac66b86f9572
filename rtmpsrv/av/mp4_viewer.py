"""One who watches MP4: what waits for it, within bounds, and what it is told. Never blocks."""

from __future__ import annotations

from typing import Final, NamedTuple

from gevent.event import Event

from rtmpsrv.media.mp4_live import Cut

MAX_WAITING_BYTES: Final = 8 << 20  # that it has not taken; then it goes on at a keyframe


class Movie(NamedTuple):
    """One configuration of a publication: what comes before all fragments."""

    content_type: str
    init: bytes


class Viewer:
    """Fed by one maker, emptied by one handler, which waits for `news`."""

    def __init__(self) -> None:
        self.news = Event()
        self.movie: Movie | None = None  # once there is something to be seen
        self.refusal = ""  # why there is nothing, and will be nothing
        self.is_over = False  # after what waits: the publication ended, or its configuration changed
        self.left_out = 0  # fragments
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._skips = False

    # --- the maker --------------------------------------------------------------------------------

    def begin(self, movie: Movie, cuts: list[Cut]) -> None:
        """Show this from now on, beginning with these fragments; with none, at the next that can begin."""
        self.movie = movie
        self._skips = not cuts
        for cut in cuts:
            self.add(cut)
        self.news.set()

    def add(self, cut: Cut) -> None:
        """Add a fragment; leave it out where too much waits."""
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self.left_out += len(self._waiting)
            self._waiting, self._waiting_bytes = [], 0
            self._skips = True
        if self._skips and not cut.is_start:
            self.left_out += 1
            return
        self._skips = False
        self._waiting.append(cut.data)
        self._waiting_bytes += len(cut.data)
        self.news.set()

    def refuse(self, sentence: str) -> None:
        """Say that there is nothing for this viewer, and why."""
        self.refusal = sentence
        self.end()

    def end(self) -> None:
        """Nothing more comes. Idempotent."""
        self.is_over = True
        self.news.set()

    # --- the handler ------------------------------------------------------------------------------

    def take(self) -> bytes:
        """Return all that waits; nothing: wait for `news`, unless it is over."""
        if not self._waiting:
            self.news.clear()
            return b""
        data, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
        return data
