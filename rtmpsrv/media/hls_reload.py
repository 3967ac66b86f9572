"""What a player asks of a playlist beyond its name, and whether it is to wait. Pure.

draft-pantos-hls-rfc8216bis, 6.2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from rtmpsrv.media.hls_window import Window

MAX_DIGITS: Final = 15
_BROKEN: Final = -1  # no number
AHEAD_SEGMENTS: Final = 2  # beyond the last
AHEAD_PARTS: Final = 3  # beyond the last, of a second or more; of shorter ones, 3 s
WAIT_TARGETS: Final = 3  # so many target durations a player waits, then 503


# What becomes of a request.
NOW: Final = "now"
WAIT: Final = "wait"
BAD: Final = "bad"  # 400


class Directives(NamedTuple):
    """What was asked."""

    segment: int | None = None
    part: int | None = None
    skip: bool = False


def read(query: Mapping[str, str]) -> Directives | None:
    """Read the directives in a query; None where they are not as they must be. Others are ignored."""
    segment, part = _number(query, "_HLS_msn"), _number(query, "_HLS_part")
    if _BROKEN in (segment, part) or (part is not None and segment is None):
        return None
    return Directives(segment, part, query.get("_HLS_skip") in ("YES", "v2"))


def decide(window: Window, asked: Directives) -> str:
    """Tell whether the playlist has what was asked for, will have it, or is asked too much."""
    number, part = asked.segment, asked.part
    if number is None:
        return NOW
    last = window.last
    if number > last + AHEAD_SEGMENTS:
        return BAD
    if number <= last:
        if part is None or number < last:
            return NOW
        if not window.segments or part < len(window.segments[-1].parts):
            return NOW
        # Beyond the parts of a segment that is complete: the first part of the next one is meant.
        number, part = last + 1, 0
    if part is None:
        return WAIT
    there = window.open_parts if number == last + 1 else 0
    if part >= there + _ahead(window.numbering.part_ms):
        return BAD
    return NOW if part < there else WAIT


def _ahead(part_ms: int) -> int:
    return AHEAD_PARTS if part_ms >= 1000 else -(-AHEAD_PARTS * 1000 // max(part_ms, 1))


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        return _BROKEN
    return int(text)
