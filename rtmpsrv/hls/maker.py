"""Makes the HLS of one channel while somebody asks for it; who waits for more is woken.

A greenlet that reads behind the publisher, and gives way; nothing of it holds up the stream. It ends by
itself; the numbering, which is its owner's, outlives it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic, time
from typing import Any, Final

import gevent
from gevent.event import Event

from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.hls.changes import Changes
from rtmpsrv.hls.pace import AT_ONCE, LAG_BYTES, LAG_S, SLICE_S, Pace
from rtmpsrv.live.budget import WINDOWS
from rtmpsrv.live.header_history import Headers
from rtmpsrv.live.making import Cursor, Memory, Subscribe
from rtmpsrv.live.reading import NOWHERE, Batch, Began, Item, Lost, Over, Place, Spliced
from rtmpsrv.log import Logger
from rtmpsrv.media import hls_moved
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.hls_playlist import index_of, media_playlist
from rtmpsrv.media.hls_stream import HlsStream
from rtmpsrv.media.hls_window import Window
from rtmpsrv.media.mp4_init import picture_size
from rtmpsrv.media.mp4_source import Mp4Source, Question, take_all
from rtmpsrv.protocol.messages import VIDEO

CLOSE_S: Final = 60.0  # after the last request, or after the publisher has gone
UNSETTLED_S: Final = 0.1  # between two looks while it is not known which tracks there are
AGAIN_S: Final = 1.0  # between two questions for a first part; more after each that was lost
LONGEST_AGAIN_S: Final = 60.0
SAVED_S: Final = 8.0  # of these pauses that a stream need not make which has not asked for as long
REFUSED_S: Final = 5.0  # then who asks may try again: the first frames were broken, perhaps
REST_S: Final = 30.0  # after it was given up: until somebody may try again
TOO_LARGE: Final = "This stream needs more memory for HLS than there is; the other formats play it"
FAILED: Final = "HLS of this channel failed; the log says why"

MOST_MOVED: Final = 48 << 20  # bytes of a window that another process gets; of more it makes a new one
MOVED: Final = ("on_air", "refusal", "codecs", "picture", "is_sound", "_has_begun", "_gone_at", "_index")


class Maker:
    """Of one channel. Its window and stream are changed by its greenlet only."""

    def __init__(
        self,
        subscribe: Subscribe,
        first_part: Callable[[Question], bytes],
        numbering: Numbering,
        window_ms: int,
        memory: Memory,
        log: Logger,
        *,
        moved: dict[str, Any] | None = None,
        pace: Pace | None = None,
        now: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        """`subscribe` begins to read the channel, given whom to tell of news and where; `first_part` blocks.

        With what a maker in another process `moved` it goes on where that was.
        """
        self.window = Window(numbering, window_ms)
        self.on_air = False  # somebody publishes, or is waited for
        self.refusal = ""  # why what is sent cannot be shown
        self.codecs = ""
        self.picture: tuple[int, int] | None = None
        self.given_up = False  # it makes nothing any more, and says why not for a while
        self.is_sound = False  # and nothing else
        self._subscribe = subscribe
        self._first_part = first_part
        self._memory = memory
        self.log = log
        self._now, self._wall = now, wall
        self._stream = HlsStream(self.window)
        self._source: Mp4Source | None = None
        self._has_begun = False  # the configuration of the source is in the stream
        self._asked_at = now()
        self._gone_at: float | None = None  # the publisher
        self._ask_at, self._again_s = 0.0, AGAIN_S
        self._refused_at, self._tries_again = 0.0, False
        self._pace = pace or Pace()
        self._worked_s = self._waited_s = 0.0  # since it rested; for first parts, meanwhile
        self._counted = 0
        self._index = b""
        self._changes = Changes()
        self._ready: dict[tuple[bool, bool], bytes] = {}  # playlists as they are now
        self._news = Event()
        self._reading: Cursor | None = None
        if moved is not None:
            self._take_up(moved)
        self._running: gevent.Greenlet[[], None] | None = gevent.spawn(self._run)

    @property
    def is_running(self) -> bool:
        """Whether it makes something; one that has ended is of no use any more."""
        return self._running is not None

    @property
    def changed(self) -> Event:
        """What one of those who wait is to wait for: set once, when there is more."""
        return self._changes.event()

    def asked(self, *, with_key: bool = False) -> None:
        """Take note that somebody asks, perhaps with a key: it goes on, or is tried again. Never blocks."""
        if with_key:
            self.window.be_locked()
        self._asked_at = now = self._now()
        if self.refusal and not self.given_up and now - self._refused_at >= REFUSED_S:
            self._tries_again = True
            self._news.set()

    def playlist(self, low_latency: bool, skip: bool) -> bytes:
        """Return the media playlist as it is now; made once for all. Never blocks."""
        ready = self._ready.get((low_latency, skip))
        if ready is None:
            ready = media_playlist(self.window, low_latency, skip).encode()
            self._ready[low_latency, skip] = ready
        return ready

    def multivariant(self) -> bytes:
        """Return the playlist that names the media playlist; there is a segment. Never blocks."""
        if not self._index:  # the same for as long as the configuration is
            self._index = index_of(self.window, self.codecs, self.picture, self.is_sound).encode()
        return self._index

    def drop(self, reason: str) -> None:
        """Make and hold nothing any more: there is too much. Never blocks."""
        self._counted = 0
        if not self.given_up:
            self.log.warning("HLS given up: %s", reason)
            self._give_up(TOO_LARGE)

    def close(self) -> None:
        """End it. Idempotent. Blocks until its greenlet has ended."""
        if self._running is not None:
            self._running.kill()

    def snapshot(self, most: int = MOST_MOVED) -> dict[str, Any] | None:
        """Return what a maker elsewhere goes on with, `most` bytes; None: it begins anew. Never blocks."""
        reading = self._reading
        if reading is None or self.given_up:
            return None
        found = hls_moved.snapshot(self.window, self._stream, self._source, min(most, MOST_MOVED))
        return found and {**found, **{name: getattr(self, name) for name in MOVED}, "place": reading.place}

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {**self.window.describe(), "on_air": self.on_air}

    # --- private ----------------------------------------------------------------------------------

    def _run(self) -> None:
        """Read and make as long as somebody asks; the top of a greenlet."""
        reading = self._reading
        try:
            reading = self._reading = reading or self._begin_to_read(NOWHERE)
            while self._is_wanted() and not self.given_up:
                self._news.clear()
                if self._tries_again:
                    self._source, self.refusal, self._tries_again = None, "", False
                if reading.is_closed:  # a replica goes on in another process; this one for who stays here
                    reading = self._reading = self._begin_to_read(reading.place)
                self._read(reading)
                self._make(self._now())
                self._news.wait(self._patience_s())
            if self.given_up:
                self._rest(reading)
        except Exception:  # a bug of ours costs those who watch this, not the stream
            self.log.exception("HLS failed")
            self._give_up(FAILED)
            self._rest(reading)
        finally:
            self._running = None
            self.on_air = False
            if reading is not None:
                reading.close()
            self._memory.hold(WINDOWS, self, 0)
            self._tell()

    def _take_up(self, moved: dict[str, Any]) -> None:
        """Be what another maker was."""
        self._source = hls_moved.restore(moved, self.window, self._stream)
        for name in MOVED:
            setattr(self, name, moved[name])
        self._count()
        self._reading = self._begin_to_read(moved["place"])
        self._news.set()

    def _begin_to_read(self, place: Place) -> Cursor:
        reading = self._subscribe(self._news.set, place)
        reading.allow(LAG_BYTES, LAG_S)
        return reading

    def _give_up(self, why: str) -> None:
        """Hold nothing any more; the greenlet ends when it comes to it."""
        self.given_up, self.on_air, self.refusal = True, False, why
        self._source, self._has_begun = None, False
        self.window = Window(self.window.numbering, 0)
        self._stream = HlsStream(self.window)
        self._news.set()
        self._tell()

    def _rest(self, reading: Cursor | None) -> None:
        """Stay for a while, and say why there is nothing: else the next one who asks begins it all again."""
        if reading is not None:
            reading.close()
        self._source = None
        self._memory.hold(WINDOWS, self, 0)
        gevent.sleep(REST_S)

    def _is_wanted(self) -> bool:
        now = self._now()
        gone_at = self._gone_at
        return now - self._asked_at < CLOSE_S and (gone_at is None or now - gone_at < CLOSE_S)

    def _patience_s(self) -> float:
        """Return when to look again, though nothing comes."""
        if self._source is None or self._has_begun or self.refusal:
            return CLOSE_S / 4
        return UNSETTLED_S

    def _read(self, reading: Cursor) -> None:
        pace = self._pace
        began, self._waited_s = pace.now(), 0.0
        while not self.given_up and (item := reading.read(AT_ONCE)) is not None:
            self._on(item, reading)
            self._make()  # all of it, before others come: what is moved is at a place
            now = pace.now()
            self._worked_s += now - began - self._waited_s
            began, self._waited_s = now, 0.0
            if self._worked_s >= SLICE_S:
                rest_s, self._worked_s = pace.rest_s(self._worked_s), 0.0
                gevent.sleep(rest_s)
                began = pace.now()

    def _on(self, item: Item, reading: Cursor) -> None:
        if isinstance(item, Batch):
            take_all(item.messages, self._source, lambda: self._change(reading.headers))
        elif isinstance(item, Over):
            self._gone_at, self.on_air = self._now(), False
            self._forget()
            self._tell()  # who waits for a publisher that has gone is told so
        else:
            assert isinstance(item, (Began, Spliced, Lost))
            self._gone_at, self.on_air = None, True
            if isinstance(item, Began) or self._source is None or not self._goes_on(self._source, reading):
                self._change(reading.headers)
            if self.window.change_lock(reading.lock, goes_on=not isinstance(item, Began)):
                self._tell()

    def _goes_on(self, source: Mp4Source, reading: Cursor) -> bool:
        """Tell whether it is the same configuration behind a loss, or of another publisher."""
        self._make()
        if not source.go_on(reading.headers):
            return False
        if self._stream.finish(self._now(), self._wall_ms()):
            self._tell()
        return True

    def _change(self, headers: Headers) -> Mp4Source:
        """Begin another configuration, behind a discontinuity."""
        self._make()
        self._forget()
        self._source = source = Mp4Source(headers)
        return source

    def _forget(self) -> None:
        """End the configuration; what was made stays."""
        self._make(inf)
        self._source, self._has_begun = None, False
        if not self.given_up:
            self.refusal = ""
        if self._stream.finish(self._now(), self._wall_ms()):
            self._tell()
        self._count()

    def _make(self, now: float = 0.0) -> None:
        """Cut what has come; `now` where that is all there is, later where no other tracks are waited for."""
        source = self._source
        if source is None:
            return
        if self.refusal:
            source.samples()  # are kept for nobody
            return
        if not source.ready(now) or not (self._has_begun or self._begin(source)):
            self._count()
            return
        if self._stream.take(source.samples(), self._now(), self._wall_ms()):
            self._tell()
        self._count()

    def _begin(self, source: Mp4Source) -> bool:
        """Ask for the first part; False where there is none. Blocks for seconds."""
        if self._now() < self._ask_at:
            return False
        self._ask_at = max(self._ask_at, self._now() - SAVED_S) + AGAIN_S
        again_s, self._again_s = self._again_s, AGAIN_S
        began = self._pace.now()
        try:
            init = self._first_part(source.question)
            picture = picture_size(init)
            codecs = source.content_type.partition('codecs="')[2].rstrip('"')
        except MediaRefused as exc:
            self.refusal, self._refused_at = str(exc), self._now()
            self._tell()
            return False
        except MediaLost:  # whoever asks has logged it; others need that process, too
            self._ask_at = self._now() + again_s
            self._again_s = min(2 * again_s, LONGEST_AGAIN_S)
            return False
        finally:
            self._waited_s += self._pace.now() - began
        if self.given_up:  # meanwhile
            return False
        leading = next((one.number for one in source.tracks if one.kind == VIDEO), source.tracks[0].number)
        self._stream.begin(init, leading, source.has_video)
        self.codecs, self.picture, self.is_sound = codecs, picture, not source.has_video
        self._index = b""
        self._has_begun = True
        return True

    def _tell(self) -> None:
        """Wake all who wait."""
        self._ready.clear()
        self._changes.tell()

    def _count(self) -> None:
        """Count what is held; hold less where there is too much."""
        memory = self._memory
        if memory.is_pressed(WINDOWS):
            self.window.shed(self._now())
        size = self.window.size + self._stream.kept_bytes
        if self._source is not None:
            size += self._source.waiting_bytes
        if size != self._counted:
            self._counted = size
            memory.hold(WINDOWS, self, size)  # may drop us

    def _wall_ms(self) -> int:
        return int(self._wall() * 1000)
