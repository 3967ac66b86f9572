"""`/CHANNEL.jpg`: a still of the newest keyframe, made when somebody asks, at most one in five seconds."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

import gevent
from gevent.lock import Semaphore

from rtmpsrv.av.viewing import Channel, Reply, Request
from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.live.budget import WINDOWS
from rtmpsrv.live.lock import fits
from rtmpsrv.live.making import Cursor, Memory
from rtmpsrv.live.reading import Batch, Began
from rtmpsrv.media.mp4_source import SETTLE_S, Mp4Source, Question, Selection

EVERY_S: Final = 5.0
MAX_KEPT: Final = 1000
MAX_KEPT_BYTES: Final = 16 << 20
MAX_PIECES: Final = 8  # of the log that are looked at for a keyframe
_VIDEO: Final = Selection(video=True, audio=0)
_TEXT: Final = "text/plain; charset=utf-8"
NOTHING: Final = "There is no picture now."


class _Still(NamedTuple):
    made_at: float
    jpeg: bytes
    status: int
    why: str  # why there is none
    lock: bytes | None  # who has a key that fits may see it


class _Turn:
    """Of those who wait for one to be made."""

    def __init__(self) -> None:
        self.lock = Semaphore(1)
        self.waiting = 0


class StillSite:
    """The handler. Several who ask for the same at the same time get the same."""

    def __init__(
        self,
        channel: Callable[[str], Channel],
        picture: Callable[[Question], bytes],
        memory: Memory,
        *,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """`channel` returns that of a name; `picture` blocks, and raises MediaRefused and MediaLost."""
        self.made = 0
        self._channel = channel
        self._picture = picture
        self._memory = memory
        self._now = now
        self._kept: dict[str, _Still] = {}  # the oldest first
        self._kept_bytes = 0
        self._turns: dict[str, _Turn] = {}
        self._forgetting: gevent.Greenlet[[], None] | None = None

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one viewer. Blocks for seconds at most. Raises AccessDenied, PeerLost."""
        viewing = request.admit()
        still = self._still(viewing.name, viewing.key)
        if still.jpeg:
            reply.send(200, still.jpeg, "image/jpeg", (("Cache-Control", f"private, max-age={EVERY_S:g}"),))
        else:
            again = (("Retry-After", f"{EVERY_S:g}"),) if still.status == 503 else ()
            headers = (("Cache-Control", "no-store"), *again)
            reply.send(still.status, f"{still.why}\n".encode(), _TEXT, headers)

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {
            "made": self.made,
            "kept": len(self._kept),
            "bytes": self._kept_bytes,
        }

    def drop(self, reason: str) -> None:
        """Keep none, as the budget wants it."""
        self._kept.clear()
        self._kept_bytes = 0

    def close(self) -> None:
        """Keep none any more. Idempotent, never blocks."""
        if self._forgetting is not None:
            self._forgetting.kill(block=False)
            self._forgetting = None
        self.drop("the server ends")
        self._memory.hold(WINDOWS, self, 0)

    # --- private ----------------------------------------------------------------------------------

    def _still(self, channel: str, key: str | None) -> _Still:
        turn = self._turns.setdefault(channel, _Turn())
        turn.waiting += 1
        try:
            with turn.lock:
                still = self._kept.get(channel)
                if still is None or self._now() - still.made_at >= EVERY_S or not _opens(still, key):
                    still = self._make(channel)
                    self._keep(channel, still)
                return still if _opens(still, key) else _Still(self._now(), b"", 404, NOTHING, None)
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[channel]

    def _make(self, channel: str) -> _Still:
        lock: bytes | None = None
        try:
            question, lock = self._question(self._channel(channel))
            if question is None:
                return _Still(self._now(), b"", 404, NOTHING, None)
            jpeg = self._picture(question)
        except MediaRefused as exc:
            return _Still(self._now(), b"", 415, str(exc), lock)
        except MediaLost as exc:
            return _Still(self._now(), b"", 503, str(exc), lock)
        self.made += 1
        return _Still(self._now(), jpeg, 200, "", lock)

    def _question(self, channel: Channel) -> tuple[Question | None, bytes | None]:
        """Return the newest keyframe with what a decoder needs, if there is one, and whose it is."""
        reading = channel.subscribe(lambda: None)
        try:
            return self._first_picture(reading), reading.lock
        finally:
            reading.close()

    def _first_picture(self, reading: Cursor) -> Question | None:
        source = Mp4Source((), _VIDEO)
        for _ in range(MAX_PIECES):
            item = reading.read()
            if isinstance(item, Began):
                source = Mp4Source(item.headers, _VIDEO)
            elif isinstance(item, Batch):
                for type_id, _flags, timestamp, payload, arrival in item.messages:
                    if not source.take(type_id, timestamp, payload, arrival):
                        source = Mp4Source(reading.headers, _VIDEO)
                    elif source.ready(arrival + SETTLE_S) and source.tracks:
                        return source.question
            elif item is None:
                break
        return None

    def _keep(self, channel: str, still: _Still) -> None:
        self._drop_old()
        self._drop_one(channel)
        self._kept[channel] = still
        self._kept_bytes += len(still.jpeg)
        while len(self._kept) > MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            self._drop_one(next(iter(self._kept)))
        self._memory.hold(WINDOWS, self, self._kept_bytes)
        if self._forgetting is None:
            self._forgetting = gevent.spawn(self._forget)

    def _forget(self) -> None:
        """Let go of what is too old to be shown; the top of a greenlet."""
        while self._kept:
            gevent.sleep(EVERY_S)
            self._drop_old()
            self._memory.hold(WINDOWS, self, self._kept_bytes)
        self._forgetting = None

    def _drop_old(self) -> None:
        now = self._now()
        for channel in [one for one, kept in self._kept.items() if now - kept.made_at >= EVERY_S]:
            self._drop_one(channel)

    def _drop_one(self, channel: str) -> None:
        still = self._kept.pop(channel, None)
        if still is not None:
            self._kept_bytes -= len(still.jpeg)


def _opens(still: _Still, key: str | None) -> bool:
    """Tell whether it is for who came with a key, which has to be the publisher's; None: nobody has to."""
    return key is None or fits(key, still.lock)
