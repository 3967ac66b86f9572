"""`/CHANNEL.jpg`: a still of the newest keyframe, made when somebody asks, at most one in five seconds."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

from gevent.lock import Semaphore

from rtmpsrv.av.live_mp4 import Reading
from rtmpsrv.av.viewing import Channel, Reply, Request
from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.live.reading import Batch, Began
from rtmpsrv.media.mp4_source import SETTLE_S, Mp4Source, Question, Selection

EVERY_S: Final = 5.0
KEPT_S: Final = 60.0
MAX_KEPT: Final = 200
MAX_PIECES: Final = 8  # of the log that are looked at for a keyframe
_VIDEO: Final = Selection(video=True, audio=0)
_TEXT: Final = "text/plain; charset=utf-8"


class _Still(NamedTuple):
    made_at: float
    jpeg: bytes
    status: int
    why: str  # why there is none


class StillSite:
    """The handler. Several who ask for the same at the same time get the same."""

    def __init__(self, picture: Callable[[Question], bytes], *, now: Callable[[], float] = monotonic) -> None:
        """`picture` blocks; it raises MediaRefused and MediaLost."""
        self.made = 0
        self._picture = picture
        self._now = now
        self._kept: dict[Channel, _Still] = {}
        self._turns: dict[Channel, Semaphore] = {}  # of those who wait for one to be made

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one viewer. Blocks for seconds at most. Raises AccessDenied, PeerLost."""
        still = self._still(request.admit().channel)
        if still.jpeg:
            reply.send(200, still.jpeg, "image/jpeg", (("Cache-Control", f"private, max-age={EVERY_S:g}"),))
        else:
            reply.send(still.status, f"{still.why}\n".encode(), _TEXT, (("Cache-Control", "no-store"),))

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {
            "made": self.made,
            "kept": len(self._kept),
            "bytes": sum(len(one.jpeg) for one in self._kept.values()),
        }

    # --- private ----------------------------------------------------------------------------------

    def _still(self, channel: Channel) -> _Still:
        turn = self._turns.setdefault(channel, Semaphore(1))
        try:
            with turn:
                still = self._kept.get(channel)
                if still is None or self._now() - still.made_at >= EVERY_S:
                    still = self._make(channel)
                    self._keep(channel, still)
                return still
        finally:
            if not turn.locked():
                self._turns.pop(channel, None)

    def _make(self, channel: Channel) -> _Still:
        question = self._question(channel)
        if question is None:
            return _Still(self._now(), b"", 404, "There is no picture now.")
        try:
            jpeg = self._picture(question)
        except MediaRefused as exc:
            return _Still(self._now(), b"", 415, str(exc))
        except MediaLost as exc:
            return _Still(self._now(), b"", 503, str(exc))
        self.made += 1
        return _Still(self._now(), jpeg, 200, "")

    def _question(self, channel: Channel) -> Question | None:
        """Return the newest keyframe with what a decoder needs; None where there is none."""
        reading = channel.subscribe(lambda: None)
        try:
            return self._first_picture(reading)
        finally:
            reading.close()

    def _first_picture(self, reading: Reading) -> Question | None:
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

    def _keep(self, channel: Channel, still: _Still) -> None:
        now = self._now()
        self._kept = {one: kept for one, kept in self._kept.items() if now - kept.made_at < KEPT_S}
        self._kept.pop(channel, None)
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]  # the oldest
        self._kept[channel] = still
