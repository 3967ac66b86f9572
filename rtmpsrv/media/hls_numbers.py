"""The numbers of a channel's playlists that may never go back or change: sequences, targets, names. Pure.

Players stop for ever where the media sequence goes back, Safari ends where a target changes. So this outlives
the playlists: idle times, publishers, a hand-over. After a crash it begins anew beyond whatever there was.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

MIN_SEGMENT_MS: Final = 2000  # a segment ends at the first keyframe from here on
ROUNDING_MS: Final = (
    400  # durations are rounded to seconds before they are compared with the target: below 500
)
MIN_TARGET_S: Final = 2
MAX_TARGET_S: Final = 10  # where keyframes are further apart segments begin without one

JITTER_MS: Final = 3  # of a part: timestamps are whole milliseconds
PART_STEP_MS: Final = 5
LEAST_FILL: Final = 0.85  # of a part, draft-pantos-hls-rfc8216bis, 4.4.4.9
DEFAULT_PART_MS: Final = 500


# GStreamer reads 31 bits: such numbers last until 2042.
NUMBERS_A_SECOND: Final = 4
_FROM_S: Final = 1_735_689_600  # the beginning of 2025


def first_number(unix_s: float) -> int:
    """Return a number beyond all that any process before this one can have used: none rises faster."""
    return max(1, int((unix_s - _FROM_S) * NUMBERS_A_SECOND))


class Numbering:
    """Of one channel. Changed by whoever makes its playlists only."""

    __slots__ = ("discontinuities", "inits", "next_segment", "part_ms", "prefix", "target_s")

    def __init__(self, first: int, prefix: str) -> None:
        """Begin with a number; see `first_number`."""
        self.prefix = prefix  # of all names: caches know those of a process before this one
        self.next_segment = first
        self.discontinuities = first  # so many segments began with one; EXT-X-DISCONTINUITY-SEQUENCE
        self.inits = 0
        self.target_s = 0  # 0: not known yet
        self.part_ms = 0

    @property
    def is_fixed(self) -> bool:
        """Whether the targets are known, and so stay as they are."""
        return self.target_s > 0

    def fix(self, gop_ms: int, frame_ms: float, part_ms: int = DEFAULT_PART_MS, target_s: int = 0) -> None:
        """Set the targets for good, by what the stream is like, or by a wish; once only."""
        assert not self.is_fixed, "players end where a target changes"
        self.target_s = target_s or target_for(gop_ms)
        self.part_ms = part_for(frame_ms, part_ms)

    @property
    def target_ms(self) -> int:
        """The longest that a segment may be."""
        return self.target_s * 1000 + ROUNDING_MS

    def segment(self) -> int:
        """Take the number of the next segment."""
        number = self.next_segment
        self.next_segment += 1
        return number

    def init(self) -> int:
        """Take the number of the next first part."""
        self.inits += 1
        return self.inits

    def snapshot(self) -> dict[str, Any]:
        """Return it in plain values, for another process."""
        return {name: getattr(self, name) for name in _FIELDS}


def restore(value: dict[str, Any]) -> Numbering:
    """Go on with the numbers of another process."""
    numbering = Numbering(0, "")
    for name in _FIELDS:
        setattr(numbering, name, value[name])
    return numbering


def target_for(gop_ms: int) -> int:
    """Return the target duration in seconds for keyframes so far apart."""
    return min(max(MIN_TARGET_S, -(-gop_ms // 1000) + 1), MAX_TARGET_S)


def part_for(frame_ms: float, wanted_ms: int) -> int:
    """Return the part target near a wish that a whole number of frames all but fills."""
    frame_ms = max(frame_ms, 1.0)
    frames = max(1, round(wanted_ms / frame_ms))
    return ceil((frames * frame_ms + JITTER_MS) / PART_STEP_MS) * PART_STEP_MS


_FIELDS: Final = ("prefix", "next_segment", "discontinuities", "inits", "target_s", "part_ms")
