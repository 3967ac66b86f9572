"""Makes the HLS of one channel while somebody asks for it; all who wait for more are woken at once.

A greenlet that reads behind the publisher, and gives way; nothing of it holds up the stream. It ends by
itself; the numbering, which is its owner's, outlives it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event

from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.live.reading import Batch, Began, Item, Lost, Over, Spliced
from rtmpsrv.log import Logger
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.hls_playlist import media_playlist, multivariant
from rtmpsrv.media.hls_stream import AS_USUAL, HlsStream, Wishes
from rtmpsrv.media.hls_window import Window
from rtmpsrv.media.mp4_source import Mp4Source, Question
from rtmpsrv.protocol.messages import VIDEO

CLOSE_S: Final = 60.0  # after the last request, or after the publisher has gone
UNSETTLED_S: Final = 0.1  # between two looks while it is not known which tracks there are
AGAIN_S: Final = 1.0  # after the process that writes first parts was lost
GIVE_WAY_AFTER: Final = 32  # pieces of the log
KIND: Final = "log"  # as the budget counts it
MARGIN: Final = 1.2  # of the bandwidth that is told over the peak that was seen: it is not told anew
BANDWIDTH_STEP: Final = 100_000

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


class Memory(Protocol):
    """What all channels hold together."""

    used_bytes: int
    limit_bytes: int

    def change(self, kind: str, by: int) -> None:
        """Count bytes."""


class Maker:
    """Of one channel. Its window and stream are changed by its greenlet only."""

    def __init__(
        self,
        subscribe: Callable[[Callable[[], None]], Reading],
        first_part: Callable[[Question], bytes],
        numbering: Numbering,
        window_ms: int,
        memory: Memory,
        log: Logger,
        *,
        wishes: Wishes = AS_USUAL,
        now: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        """`subscribe` begins to read the channel, given whom to tell of news; `first_part` blocks."""
        self.window = Window(numbering, window_ms)
        self.changed = Event()  # set once, when there is more; then it is another one
        self.on_air = False  # somebody publishes, or is waited for
        self.refusal = ""  # why what is sent cannot be shown
        self.codecs = ""
        self.is_sound = False  # and nothing else
        self._subscribe = subscribe
        self._first_part = first_part
        self._memory = memory
        self.log = log
        self._now, self._wall = now, wall
        self._stream = HlsStream(self.window, wishes)
        self._source: Mp4Source | None = None
        self._has_begun = False  # the configuration of the source is in the stream
        self._asked_at = now()
        self._gone_at: float | None = None  # the publisher
        self._ask_at = 0.0
        self._counted = 0
        self._bandwidth = 0
        self._ready: dict[tuple[bool, bool], bytes] = {}  # playlists as they are now
        self._news = Event()
        self._running: gevent.Greenlet[[], None] | None = gevent.spawn(self._run)

    @property
    def is_running(self) -> bool:
        """Whether it makes something; one that has ended is of no use any more."""
        return self._running is not None

    def asked(self) -> None:
        """Take note that somebody asks: it goes on. Never blocks."""
        self._asked_at = self._now()

    def playlist(self, low_latency: bool, skip: bool) -> bytes:
        """Return the media playlist as it is now; made once for all. Never blocks."""
        ready = self._ready.get((low_latency, skip))
        if ready is None:
            ready = media_playlist(self.window, low_latency, skip).encode()
            self._ready[low_latency, skip] = ready
        return ready

    def multivariant(self) -> bytes:
        """Return the playlist that names the media playlist; there is a segment. Never blocks."""
        if not self._bandwidth:
            self._bandwidth = -int(-self.window.peak_bits * MARGIN // BANDWIDTH_STEP) * BANDWIDTH_STEP
        return multivariant(self.codecs, max(self._bandwidth, BANDWIDTH_STEP)).encode()

    def close(self) -> None:
        """End it. Idempotent. Blocks until its greenlet has ended."""
        if self._running is not None:
            self._running.kill()

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {**self.window.describe(), "on_air": self.on_air}

    # --- private ----------------------------------------------------------------------------------

    def _run(self) -> None:
        """Read and make as long as somebody asks; the top of a greenlet."""
        reading: Reading | None = None
        try:
            reading = self._subscribe(self._news.set)
            while self._is_wanted() and not reading.is_closed:
                self._news.clear()
                self._read(reading)
                self._make()
                self._news.wait(self._patience_s())
        except Exception:  # a bug of ours costs those who watch this, not the stream
            self.log.exception("HLS failed")
        finally:
            self._running = None
            self.on_air = False
            if reading is not None:
                reading.close()
            self._memory.change(KIND, -self._counted)
            self._counted = 0
            self._tell()

    def _is_wanted(self) -> bool:
        now = self._now()
        gone_at = self._gone_at
        return now - self._asked_at < CLOSE_S and (gone_at is None or now - gone_at < CLOSE_S)

    def _patience_s(self) -> float:
        """Return when to look again, though nothing comes."""
        if self._source is None or self._has_begun or self.refusal:
            return CLOSE_S / 4
        return UNSETTLED_S

    def _read(self, reading: Reading) -> None:
        count = 0
        while (item := reading.read()) is not None:
            count += 1
            self._on(item, reading)
            if count % GIVE_WAY_AFTER == 0:
                self._make()
                gevent.sleep(0)

    def _on(self, item: Item, reading: Reading) -> None:
        if isinstance(item, Batch):
            self._take(item, reading)
        elif isinstance(item, Over):
            self._gone_at, self.on_air = self._now(), False
            self._forget()
            self._tell()  # who waits for a publisher that has gone is told so
        else:
            assert isinstance(item, (Began, Spliced, Lost))
            self._gone_at, self.on_air = None, True
            if isinstance(item, Began) or self._source is None or not self._goes_on(self._source, reading):
                self._change(reading.headers)

    def _take(self, batch: Batch, reading: Reading) -> None:
        for type_id, _flags, timestamp, payload, arrival in batch.messages:
            if self._source is None:
                self._change(reading.headers)
            assert self._source is not None
            if not self._source.take(type_id, timestamp, payload, arrival):
                self._change(reading.headers)
                self._source.take(type_id, timestamp, payload, arrival)

    def _goes_on(self, source: Mp4Source, reading: Reading) -> bool:
        """Tell whether it is the same configuration behind a loss, or of another publisher."""
        self._make()
        if not source.go_on(reading.headers):
            return False
        if self._stream.finish(self._now(), self._wall_ms()):
            self._tell()
        return True

    def _change(self, headers: Headers) -> None:
        """Begin another configuration, behind a discontinuity."""
        self._make()
        self._forget()
        self._source = Mp4Source(headers)

    def _forget(self) -> None:
        """End the configuration; what was made stays."""
        self._make()
        self._source, self._has_begun, self.refusal = None, False, ""
        if self._stream.finish(self._now(), self._wall_ms()):
            self._tell()
        self._count()

    def _make(self) -> None:
        """Cut what has come."""
        source = self._source
        if source is None or self.refusal or not source.ready(self._now()):
            return
        if not self._has_begun and not self._begin(source):
            return
        if self._stream.take(source.samples(), self._now(), self._wall_ms()):
            self._tell()
        self._count()

    def _begin(self, source: Mp4Source) -> bool:
        """Ask for the first part; False where there is none. Blocks for seconds."""
        if self._now() < self._ask_at:
            return False
        try:
            init = self._first_part(source.question)
            codecs = source.content_type.partition('codecs="')[2].rstrip('"')
        except MediaRefused as exc:
            self.refusal = str(exc)
            self._tell()
            return False
        except MediaLost:  # whoever asks has logged it
            self._ask_at = self._now() + AGAIN_S
            return False
        leading = next((one.number for one in source.tracks if one.kind == VIDEO), source.tracks[0].number)
        self._stream.begin(init, leading, source.has_video)
        self.codecs, self.is_sound = codecs, not source.has_video
        self._has_begun = True
        return True

    def _tell(self) -> None:
        """Wake all who wait."""
        self._ready.clear()
        changed, self.changed = self.changed, Event()
        changed.set()

    def _count(self) -> None:
        """Count what is held; hold less where there is too much."""
        memory = self._memory
        if memory.used_bytes > memory.limit_bytes:
            self.window.shed(self._now())
        size = self.window.size + self._stream.kept_bytes
        if size != self._counted:
            memory.change(KIND, size - self._counted)
            self._counted = size

    def _wall_ms(self) -> int:
        return int(self._wall() * 1000)
