"""The tracks of one publication: what they are, and how much came of each. Never blocks.

Messages are looked at here only until a kind is known, and where it has several tracks. What a kind amounts
to is told by the log's index.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from ..media import classify, tracks
from ..media.description import Description
from ..protocol.messages import AUDIO as AUDIO_TYPE
from ..protocol.messages import VIDEO as VIDEO_TYPE
from .header_history import Headers
from .pace import WINDOW_S, Pace
from .seconds import LONG, SHORT, Seconds
from .segment import AUDIO, VIDEO

CHART_S: Final = 60
MAX_COUNTED: Final = 2 * tracks.MAX_TRACKS  # beside the first of each kind
MAX_SPLIT: Final = 1000  # messages a second; real streams have up to 500
MAX_READ_BYTES: Final = tracks.MAX_HEADER_BYTES  # of new headers at one go: some 5 ms, of the worst
FPS_AFTER_S: Final = 2.0  # pictures per second are told

_TYPES: Final = {VIDEO: VIDEO_TYPE, AUDIO: AUDIO_TYPE}
_KINDS: Final = {"video": VIDEO, "audio": AUDIO}
_NAMES: Final[dict[int, Literal["video", "audio"]]] = {VIDEO: "video", AUDIO: "audio"}
_ABSENT: Final = -1  # in place of a track's number: messages without the first one

Key = tuple[int, int]  # kind, and number of a track
About = tuple[Key, dict[str, Any]]  # what is known of a track but for amounts


class Count:
    """Frames and bytes of something."""

    __slots__ = ("frames", "recent_frames", "sizes", "total_bytes", "total_frames")

    def __init__(self) -> None:
        self.sizes = Seconds(LONG)
        self.recent_frames = Seconds(SHORT)
        self.total_bytes = self.total_frames = 0

    def add(self, second: int, frames: int, size: int) -> None:
        """Count."""
        self.sizes.add(second, size)
        self.recent_frames.add(second, frames)
        self.total_bytes += size
        self.total_frames += frames

    def snapshot(self) -> tuple[Any, ...]:
        """Return all of it, as `adopt` takes it."""
        return self.sizes.snapshot(), self.recent_frames.snapshot(), self.total_bytes, self.total_frames

    def adopt(self, value: Any) -> None:
        """Know what another process has counted."""
        sizes, recent_frames, self.total_bytes, self.total_frames = value
        self.sizes.adopt(sizes)
        self.recent_frames.adopt(recent_frames)


class ByTrack:
    """Changed by the vitals and the contents of its publication only."""

    __slots__ = (
        "_abouts", "_configured", "_counted_before", "_counts", "_known", "_second", "_seen", "_split_in",
        "_stale", "_told", "_whole", "audio_frame_ms", "looks", "odd_headers", "several",
    )  # fmt: skip

    def __init__(self) -> None:
        self.looks = AUDIO | VIDEO  # kinds of messages that `look` must see
        self.several = 0  # kinds that have several tracks
        self.odd_headers = 0  # that were not understood
        self.audio_frame_ms = 0.0  # by the header of the first audio track
        self._second = self._split_in = 0  # of the last message that was split, and how many in it
        self._told = 0  # kinds of which a frame was seen
        self._whole = {VIDEO: Count(), AUDIO: Count()}  # of a kind, all tracks together
        self._counts: dict[Key, Count] = {}  # of tracks but the first
        self._seen: dict[Key, Description] = {}  # by a frame
        self._configured: dict[Key, Description] = {}  # by headers
        self._abouts: dict[int, list[About]] | None = None  # by kind; None: made when asked
        self._stale = False  # there are headers that were not read
        # What those say that were, by their hashes: each is read once.
        self._known: dict[int, list[Description]] | None = {}  # None: somebody else has read them
        self._counted_before: frozenset[int] = frozenset()  # hashes of those that somebody else has

    # --- called while messages are added ----------------------------------------------------------

    def configure(self, type_id: int, payload: bytes) -> None:
        """Take note of a header, of at least one byte."""
        self._stale = True
        if tracks.has_tracks(type_id, payload):
            kind = VIDEO if type_id == VIDEO_TYPE else AUDIO
            self.several |= kind
            self.looks |= kind

    def look(self, kind: int, payload: bytes, flags: int, now: float) -> int:
        """Take note of a message of a kind that is to be looked at; return `looks`."""
        if not flags & classify.FRAME:
            return self.looks
        type_id = _TYPES[kind]
        if not self._told & kind:
            if not self._told:
                self._seen.clear()  # of a publisher before this one
            self._told |= kind
            self._seen.update({(kind, one.track): one for one in tracks.frame_tracks(type_id, payload)})
            self._abouts = None
        if not self.several & kind:
            self.looks &= ~kind
        elif tracks.has_tracks(type_id, payload):
            self._split(kind, int(now), type_id, payload)
        return self.looks

    def count(self, kind: int, second: int, frames: int, size: int) -> None:
        """Count what came of a kind in a second."""
        self._whole[kind].add(second, frames, size)

    def read(self, headers: Headers) -> None:
        """Find out what the headers in force say, if there are others than the last time.

        Where there are more new ones than `MAX_READ_BYTES`, the rest is for the next time.
        """
        if not self._stale or not headers:
            return
        self._stale = False
        before, known = self._known, {}
        if before is None:
            before, self._counted_before = {}, frozenset([hash(header) for header in headers])
        left, self._configured, self._abouts = MAX_READ_BYTES, {}, None
        for header in headers:
            key = hash(header)
            found = before.get(key)
            if found is None:
                left -= min(len(header[1]), MAX_READ_BYTES)
                if left < 0:
                    self._stale = True
                    continue
                found = tracks.configured_tracks(*header)
                if key not in self._counted_before:
                    self.odd_headers += len([one for one in found if not one.understood])
            known[key] = found
            self._configured.update({(_KINDS[one.kind], one.track): one for one in found})
        self._known = known
        first = self._configured.get((AUDIO, 0))
        self.audio_frame_ms = first.frame_ms if first is not None else 0.0

    def break_off(self) -> None:
        """Take note that what comes next is another publisher's."""
        self._told = 0
        self.looks = AUDIO | VIDEO

    # --- asked ------------------------------------------------------------------------------------

    def value(self, paces: dict[int, Pace], spans_s: tuple[float, float], now: float) -> list[dict[str, Any]]:
        """Return what is known of each track, video first; `spans_s` of rates over 10 s and 60 s."""
        if self._abouts is None:  # it stays for as long as the headers do
            self._abouts = self._described()
        found: list[dict[str, Any]] = []
        for kind, pace in paces.items():
            abouts = self._abouts[kind]
            if not abouts and pace.last is not None:
                abouts = [((kind, 0), _about(Description(_NAMES[kind], 0, "", understood=False)))]
            for key, about in abouts:
                found.append(about | self._amounts(key, pace, spans_s, now))
        return found

    # --- to another process -----------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return plain values, as `adopt` takes them; not what tracks are, which headers and frames tell."""
        return {
            "odd_headers": self.odd_headers,
            "several": self.several,
            "whole": [(kind, count.snapshot()) for kind, count in self._whole.items()],
            "counts": [(key, count.snapshot()) for key, count in self._counts.items()],
        }

    def adopt(self, value: dict[str, Any]) -> None:
        """Know what another process has counted."""
        self.odd_headers, self.several = value["odd_headers"], value["several"]
        for kind, count in value["whole"]:
            self._whole[kind].adopt(count)
        for (kind, track), count in value["counts"]:
            self._count_of(kind, track).adopt(count)
        self._stale, self._known = True, None

    # --- private ----------------------------------------------------------------------------------

    def _split(self, kind: int, second: int, type_id: int, payload: bytes) -> None:
        """Count the frames of one message by their tracks; of a flood, as the first track's."""
        if second != self._second:
            self._second, self._split_in = second, 0
        self._split_in += 1
        if self._split_in > MAX_SPLIT:
            return
        sizes = tracks.frame_sizes(type_id, payload)
        if sizes and 0 not in [track for track, _ in sizes]:
            self._count_of(kind, _ABSENT).add(second, 1, 0)
        for track, size in sizes:
            if track and ((kind, track) in self._counts or len(self._counts) < MAX_COUNTED):
                self._count_of(kind, track).add(second, 1, size)

    def _count_of(self, kind: int, track: int) -> Count:
        count = self._counts.get((kind, track))
        if count is None:
            count = self._counts[kind, track] = Count()
        return count

    def _amounts(self, key: Key, pace: Pace, spans_s: tuple[float, float], now: float) -> dict[str, Any]:
        """Return what came of a track."""
        second = int(now)
        kind, number = key
        count = self._counts.get(key) if number else self._whole[kind]
        if count is None:
            count = Count()
        sizes, fps = count.sizes.last(second, CHART_S), None
        frames, received_bytes = count.total_frames, count.total_bytes
        absent: Count | None = None
        if self._counts and not number:  # the first one: all that was not another one's
            absent = self._counts.get((kind, _ABSENT))
            for (its, track), other in self._counts.items():
                if its == kind and track != _ABSENT:
                    sizes = _less(sizes, other.sizes.last(second, CHART_S))
                    received_bytes -= other.total_bytes
            if absent is not None:
                frames -= absent.total_frames
        passed_s = min(WINDOW_S - 1 + now % 1, now - pace.since)
        if kind == VIDEO and pace.last is not None and passed_s >= FPS_AFTER_S:
            recent = count.recent_frames.sum(second, WINDOW_S)
            if absent is not None:
                recent -= absent.recent_frames.sum(second, WINDOW_S)
            fps = round(recent / passed_s, 2)
        return {
            "fps": fps,
            "frames": max(0, frames),
            "received_bytes": max(0, received_bytes),
            "bitrate_10s": bitrate(sizes[-WINDOW_S:], spans_s[0]),
            "bitrate_60s": bitrate(sizes, spans_s[1]),
        }

    def _described(self) -> dict[int, list[About]]:
        """Return what is known of all tracks, as many as are shown of a kind."""
        described = {**self._seen, **self._configured}
        found: dict[int, list[About]] = {}
        for kind in (VIDEO, AUDIO):
            keys = sorted([key for key in described if key[0] == kind])[: tracks.MAX_TRACKS]
            found[kind] = [(key, _about(described[key])) for key in keys]
        return found


def _about(one: Description) -> dict[str, Any]:
    about = one._asdict()
    about["declared_fps"] = about.pop("fps")
    about["configured"] = about.pop("understood")
    del about["frame_ms"]
    return about


def span_s(count: int, age_s: float, now: float) -> float:
    """Return how long the last seconds are, the running one included, of a publication of this age."""
    return max(1.0, min(count - 1 + now % 1, age_s))


def bitrate(sizes: list[int], seconds: float) -> int:
    """Return bits per second of what came in so long."""
    return max(0, round(8 * sum(sizes) / seconds))


def _less(numbers: list[int], others: list[int]) -> list[int]:
    return [one - other for one, other in zip(numbers, others, strict=True)]
