"""How a publication does: bitrates, keyframes, the course of its times, pauses. Never blocks.

Nothing is done for each message but where a stream has several tracks: a log's index has all that is needed,
and is read once a second, in a few calls for all messages. What a track is, is found out when it is asked.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from itertools import compress, islice
from operator import mul
from statistics import median
from typing import Any, Final

from ..protocol.timestamps import signed_difference
from .by_track import CHART_S, ByTrack, bitrate, span_s
from .header_history import Headers
from .log import Log
from .pace import WINDOW_S, Pace
from .seconds import LONG, Seconds
from .segment import AUDIO, KEYFRAME, VIDEO, Segment

STALL_S: Final = 1.0
SAME_JUMP_S: Final = 1.0  # audio and video jump together: that is one
RECENT_S: Final = 600.0
MAX_RECENT: Final = 64  # jumps, and stalls, whose times are kept
MAX_GOPS: Final = 8
HEADER_BYTES: Final = 12  # of each message in the log, mostly
_EIGHTS: Final = [8] * CHART_S  # bits in bytes
SEVERAL_MS: Final = 1000  # that tracks sent one in the other may be apart


def _selector(*flags: int) -> bytes:
    return bytes([flag in flags for flag in range(256)])


_IS_VIDEO: Final = _selector(VIDEO, VIDEO | KEYFRAME)
_IS_AUDIO: Final = _selector(AUDIO)
_IS_MEDIA: Final = _selector(AUDIO, VIDEO, VIDEO | KEYFRAME)
_IS_KEYFRAME: Final = _selector(VIDEO | KEYFRAME)


class Vitals:
    """What was seen of one publication. Changed by its contents only."""

    __slots__ = (
        "_audio", "_bytes", "_gops", "_jumped_at", "_jumped_kind", "_jumps", "_keyframe_at", "_keyframe_time",
        "_keyframes", "_last_jump_ms", "_media_at", "_offsets", "_position", "_recent_jumps",
        "_recent_stalls", "_stalls", "_uneven", "_video", "began_at", "due_at", "tracks",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.due_at = now  # when the log is read next
        self.tracks = ByTrack()
        self._position = 0  # of the log, up to which all is counted; less: what is there does not count
        self._bytes = Seconds(LONG)
        self._audio, self._video = Pace(), Pace()
        self._uneven = Seconds(LONG)
        self._media_at: float | None = None  # the last frame of any kind
        self._keyframes = 0
        self._keyframe_at: float | None = None
        self._keyframe_time: int | None = None  # media time; None: no distance can be told from it
        self._gops: deque[float] = deque(maxlen=MAX_GOPS)
        self._offsets: deque[tuple[int, int]] = deque(maxlen=WINDOW_S)  # second; audio after video, ms
        self._jumps = self._stalls = 0
        self._recent_jumps: deque[float] = deque(maxlen=MAX_RECENT)
        self._recent_stalls: deque[float] = deque(maxlen=MAX_RECENT)
        self._jumped_at = 0.0
        self._jumped_kind = self._last_jump_ms = 0

    # --- called while messages are added ----------------------------------------------------------

    def lacks(self, position: int) -> bool:
        """Tell whether something before a position of the log was not read."""
        return self._position < position

    def take(self, log: Log) -> None:
        """Read what was added to the log since the last time. A mirror's and an ended one's are left."""
        if log.closed or log.is_mirror:
            return
        begin, end = self._position, log.end
        self._position = end
        if not 0 <= begin < end:
            return
        for kind, pace in ((AUDIO, self._audio), (VIDEO, self._video)):
            several = bool(self.tracks.several & kind)
            pace.back_ms = SEVERAL_MS if several else 0
            pace.frame_ms = -1.0 if several or kind == VIDEO else self.tracks.audio_frame_ms
        for segment, offset, _ in log.parts(max(begin, log.begin), end):
            first, count = segment.message_at(offset), len(segment.offsets)
            while first < count:
                arrivals = segment.arrivals
                second = int(arrivals[first])
                until = count
                if arrivals[count - 1] >= second + 1:
                    until = max(first + 1, bisect_left(arrivals, second + 1, first, count))
                self._take(segment, first, until, second)
                first = until
                self.due_at = second + 1.0

    def break_off(self, log: Log) -> None:
        """Take note that the publisher is gone and another one may go on."""
        self.take(log)
        self._audio.break_off()
        self._video.break_off()
        self._offsets.clear()
        self._gops.clear()
        self._keyframe_time = self._media_at = None
        self.tracks.break_off()

    # --- asked ------------------------------------------------------------------------------------

    def value(self, log: Log, headers: Headers, now: float) -> dict[str, Any]:
        """Return all that is known, by name; metadata is not part of it."""
        self.tracks.read(headers)
        self.take(log)
        second, age_s = int(now), now - self.began_at
        totals = self._bytes.last(second, CHART_S + 1)
        short_s, long_s = span_s(WINDOW_S, age_s, now), span_s(CHART_S, age_s, now)
        silence_s = now - self._media_at if self._media_at is not None else None
        rates = [rate for pace in (self._audio, self._video) if (rate := pace.rate(now)) is not None]
        offsets = self._offsets
        while offsets and offsets[0][0] <= second - WINDOW_S:
            offsets.popleft()
        jitter_s = self._video.jitter_s(now)
        return {
            "age_s": age_s,
            "tracks": self.tracks.value({VIDEO: self._video, AUDIO: self._audio}, (short_s, long_s), now),
            "bitrate_10s": bitrate(totals[-WINDOW_S:], short_s),
            "bitrate_60s": bitrate(totals[-CHART_S:], long_s),
            "bitrates": list(map(mul, totals[:-1], _EIGHTS)),
            "keyframes": self._keyframes,
            "gops_s": list(self._gops),
            "keyframe_age_s": now - self._keyframe_at if self._keyframe_at is not None else None,
            "silence_s": silence_s,
            "media_rate": max(rates, default=None),
            "av_offset_s": _median_of(offsets) / 1000 if offsets else None,
            "jumps": self._jumps,
            "jumps_10min": _recent(self._recent_jumps, now),
            "last_jump_s": self._last_jump_ms / 1000 if self._jumps else None,
            "uneven_audio": self._uneven.sum(second, CHART_S),
            "jitter_s": jitter_s if jitter_s is not None else self._audio.jitter_s(now),
            "stalls": self._stalls,
            "stalls_10min": _recent(self._recent_stalls, now),
            "odd_headers": self.tracks.odd_headers,
        }

    # --- to another process -----------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return plain values, as `adopt` takes them: up to a place in the log, which goes on from there."""
        return {
            "began_at": self.began_at,
            "position": self._position,
            "tracks": self.tracks.snapshot(),
            "bytes": self._bytes.snapshot(),
            "audio": self._audio.snapshot(),
            "video": self._video.snapshot(),
            "uneven": self._uneven.snapshot(),
            "media_at": self._media_at,
            "keyframes": (self._keyframes, self._keyframe_at, self._keyframe_time, list(self._gops)),
            "offsets": list(self._offsets),
            "jumps": (self._jumps, self._jumped_at, self._jumped_kind, self._last_jump_ms),
            "stalls": self._stalls,
            "recent": (list(self._recent_jumps), list(self._recent_stalls)),
        }

    def adopt(self, value: dict[str, Any] | None) -> None:
        """Know what another process knows; None of one that says nothing: count from here on."""
        if value is None:
            self._position = -1
            return
        self.began_at, self._position = value["began_at"], value["position"]
        self.tracks.adopt(value["tracks"])
        self._bytes.adopt(value["bytes"])
        self._audio.adopt(value["audio"])
        self._video.adopt(value["video"])
        self._uneven.adopt(value["uneven"])
        self._media_at = value["media_at"]
        self._keyframes, self._keyframe_at, self._keyframe_time, gops = value["keyframes"]
        self._gops.extend(gops)
        self._offsets.extend([(second, offset) for second, offset in value["offsets"]])
        self._jumps, self._jumped_at, self._jumped_kind, self._last_jump_ms = value["jumps"]
        self._stalls = value["stalls"]
        self._recent_jumps.extend(value["recent"][0])
        self._recent_stalls.extend(value["recent"][1])

    # --- private ----------------------------------------------------------------------------------

    def _take(self, segment: Segment, first: int, until: int, second: int) -> None:
        """Read messages of a segment that arrived in one second."""
        flags = segment.flags[first:until]
        times, arrivals = segment.timestamps[first:until].tolist(), segment.arrivals[first:until]
        audio, video = flags.translate(_IS_AUDIO), flags.translate(_IS_VIDEO)
        audio_frames, video_frames = audio.count(1), video.count(1)
        size = segment.offset_of(until) - segment.offset_of(first) - HEADER_BYTES * len(flags)
        self._bytes.add(second, size)
        if not (audio_frames or video_frames):
            return
        is_all = audio_frames + video_frames == len(flags)
        is_one = is_all and not (audio_frames and video_frames)
        places: list[int] = []
        if not is_one:
            places = segment.offsets[first : until + 1].tolist()
            if len(places) == until - first:
                places.append(segment.size)
        media = audio if not video_frames else video if not audio_frames else flags.translate(_IS_MEDIA)
        self._note_pause(arrivals[media.find(1)], arrivals[media.rfind(1)])
        heard_at, audio_size = self._audio.last, 0
        if audio_frames:
            audio_size = size if is_one else _size(places, audio, audio_frames)
            self.tracks.count(AUDIO, second, audio_frames, audio_size)
            self._take_kind(AUDIO, second, times, arrivals, audio, not video_frames)
            if self._audio.uneven:
                self._uneven.add(second, self._audio.uneven)
        if video_frames:
            video_size = size - audio_size if is_all else _size(places, video, video_frames)
            self.tracks.count(VIDEO, second, video_frames, video_size)
            steady = self._take_kind(VIDEO, second, times, arrivals, video, True)
            keyframes = flags.translate(_IS_KEYFRAME)
            if 1 in keyframes:
                self._take_keyframes(list(compress(times, keyframes)), steady)
                self._keyframe_at = arrivals[keyframes.rfind(1)]
            # At a frame of video, since the next one may be long in coming: that is no offset.
            place = video.rfind(1)
            before = audio.rfind(1, 0, place)
            heard = times[before] if before >= 0 else heard_at
            if heard is not None and arrivals[place] - self._audio.arrived_at < STALL_S:
                offset = signed_difference(heard, times[place])
                if self._offsets and self._offsets[-1][0] == second:
                    self._offsets.pop()
                self._offsets.append((second, offset))

    def _note_pause(self, begin: float, end: float) -> None:
        """Take note that media came from one moment to another; there cannot be a stall in between."""
        media_at = self._media_at
        if media_at is not None and begin - media_at > STALL_S:
            self._stalls += 1
            self._recent_stalls.append(begin)
        self._media_at = end

    def _take_kind(
        self,
        kind: int,
        second: int,
        times: list[int],
        arrivals: array[float],
        selector: bytearray,
        measures: bool,
    ) -> bool:
        """Take note of the frames of a kind, at least one; tell whether no time jumped."""
        pace = self._video if kind == VIDEO else self._audio
        chosen = list(compress(times, selector)) if 0 in selector else times
        jumps = pace.take(second, chosen, arrivals, selector, measures)
        if not jumps:
            return True
        at = pace.arrived_at
        if kind == self._jumped_kind or at - self._jumped_at > SAME_JUMP_S or not self._jumps:
            self._jumped_kind = kind
            self._jumps += jumps
            self._recent_jumps.extend([at] * min(jumps, MAX_RECENT))
        self._jumped_at, self._last_jump_ms = at, pace.jump_ms
        self._offsets.clear()
        return False

    def _take_keyframes(self, times: list[int], steady: bool) -> None:
        self._keyframes += len(times)
        if not steady:
            self._keyframe_time = None  # a distance over a jump is none
            return
        for time in times[-1 - MAX_GOPS :]:
            media_time = self._video.media_time(time)
            before, self._keyframe_time = self._keyframe_time, media_time
            if before is not None and media_time > before:
                self._gops.append((media_time - before) / 1000)


def _size(places: list[int], selector: bytearray, count: int) -> int:
    """Return the bytes of the chosen messages, by where each of all begins and the last one ends."""
    begins, ends = compress(places, selector), compress(islice(places, 1, None), selector)
    return sum(ends) - sum(begins) - HEADER_BYTES * count


def _median_of(offsets: deque[tuple[int, int]]) -> float:
    _, found = zip(*offsets, strict=True)
    return float(median(found))


def _recent(moments: deque[float], now: float) -> int:
    return len([moment for moment in moments if now - moment < RECENT_S])
