"""The HLS of a channel in plain values, from which another process cuts on in the middle of a part. Pure.

Whoever has the same state and reads the same messages makes the same parts with the same numbers. So the
process before may go on beside, for viewers that it has to keep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from rtmpsrv.media.hls_cutter import Cutter
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.hls_stream import HlsStream
from rtmpsrv.media.hls_survey import Survey
from rtmpsrv.media.hls_window import Segment, Window
from rtmpsrv.media.mp4_source import Mp4Source
from rtmpsrv.media.mp4_times import Times

FORM: Final = 1  # of these values; another one is not read

_KIND: Final = "kind of state"  # a key that no dictionary of a state has

# What each consists of: fields that hold no more than such objects, plain values, and tuples of them.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Numbering": ("prefix", "next_segment", "discontinuities", "inits", "target_s", "part_ms"),
    "Window": (
        "numbering", "segments", "open", "inits", "discontinuity_sequence", "size", "locks", "_is_locked",
        "_left", "_by_number",
    ),
    "Segment": (
        "number", "init", "wall_ms", "discontinuity", "parts", "size", "duration_ms", "frames", "lines",
        "until",
    ),
    "HlsStream": (
        "_sequence", "_leading", "_is_video", "_init", "_cutter", "_survey", "_kept", "_kept_bytes",
        "_wall_ms", "_saved", "_saved_at", "_leaves_out", "_left_out", "_segment_time",
    ),
    "Cutter": (
        "_leading", "_is_video", "_target_ms", "_part_ms", "_discontinuity", "_frames", "_newest", "_last",
        "_begin", "_segment_begin", "_first", "_frame_ms", "_gop_ms", "_keyframe", "_since", "held_bytes",
    ),
    "Survey": ("_is_video", "_times", "_keyframes"),
    "Mp4Source": (
        "tracks", "lost_frames", "_selection", "_configs", "_first", "_seen", "_others", "_settled",
        "_began", "_arrived", "_times", "_waiting", "_waiting_bytes", "_numbers", "_last", "_starts_with",
    ),
    "Times": ("_raw", "_now", "_top"),
}  # fmt: skip

_NEW: Final[dict[str, Callable[[], object]]] = {
    "Numbering": lambda: Numbering(0, ""),
    "Segment": lambda: Segment(0, 0, 0, False),
    "Cutter": lambda: Cutter(1, True, 1, 1, discontinuity=False),
    "Survey": lambda: Survey(True),
    "Mp4Source": lambda: Mp4Source(),
    "Times": Times,
}


def snapshot(window: Window, stream: HlsStream, source: Mp4Source | None, most: int) -> dict[str, Any] | None:
    """Return all that the maker of a channel is in the middle of; None where that has more bytes than `most`.

    To be pickled before anything changes: lists and bytes are those of the maker.
    """
    left = window.size
    if left > most:  # those that are out of the playlist are wanted least
        left -= sum([segment.size for segment in window._left])
    if left > most:
        return None
    value = {"form": FORM, "window": taken(window), "stream": taken(stream), "source": taken(source)}
    if left != window.size:
        known: Any = value["window"]
        gone = {segment.number for segment in window._left}
        known["_left"], known["size"] = deque(), left
        known["_by_number"] = {n: one for n, one in known["_by_number"].items() if n not in gone}
    return value


def restore(value: dict[str, Any], window: Window, stream: HlsStream) -> Mp4Source | None:
    """Let a window and a stream go on where those of another process were; return the source."""
    _fill(window, value["window"])
    # The same objects, which pickling in between has made two of.
    segments = [*window._left, *window.segments, *([window.open] if window.open is not None else [])]
    window._by_number = {segment.number: segment for segment in segments}
    _fill(stream, value["stream"])
    source: Mp4Source | None = given(value["source"])
    return source


def taken(one: Any) -> Any:
    """Return a value in which objects of these kinds are dictionaries."""
    fields = FIELDS.get(type(one).__name__)
    if fields is not None:
        return {_KIND: type(one).__name__, **{name: taken(getattr(one, name)) for name in fields}}
    if isinstance(one, (list, deque)):
        return type(one)([taken(item) for item in one]) if _has_states(one) else one
    if isinstance(one, dict):
        return {key: taken(item) for key, item in one.items()}
    return one


def given(value: Any) -> Any:
    """Return a value with objects again, as `taken` found it."""
    if isinstance(value, dict):
        if _KIND in value:
            return _fill(_NEW[value[_KIND]](), value)
        return {key: given(item) for key, item in value.items()}
    if isinstance(value, (list, deque)):
        return type(value)([given(item) for item in value]) if _has_values(value) else value
    return value


def _fill(one: object, values: dict[str, Any]) -> object:
    for name in FIELDS[type(one).__name__]:
        setattr(one, name, given(values[name]))
    return one


def _has_states(items: Any) -> bool:
    """Tell whether a list is one of states: all of its items are of one kind."""
    return bool(items) and type(items[0]).__name__ in FIELDS


def _has_values(items: Any) -> bool:
    return bool(items) and isinstance(items[0], dict)
