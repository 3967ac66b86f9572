"""Looks at the beginning of a stream: how far apart its keyframes and frames are. Pure.

Targets cannot change once a player knows them, so the first playlist waits for this.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median_low
from typing import Final

from rtmpsrv.media.hls_numbers import MAX_TARGET_S

MAX_MS: Final = (MAX_TARGET_S - 1) * 1000  # of the stream; keyframes further apart make the same target
SOUND_MS: Final = 1000  # of a stream without video
MAX_FRAMES: Final = 2000
USUAL_FRAME_MS: Final = 33


class Survey:
    """What the leading track is like; changed by its reader only."""

    def __init__(self, is_video: bool) -> None:
        self._is_video = is_video
        self._times: list[int] = []
        self._keyframes: list[int] = []

    def take(self, time: int, is_keyframe: bool) -> bool:
        """Take a frame of the leading track in; tell whether enough is known."""
        self._times.append(time)
        if is_keyframe and self._is_video:
            self._keyframes.append(time)
        lasted = time - self._times[0]
        return (
            len(self._keyframes) > 1
            or lasted >= (MAX_MS if self._is_video else SOUND_MS)
            or len(self._times) >= MAX_FRAMES
        )

    @property
    def gop_ms(self) -> int:
        """How far apart keyframes are; without a second one, as far as was looked."""
        if not self._is_video:
            return SOUND_MS
        if len(self._keyframes) > 1:
            return self._keyframes[1] - self._keyframes[0]
        return MAX_MS

    @property
    def frame_ms(self) -> float:
        """How long a frame usually is; exact where it is no whole number of milliseconds."""
        steps = [after - before for before, after in pairwise(self._times)]
        if not steps:
            return USUAL_FRAME_MS
        usual = median_low(steps)  # one of them: where they alternate none is near the middle
        near = [step for step in steps if abs(step - usual) <= 1]
        return sum(near) / len(near)
