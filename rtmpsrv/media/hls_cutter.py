"""Cuts a stream's frames into parts and segments, as HLS wants them. Pure: frames in, tables of frames out.

The leading track, video where there is any, says where; frames of the other go where they belong in time. A
frame's duration is known when the next one comes, so each track's newest frame is held back.
draft-pantos-hls-rfc8216bis 4.4.3.8, 4.4.4.9: no part is longer than the part target, and few are far shorter.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rtmpsrv.media.hls_numbers import LEAST_FILL, MIN_SEGMENT_MS

GAP_MS: Final = 2000  # without a frame of any track: what follows is a stream of its own
USUAL_SOUND_MS: Final = 21  # a frame of AAC at 48 kHz
# Sound that is far ahead of the picture is not waited with for ever.
MAX_AHEAD_FRAMES: Final = 500
MAX_AHEAD_BYTES: Final = 1 << 20

Row = tuple[int, int, bool, bytes]  # duration, composition offset, is it a keyframe, its bytes
Rows = tuple[int, int, list[Row]]  # number of the track, time of the first, its frames


class PartCut(NamedTuple):
    """A part; `first` is the first of its segment."""

    tracks: list[Rows]
    time: int  # ms, of the leading track
    duration: int  # ms
    is_independent: bool
    first: bool
    discontinuity: bool  # of its segment, where it is the first


class SegmentEnd(NamedTuple):
    """The segment consists of the parts since the last."""

    time: int


Cut = PartCut | SegmentEnd


class _Frame(NamedTuple):
    time: int
    offset: int
    is_keyframe: bool
    data: bytes


class Cutter:
    """Of one configuration of a stream. Changed by one maker only. Never blocks."""

    def __init__(
        self, leading: int, is_video: bool, target_ms: int, part_ms: int, *, discontinuity: bool
    ) -> None:
        """`leading` is the number of the track that says where; `target_ms` the longest segment."""
        self._leading = leading
        self._is_video = is_video
        self._target_ms, self._part_ms = target_ms, part_ms
        self._discontinuity = discontinuity  # before the next segment
        self._frames: dict[int, list[_Frame]] = {}  # of each track, not in a part yet
        self._newest: int | None = None  # time of any track
        self._last: dict[int, int] = {}  # time of each
        self._begin = 0  # of the part that comes, on the leading track
        self._segment_begin: int | None = None  # None: not begun
        self._first = True  # is the next part in its segment
        self._frame_ms = self._gop_ms = 0
        self._keyframe: int | None = None
        self._since: int | None = None  # time of another track when the leading one last went on
        self.held_bytes = 0  # of frames that are in no part yet

    def take(self, number: int, time: int, offset: int, is_keyframe: bool, data: bytes) -> list[Cut]:
        """Take a frame in, by decoding time; return what is complete."""
        cuts: list[Cut] = []
        # One track may be far ahead of the other from its beginning on.
        if self._newest is not None and number in self._last and time - self._newest > GAP_MS:
            cuts = self.finish()
            self._discontinuity = True
        leads = number == self._leading
        if self._segment_begin is None and not (leads and (is_keyframe or not self._is_video)):
            return cuts  # nothing can be decoded yet
        self._newest = time if self._newest is None else max(self._newest, time)
        self._last[number] = time
        if leads:
            cuts += self._lead(time, is_keyframe)
        elif self._since is None:
            self._since = time
        elif time - self._since >= self._part_ms:
            cuts += self._go_on_without()
            self._since = time
        self._frames.setdefault(number, []).append(_Frame(time, offset, is_keyframe, data))
        self.held_bytes += len(data)
        return cuts

    def finish(self) -> list[Cut]:
        """End part and segment with all that there is; what comes begins with a keyframe, another stream."""
        if self._segment_begin is None:
            return []
        held = self._frames.get(self._leading)
        end = self._begin
        if held:
            end = held[-1].time + (self._frame_ms or USUAL_SOUND_MS)
        cuts: list[Cut] = [self._close(end, everything=True), SegmentEnd(end)]
        self._last.clear()
        self._segment_begin = self._newest = self._keyframe = self._since = None
        self._first = self._discontinuity = True
        return cuts

    @property
    def held_frames(self) -> int:
        """How many frames are in no part yet."""
        return sum([len(frames) for frames in self._frames.values()])

    # --- private ----------------------------------------------------------------------------------

    def _lead(self, time: int, is_keyframe: bool) -> list[Cut]:
        """Cut before a frame of the leading track, if need be."""
        cuts: list[Cut] = []
        self._since = None
        held = self._frames.get(self._leading)
        if self._segment_begin is None:
            self._segment_begin = self._begin = time
        if held:
            step = time - held[-1].time
            if time - self._begin > self._part_ms and len(held) > 1:
                cuts.append(self._close(held[-1].time))  # the frame after that would make it too long
            self._frame_ms = step
            whole = time - self._begin
            if self._ends_segment(time, is_keyframe, step):
                cuts += [self._close(time), self._end_segment(time)]
            elif whole + step > self._part_ms and whole >= LEAST_FILL * self._part_ms:
                cuts.append(self._close(time))
        if is_keyframe:
            if self._keyframe is not None:
                self._gop_ms = time - self._keyframe
            self._keyframe = time
        return cuts

    def _ends_segment(self, time: int, is_keyframe: bool, step: int) -> bool:
        """Tell whether a segment begins with a frame: at a keyframe if it can be, anywhere if it must be."""
        assert self._segment_begin is not None
        lasted = time - self._segment_begin
        if is_keyframe or not self._is_video:
            gop_ms = self._gop_ms if self._is_video else step
            if self._is_video and self._keyframe is not None:
                gop_ms = max(gop_ms, time - self._keyframe)
            if lasted >= MIN_SEGMENT_MS or lasted + gop_ms > self._target_ms:
                return True
        return lasted + step > self._target_ms

    def _go_on_without(self) -> list[Cut]:
        """End a part where the leading track has stopped and the other goes on."""
        assert self._segment_begin is not None
        end = self._begin + self._part_ms
        cuts: list[Cut] = [self._close(end, everything=True)]
        if self._begin - self._segment_begin + self._part_ms > self._target_ms:
            cuts.append(self._end_segment(self._begin))
        return cuts

    def _end_segment(self, time: int) -> SegmentEnd:
        self._segment_begin, self._first, self._discontinuity = time, True, False
        return SegmentEnd(time)

    def _close(self, end: int, everything: bool = False) -> PartCut:
        """Make a part of what comes before a time of the leading track; or of all there is. Not empty."""
        tracks: list[Rows] = []
        is_independent = not self._is_video
        for number in sorted(self._frames):
            frames = self._frames[number]
            leads = number == self._leading
            count = len(frames) if everything else self._count(frames, end, leads)
            if not count:
                continue
            taken, following = frames[:count], frames[count : count + 1]
            if following:
                until = following[0].time
            elif leads:
                until = max(end, taken[-1].time + 1)
            else:
                until = taken[-1].time + (taken[-1].time - taken[-2].time if count > 1 else USUAL_SOUND_MS)
            rows: list[Row] = []
            for place, frame in enumerate(taken):
                after = taken[place + 1].time if place + 1 < count else until
                rows.append((after - frame.time, frame.offset, frame.is_keyframe, frame.data))
                self.held_bytes -= len(frame.data)
                is_independent = is_independent or (leads and frame.is_keyframe)
            tracks.append((number, taken[0].time, rows))
            del frames[:count]
        assert tracks, "a part is ended where there is something in it"
        end = max(end, self._begin + 1)
        # A frame alone may last longer than a part; the playlist says what it may.
        duration = min(end - self._begin, self._part_ms)
        cut = PartCut(
            tracks, self._begin, duration, is_independent, self._first, self._first and self._discontinuity
        )
        self._begin, self._first = end, False
        return cut

    def _count(self, frames: list[_Frame], end: int, leads: bool) -> int:
        """Return how many frames of a track come before a time, and have a duration."""
        if leads:
            return sum(1 for frame in frames if frame.time < end)
        known = frames[:-1]
        size = sum([len(frame.data) for frame in known])
        if len(known) > MAX_AHEAD_FRAMES or size > MAX_AHEAD_BYTES:
            return len(known)
        return sum(1 for frame in known if frame.time < end)
