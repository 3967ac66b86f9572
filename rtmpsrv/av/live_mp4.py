"""Makes MP4 of what a channel sends, for all who watch the same tracks of it, while somebody does.

One response shows one publication in one configuration: at a change viewers are told that it is over, and
come again. The maker is a greenlet that gives way; nothing of it holds up the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event

from rtmpsrv.av.mp4_viewer import Movie, Viewer
from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.live.reading import Batch, Began, Item, Lost, Over, Spliced
from rtmpsrv.log import Logger
from rtmpsrv.media.mp4_live import Cut, LiveFragments
from rtmpsrv.media.mp4_source import Mp4Source, Question, Selection

LINGER_S: Final = 5.0  # without a viewer: one whose stream was over comes again at once
UNSETTLED_S: Final = 0.1  # between two looks while it is not known which tracks there are
AGAIN_S: Final = 1.0  # after the process that writes first parts was lost
MAX_GOP_BYTES: Final = 16 << 20  # kept for who comes later; of longer ones they wait for the next keyframe
MAX_GOP_CUTS: Final = 10_000
GIVE_WAY_AFTER: Final = 32  # pieces of the log

Headers = tuple[tuple[int, bytes], ...]


class Reading(Protocol):
    """A cursor over a channel's messages; see `live.reading`."""

    @property
    def is_closed(self) -> bool:
        """Whether the channel is another process's now."""

    @property
    def headers(self) -> Headers:
        """Those in force at what is read next."""

    def read(self) -> Item | None:
        """Return what comes next."""

    def close(self) -> None:
        """Be done."""


class LiveMp4:
    """The maker for one channel and selection. `join` starts it; it ends by itself, or by `close`."""

    def __init__(
        self,
        subscribe: Callable[[Callable[[], None]], Reading],
        selection: Selection,
        first_part: Callable[[Question], bytes],
        log: Logger,
        *,
        now: Callable[[], float] = monotonic,
        linger_s: float = LINGER_S,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`subscribe` begins to read the channel, given whom to tell of news; `first_part` blocks."""
        self.viewers: dict[Viewer, None] = {}
        self.movies = 0  # first parts that were made
        self._subscribe = subscribe
        self.log = log
        self._selection = selection
        self._first_part = first_part
        self._now = now
        self._linger_s = linger_s
        self._ended = ended  # called when it makes nothing any more; `join` starts it again
        self._news = Event()
        self._running: gevent.Greenlet[[], None] | None = None
        self._reading: Reading | None = None
        self._source: Mp4Source | None = None
        self._fragments: LiveFragments | None = None  # once there is a movie
        self._movie: Movie | None = None
        self._refusal = ""  # of what is sent now
        self._ask_at = 0.0
        self._alone_since: float | None = None
        self._known: tuple[object, bytes] | None = None  # the last first part, and of what
        self._gop: list[Cut] = []
        self._gop_bytes = 0

    @property
    def is_running(self) -> bool:
        """Whether it makes something."""
        return self._running is not None

    def join(self) -> Viewer:
        """Return a new viewer, which sees what there is from the newest keyframe on. Never blocks."""
        viewer = Viewer()
        self.viewers[viewer] = None
        self._show(viewer)
        if self._running is None:
            self._running = gevent.spawn(self._run)
        self._news.set()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer. Idempotent, never blocks."""
        self.viewers.pop(viewer, None)
        self._news.set()

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {"viewers": len(self.viewers), "movies": self.movies, "gop_bytes": self._gop_bytes}

    def close(self) -> None:
        """End it for all viewers. Idempotent. Blocks until its greenlet has ended."""
        if self._running is not None:
            self._running.kill()

    # --- private ----------------------------------------------------------------------------------

    def _run(self) -> None:
        """Read and make as long as somebody watches; the top of a greenlet."""
        self._reading = reading = self._subscribe(self._news.set)
        try:
            while self._is_wanted() and not reading.is_closed:
                self._news.clear()
                self._read(reading)
                self._make()
                self._news.wait(self._patience_s())
        except Exception:  # a bug of ours costs the viewers, not the stream
            self.log.exception("live MP4 failed")
        finally:
            self._running = self._reading = None
            self._forget()
            reading.close()
            for viewer in self.viewers:
                viewer.end()
            self.viewers.clear()
            self._ended()

    def _is_wanted(self) -> bool:
        if self.viewers:
            self._alone_since = None
            return True
        now = self._now()
        if self._alone_since is None:
            self._alone_since = now
        return now - self._alone_since < self._linger_s

    def _patience_s(self) -> float | None:
        """Return when to look again, though nothing comes; None: never."""
        if self._alone_since is not None:
            return self._linger_s
        if self._source is None or self._movie is not None or self._refusal:
            return None
        return UNSETTLED_S

    def _read(self, reading: Reading) -> None:
        count = 0
        while (item := reading.read()) is not None:
            count += 1
            if isinstance(item, Batch):
                self._take(item, reading)
            elif isinstance(item, Began):
                self._change(item.headers)
            elif isinstance(item, Spliced):
                if self._source is None or not self._source.go_on(item.headers):
                    self._change(item.headers)
            elif isinstance(item, Lost):
                if self._source is None or not self._source.go_on(reading.headers):
                    self._change(reading.headers)
                elif self._fragments is not None:
                    self._fragments.skip()
            elif isinstance(item, Over):
                self._finish()
            if count % GIVE_WAY_AFTER == 0:
                self._make()
                gevent.sleep(0)

    def _take(self, batch: Batch, reading: Reading) -> None:
        for type_id, _flags, timestamp, payload, arrival in batch.messages:
            if self._source is None:
                self._change(reading.headers)
            assert self._source is not None
            if not self._source.take(type_id, timestamp, payload, arrival):
                self._change(reading.headers)
                self._source.take(type_id, timestamp, payload, arrival)

    def _change(self, headers: Headers) -> None:
        """Begin another configuration; who watches the one before comes again."""
        self._finish()
        self._source = Mp4Source(headers, self._selection)

    def _finish(self) -> None:
        """Give viewers the last frames, and let them know."""
        if self._movie is not None:
            self._make()
        self._forget()

    def _forget(self) -> None:
        if self._movie is not None:
            for viewer in [one for one in self.viewers if one.movie is not None]:
                viewer.end()
                del self.viewers[viewer]
        self._source = self._movie = self._fragments = None
        self._refusal = ""
        self._gop, self._gop_bytes = [], 0

    def _make(self) -> None:
        """Give all viewers what has come."""
        source = self._source
        if source is None or self._refusal or not source.ready(self._now()):
            return
        if self._movie is None and not self._begin(source):
            return
        assert self._fragments is not None
        for cut in self._fragments.cut(source.samples()):
            self._keep(cut)
            for viewer in self.viewers:
                if viewer.movie is not None:
                    viewer.add(cut)

    def _begin(self, source: Mp4Source) -> bool:
        """Ask for the first part, and show it to all; False where there is none. Blocks for seconds."""
        if self._now() < self._ask_at:
            return False
        try:
            movie = Movie(source.content_type, self._init_of(source))
        except MediaRefused as exc:
            self._refusal = str(exc)
            for viewer in list(self.viewers):
                self._show(viewer)
            return False
        except MediaLost:  # whoever asks has logged it
            self._ask_at = self._now() + AGAIN_S
            return False
        self.movies += 1
        self._movie = movie
        self._fragments = LiveFragments(source.tracks)
        for viewer in self.viewers:
            self._show(viewer)
        return True

    def _init_of(self, source: Mp4Source) -> bytes:
        """Return a first part; the last one, if nothing has changed since: some publishers come and go."""
        question = source.question
        is_all = all(one.config for one in source.tracks)  # else the frames say what it is
        key = [(one.kind, one.fourcc, one.config) for one in source.tracks] if is_all else None
        if key is not None and self._known is not None and self._known[0] == key:
            return self._known[1]
        init = self._first_part(question)
        self._known = (key, init)
        return init

    def _keep(self, cut: Cut) -> None:
        """Keep what who comes later begins with."""
        if cut.is_start:
            self._gop, self._gop_bytes = [], 0
        elif not self._gop:
            return
        self._gop.append(cut)
        self._gop_bytes += len(cut.data)
        if self._gop_bytes > MAX_GOP_BYTES or len(self._gop) > MAX_GOP_CUTS:
            self._gop, self._gop_bytes = [], 0

    def _show(self, viewer: Viewer) -> None:
        """Let a viewer begin, if there is something."""
        if self._refusal:
            viewer.refuse(self._refusal)
            self.viewers.pop(viewer, None)
        elif self._movie is not None:
            viewer.begin(self._movie, self._gop)
