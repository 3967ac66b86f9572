"""A channel's stream as HLS: frames in, parts and segments in a window out. Pure; knows no clock.

It goes on over publishers and configurations, each of which begins with a discontinuity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rtmpsrv.media.hls_cutter import Cut, Cutter, PartCut, Rows
from rtmpsrv.media.hls_numbers import NUMBERS_A_SECOND
from rtmpsrv.media.hls_survey import Survey
from rtmpsrv.media.hls_window import Window
from rtmpsrv.media.mp4 import Part, Run, fragment
from rtmpsrv.media.mp4_source import FRAME_BYTES, Timed

MAX_SURVEY_BYTES: Final = 32 << 20  # kept until it is known how to cut
MAX_SURVEY_FRAMES: Final = 2500  # likewise: the picture may stand still while tiny sounds go on
# A segment lasts two seconds or more, but where a stream is broken off again and again, or is sent faster
# than it plays. After a crash numbers begin with the clock: none may rise faster, and what would is left out.
MAX_SAVED: Final = 8.0  # some come at once: what was held up
SAVED_AT_FIRST: Final = 3.0  # likewise, what the cache has; no crash is over before these are earned


class Wishes(NamedTuple):
    """What the operator wants; the rules come first."""

    part_ms: int = 500
    target_s: int = 0  # 0: by the stream


AS_USUAL: Final = Wishes()


class HlsStream:
    """Of one channel. Changed by one maker only. Never blocks."""

    def __init__(
        self,
        window: Window,
        wishes: Wishes = AS_USUAL,
        pack: Callable[[int, Sequence[Rows]], bytes] | None = None,
    ) -> None:
        """`pack` makes the bytes of a part from its number and the frames of its tracks."""
        self.window = window
        self._pack = pack or mp4_part
        self._wishes = wishes
        self._sequence = 0  # of fragments
        self._leading = 0
        self._is_video = False
        self._init = 0
        self._cutter: Cutter | None = None
        self._survey: Survey | None = None  # until the targets are known
        self._kept: list[Timed] = []  # meanwhile
        self._kept_bytes = 0
        self._wall_ms: int | None = None  # by the wall clock, when the time of the stream was 0
        self._saved = SAVED_AT_FIRST  # segments that may begin now
        self._saved_at: float | None = None  # since when more are earned
        self._segment_time = 0  # of the leading track, when the segment under way began
        self._leaves_out = self._left_out = False  # the segment under way; the one before it

    def begin(self, init: bytes, leading: int, is_video: bool) -> None:
        """Begin a configuration, whose track `leading` says where to cut; `finish` was called before."""
        self._leading, self._is_video = leading, is_video
        self._init = self.window.add_init(init)
        self._kept, self._kept_bytes = [], 0
        if self.window.numbering.is_fixed:
            self._cutter = self._new_cutter()
        else:
            self._survey = Survey(is_video)

    def take(self, frames: Sequence[Timed], now: float, wall_ms: int) -> bool:
        """Take frames in, of which the first came at that time; tell whether players can have more now."""
        changed = False
        for frame in frames:
            if self._survey is not None:
                changed = self._look(self._survey, frame, now, wall_ms) or changed
            elif self._cutter is not None:
                number, time, offset, is_keyframe, data = frame
                cuts = self._cutter.take(number, time, offset, is_keyframe, data)
                changed = self._add(cuts, now, wall_ms) or changed
        return changed

    def finish(self, now: float, wall_ms: int) -> bool:
        """End a configuration, a publication, or what is before a loss; tell whether there is more now.

        What is too short to tell the targets for good is left out: no player has seen any of it.
        """
        if self._survey is not None:
            self._survey, self._kept, self._kept_bytes = Survey(self._is_video), [], 0
            return False
        changed = self._cutter is not None and self._add(self._cutter.finish(), now, wall_ms)
        self._wall_ms = None
        return changed

    @property
    def kept_bytes(self) -> int:
        """What is in no part yet."""
        size, frames = self._kept_bytes, len(self._kept)
        if self._cutter is not None:
            size, frames = size + self._cutter.held_bytes, frames + self._cutter.held_frames
        return size + FRAME_BYTES * frames

    # --- private ----------------------------------------------------------------------------------

    def _new_cutter(self) -> Cutter:
        numbering = self.window.numbering
        # Players may have seen another stream, even from a process before this one.
        return Cutter(
            self._leading, self._is_video, numbering.target_ms, numbering.part_ms, discontinuity=True
        )

    def _look(self, survey: Survey, frame: Timed, now: float, wall_ms: int) -> bool:
        self._kept.append(frame)
        self._kept_bytes += len(frame.data)
        is_known = frame.number == self._leading and survey.take(frame.time, frame.is_keyframe)
        is_much = self._kept_bytes > MAX_SURVEY_BYTES or len(self._kept) >= MAX_SURVEY_FRAMES
        if is_known or is_much:
            return self._settle(survey, now, wall_ms)
        return False

    def _settle(self, survey: Survey, now: float, wall_ms: int) -> bool:
        """Fix the targets, and cut what was kept."""
        wishes = self._wishes
        numbering = self.window.numbering
        numbering.fix(survey.gop_ms, survey.frame_ms, wishes.part_ms, wishes.target_s)
        self._survey = None
        self._cutter = self._new_cutter()
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        lasted = kept[-1].time - kept[0].time
        return self.take(kept, now, wall_ms - lasted)

    def _add(self, cuts: list[Cut], now: float, wall_ms: int) -> bool:
        window = self.window
        changed = False
        for cut in cuts:
            if isinstance(cut, PartCut):
                if cut.first:
                    self._begin(cut, now, wall_ms)
                if self._leaves_out:
                    continue
                self._sequence += 1
                frames = sum([len(rows) for number, _, rows in cut.tracks if number == self._leading])
                data = self._pack(self._sequence, cut.tracks)
                window.add_part(data, cut.duration, cut.is_independent, frames)
                changed = True
            elif not self._leaves_out:
                window.end(now, min(cut.time - self._segment_time, window.numbering.target_ms))
                changed = True
        return changed

    def _begin(self, cut: PartCut, now: float, wall_ms: int) -> None:
        """Begin a segment, or leave it out."""
        earned = (now - self._saved_at) * NUMBERS_A_SECOND if self._saved_at is not None else 0.0
        self._saved, self._saved_at = min(self._saved + earned, MAX_SAVED), now
        self._left_out = self._left_out or self._leaves_out
        self._leaves_out = self._saved < 1
        if not self._leaves_out:
            self._saved -= 1
            self._segment_time = cut.time
            if self._left_out:
                cut = cut._replace(discontinuity=True)
                self._left_out = False
            self.window.begin(self._init, self._wall(cut, wall_ms), cut.discontinuity)

    def _wall(self, cut: PartCut, wall_ms: int) -> int:
        """Return when a segment began; on one straight line between two discontinuities."""
        if self._wall_ms is None or cut.discontinuity:
            self._wall_ms = wall_ms - cut.duration - cut.time
        return self._wall_ms + cut.time


def mp4_part(sequence: int, tracks: Sequence[Rows]) -> bytes:
    """Return a part as MP4."""
    return fragment(
        sequence, [Run(number, time, [Part(*row) for row in rows]) for number, time, rows in tracks]
    )
