"""One who watches MP4: where it is, and what it is told. Never blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gevent.event import Event

from rtmpsrv.av.mp4_shelf import Reader, Shelf


class Movie(NamedTuple):
    """One configuration of a publication: what comes before all fragments, and these."""

    content_type: str
    init: bytes
    shelf: Shelf


class Viewer:
    """Told by one maker, asked by one handler, which waits for `news`."""

    def __init__(self, ends: Callable[[str], None] = lambda reason: None) -> None:
        """`ends` ends its connection, where it holds too much. Must not block."""
        self.news = Event()
        self.movie: Movie | None = None  # once there is something to be seen
        self.refusal = ""  # why there is nothing, and will be nothing
        self.is_over = False  # after what waits: the publication ended, or its configuration changed
        self._reader = Reader(ends)

    @property
    def left_out(self) -> int:
        """How many fragments it did not get, at least, since it was too slow."""
        return self._reader.left_out

    # --- the maker --------------------------------------------------------------------------------

    def begin(self, movie: Movie) -> None:
        """Show this from now on."""
        self.movie = movie
        movie.shelf.welcome(self._reader)
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
        """Return some of what waits; nothing: wait for `news`, unless it is over."""
        data = self.movie.shelf.take(self._reader) if self.movie is not None else b""
        if not data:
            self.news.clear()
        return data

    def leave(self) -> None:
        """Watch no more. Idempotent."""
        if self.movie is not None:
            self.movie.shelf.leave(self._reader)
