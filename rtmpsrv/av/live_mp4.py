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

from rtmpsrv.av.mp4_shelf import Shelf
from rtmpsrv.av.mp4_viewer import Movie, Viewer
from rtmpsrv.errors import MediaBusy, MediaLost, MediaRefused
from rtmpsrv.live.budget import WINDOWS
from rtmpsrv.live.header_history import Headers
from rtmpsrv.live.making import Cursor, Memory, Subscribe
from rtmpsrv.live.reading import NOWHERE, Batch, Began, Lost, Over
from rtmpsrv.log import Logger
from rtmpsrv.media.mp4_live import LiveFragments
from rtmpsrv.media.mp4_source import Mp4Source, Question, Selection, take_all
from rtmpsrv.server.turns import TURN_REST_S

LINGER_S: Final = 5.0  # without a viewer: one whose stream was over comes again at once
UNSETTLED_S: Final = 0.1  # between two looks while it is not known which tracks there are
AGAIN_S: Final = 1.0  # between two questions for first parts
MAX_AGAIN_S: Final = 60.0  # doubled each time what is sent ends the process that is asked
REFUSED_S: Final = 5.0  # what cannot be shown is tried again then, with other frames
PIECE: Final = 64  # messages of the log at one go
SLICE_S: Final = 0.0005  # of work; then others have their turn: there may be very many makers


class FirstParts(Protocol):
    """Makes them; see `av.process`."""

    def warm(self) -> None:
        """Be ready for a question soon. Never blocks."""

    def init(self, question: Question) -> bytes:
        """Return the first part. Blocks for seconds. Raises MediaRefused, MediaLost."""


class LiveMp4:
    """The maker for one channel and selection. `join` starts it; it ends by itself, or by `close`."""

    def __init__(
        self,
        subscribe: Subscribe,
        selection: Selection,
        first_parts: FirstParts,
        memory: Memory,
        log: Logger,
        *,
        now: Callable[[], float] = monotonic,
        linger_s: float = LINGER_S,
        ended: Callable[[], None] = lambda: None,
        rest_s: Callable[[float], float] = lambda worked_s: worked_s,
    ) -> None:
        """`subscribe` begins to read the channel, given whom to tell of news, and where.

        `rest_s` says how long to rest for who has worked for so long.
        """
        self.viewers: dict[Viewer, None] = {}
        self.movies = 0  # first parts that were shown
        self._subscribe = subscribe
        self.log = log
        self._selection = selection
        self._first_parts = first_parts
        self._memory = memory
        self._now = now
        self._linger_s = linger_s
        self._rest_s = rest_s
        self._worked_s, self._began = 0.0, 0.0  # since it rested; when it began to work
        self._ended = ended  # called when it makes nothing any more; `join` starts it again
        self._news = Event()
        self._running: gevent.Greenlet[[], None] | None = None
        self._source: Mp4Source | None = None
        self._fragments: LiveFragments | None = None  # once there is a movie
        self._movie: Movie | None = None
        self._refusal = ""  # of what is sent now
        self._refused_at = 0.0
        self._ask_at = 0.0
        self._again_s = AGAIN_S
        self._alone_since: float | None = None
        self._known: tuple[object, bytes] | None = None  # the last first part, and of what

    @property
    def is_running(self) -> bool:
        """Whether it makes something."""
        return self._running is not None

    def join(self, ends: Callable[[str], None] = lambda reason: None) -> Viewer:
        """Return a new viewer, which sees what there is from the newest keyframe on. Never blocks.

        `ends` is what ends its connection, where it holds too much.
        """
        if self._refusal and self._now() - self._refused_at >= REFUSED_S:
            self._refusal, self._source = "", None  # its first frames were broken, perhaps
        viewer = Viewer(ends)
        self.viewers[viewer] = None
        self._show(viewer)
        if self._running is None:
            self._running = gevent.spawn(self._run)
        if self._movie is None:
            self._first_parts.warm()
        self._news.set()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer. Idempotent, never blocks."""
        self.viewers.pop(viewer, None)
        viewer.leave()
        self._news.set()

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        kept = self._movie.shelf.size if self._movie is not None else 0
        return {"viewers": len(self.viewers), "movies": self.movies, "kept_bytes": kept}

    def drop(self, reason: str) -> None:
        """Let go of frames that wait for a first part, as the budget wants it."""
        if self._movie is None:
            self._source = None

    def close(self) -> None:
        """End it for all viewers. Idempotent. Blocks until its greenlet has ended."""
        if self._running is not None:
            self._running.kill()
            self._end()  # one that had not begun does not do so

    # --- private ----------------------------------------------------------------------------------

    def _run(self) -> None:
        """Read and make as long as somebody watches; the top of a greenlet."""
        reading: Cursor | None = None
        try:
            reading = self._subscribe(self._news.set, NOWHERE)
            while self._is_wanted():
                self._news.clear()
                if reading.is_closed:  # the channel is another process's, which sends it here from there on
                    reading = self._subscribe(self._news.set, reading.place)
                self._read(reading)
                self._make(self._now())
                self._news.wait(self._patience_s())
        except Exception:  # a bug of ours costs the viewers, not the stream
            self.log.exception("live MP4 failed")
        finally:
            if reading is not None:
                reading.close()
            self._end()

    def _end(self) -> None:
        if self._running is not None:
            self._running = None
            self._forget()
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
            return max(0.0, self._alone_since + self._linger_s - self._now())
        if self._source is None or self._movie is not None or self._refusal:
            return None
        return UNSETTLED_S

    def _read(self, reading: Cursor) -> None:
        self._began = monotonic()
        while (item := reading.read(PIECE)) is not None:
            if isinstance(item, Batch):
                take_all(item.messages, self._source, lambda: self._change(reading.headers))
            elif isinstance(item, Began):
                self._change(item.headers)
                self._first_parts.warm()
            elif isinstance(item, Over):
                self._finish()
            else:
                self._go_on(reading.headers, was_lost=isinstance(item, Lost))
            if self._is_tired():
                self._make()
                self._rest()
                if not self._is_wanted():
                    return  # whatever is left: there may be much, of somebody who publishes no more

    def _is_tired(self) -> bool:
        """Count work, and tell whether it is enough."""
        now = monotonic()
        self._worked_s += now - self._began
        self._began = now
        return self._worked_s >= SLICE_S

    def _rest(self) -> None:
        """Let others have their turn. Blocks."""
        rest_s, self._worked_s = self._rest_s(self._worked_s), 0.0
        gevent.sleep(max(rest_s, TURN_REST_S))  # a timer: else others have no turn for up to 50 slices
        self._began = monotonic()

    def _go_on(self, headers: Headers, *, was_lost: bool) -> None:
        """Go on at a keyframe, of another publisher or behind what was left out; or begin anew."""
        self._make()
        if self._source is None or not self._source.go_on(headers):
            self._change(headers)
        elif was_lost and self._fragments is not None:
            self._fragments.skip()

    def _change(self, headers: Headers) -> Mp4Source:
        """Begin another configuration; who watches the one before comes again."""
        self._finish()
        self._source = source = Mp4Source(headers, self._selection)
        return source

    def _finish(self) -> None:
        """Give viewers the last frames, and let them know."""
        if self._movie is not None:
            self._make()
        self._forget()

    def _forget(self) -> None:
        if self._movie is not None:
            self._movie.shelf.end()
            for viewer in [one for one in self.viewers if one.movie is not None]:
                viewer.end()
                del self.viewers[viewer]
        self._source = self._movie = self._fragments = None
        self._refusal = ""
        self._memory.hold(WINDOWS, self, 0)

    def _make(self, now: float = 0.0) -> None:
        """Give all viewers what has come; `now` where that is all there is."""
        source = self._source
        if source is None:
            return
        if self._refusal:
            source.samples()  # are kept for nobody
            return
        if self._movie is None and not self._has_begun(source, now):
            # Not this one's any more, where that took a while.
            self._memory.hold(WINDOWS, self, source.waiting_bytes if self._source is source else 0)
            return
        assert self._movie is not None
        assert self._fragments is not None
        samples = source.samples()  # there may be thousands, where a first part was waited for
        for at in range(0, len(samples), PIECE):
            for cut in self._fragments.cut(samples[at : at + PIECE]):
                self._movie.shelf.put(cut, self._now())
            for viewer in self.viewers:
                viewer.news.set()
            if self._is_tired():
                self._rest()

    def _has_begun(self, source: Mp4Source, now: float) -> bool:
        """Tell whether there is a movie, which may begin now. Blocks for seconds."""
        self._memory.hold(WINDOWS, self, source.waiting_bytes)  # while others wait; may drop it
        return self._source is source and source.ready(now) and self._begin(source)

    def _begin(self, source: Mp4Source) -> bool:
        """Ask for the first part, and show it to all; False where there is none. Blocks for seconds."""
        try:
            content_type = source.content_type
            init = self._init_of(source)
        except MediaRefused as exc:
            self._refusal, self._refused_at = str(exc), self._now()
            source.has_begun()  # nobody asks about these frames again
            source.samples()
            for viewer in list(self.viewers):
                self._show(viewer)
            return False
        except MediaBusy:
            self._ask_at = self._now() + AGAIN_S
            return False
        except MediaLost:  # whoever asks has logged it
            self._ask_at = self._now() + self._again_s
            self._again_s = min(2 * self._again_s, MAX_AGAIN_S)
            return False
        if init is None or self._source is not source:
            return False
        source.has_begun()
        self.movies += 1
        self._movie = Movie(content_type, init, Shelf(self._memory))
        self._fragments = LiveFragments(source.tracks)
        self._memory.hold(WINDOWS, self, 0)
        for viewer in self.viewers:
            self._show(viewer)
        return True

    def _init_of(self, source: Mp4Source) -> bytes | None:
        """Return a first part; None: not yet. The last one again, if nothing has changed since."""
        question = source.question
        is_all = all(one.config for one in source.tracks)  # else the frames say what it is
        key = [(one.kind, one.fourcc, one.config) for one in source.tracks] if is_all else None
        if key is not None and self._known is not None and self._known[0] == key:
            return self._known[1]  # some publishers come and go
        now = self._now()
        if now < self._ask_at:
            return None
        self._ask_at = now + AGAIN_S  # whatever is changed how often
        try:
            init = self._first_parts.init(question)
        finally:
            self._began = monotonic()  # that was not our work
        self._again_s = AGAIN_S
        self._known = (key, init)
        return init

    def _show(self, viewer: Viewer) -> None:
        """Let a viewer begin, if there is something."""
        if self._refusal:
            viewer.refuse(self._refusal)
            self.viewers.pop(viewer, None)
        elif self._movie is not None:
            viewer.begin(self._movie)
