"""Playlists as text, by what a window holds. Pure.

draft-pantos-hls-rfc8216bis. URIs end with `QUERY`, in whose place each player gets the query of its own:
native players send nothing along that is not written there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rtmpsrv.media.hls_window import Segment, Window, init_name, part_name, segment_name

QUERY: Final = "\0"  # stands in no URI
MEDIA: Final = "live.m3u8"

HOLD_BACK_TARGETS: Final = 3
HOLD_BACK_PARTS: Final = 3
SKIP_TARGETS: Final = 6
MARGIN: Final = 1.1  # of the bandwidth that is told over the peak that was seen: it is not told anew
BANDWIDTH_STEP: Final = 10_000
_PLAIN_VERSION: Final = 6  # the first with EXT-X-MAP in ordinary playlists
_LOW_LATENCY_VERSION: Final = 9  # the first with EXT-X-SKIP


def media_playlist(window: Window, low_latency: bool = True, skip: bool = False) -> str:
    """Return the playlist; with `skip` without its older segments, where it is long enough."""
    numbering = window.numbering
    target_s, part_s = numbering.target_s, numbering.part_ms / 1000
    skipped = skippable(window) if skip and low_latency else 0
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{_LOW_LATENCY_VERSION if low_latency else _PLAIN_VERSION}",
        f"#EXT-X-TARGETDURATION:{target_s}",
    ]
    if low_latency:
        lines += [
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={SKIP_TARGETS * target_s:.1f},"
            f"PART-HOLD-BACK={HOLD_BACK_PARTS * part_s:.3f},HOLD-BACK={HOLD_BACK_TARGETS * target_s:.1f}",
            f"#EXT-X-PART-INF:PART-TARGET={part_s:.3f}",
        ]
    first = window.segments[0].number if window.segments else window.last + 1
    lines += [
        f"#EXT-X-MEDIA-SEQUENCE:{first}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{window.discontinuity_sequence}",
    ]
    if skipped:
        lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")
    init = window.segments[skipped - 1].init if skipped else 0
    parts_from = window.parts_from() if low_latency else window.last + 1
    for segment in window.segments[skipped:]:
        _map(lines, window, segment, init)
        init = segment.init
        if segment.number >= parts_from:
            _begin(lines, segment)
            _parts(lines, window, segment)
            _end(lines, window, segment)
        else:
            lines.append(segment.lines or _lines(window, segment))
    if low_latency:
        if window.open is not None and window.open.parts:
            _map(lines, window, window.open, init)
            _begin(lines, window.open)
            _parts(lines, window, window.open)
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{window.next_name}{QUERY}"')
    lines.append("")
    return "\n".join(lines)


def skippable(window: Window) -> int:
    """Return how many segments are further from the end than players may leave out; 0 where it is no gain."""
    left_ms = SKIP_TARGETS * window.numbering.target_s * 1000
    if window.open is not None:
        left_ms -= window.open.duration_ms
    count = len(window.segments)
    for segment in reversed(window.segments):
        left_ms -= segment.duration_ms
        if left_ms < 0:
            break
        count -= 1
    # The one that the boundary goes through is in; so is at least one before the end.
    return max(0, count - 1)


def index_of(window: Window, codecs: str, picture: tuple[int, int] | None, is_sound: bool) -> str:
    """Return the playlist that names the media playlist, by what the window holds now."""
    bandwidth = -int(-window.peak_bits * MARGIN // BANDWIDTH_STEP) * BANDWIDTH_STEP
    fps = 0.0 if is_sound else window.peak_fps
    return multivariant(codecs, max(bandwidth, BANDWIDTH_STEP), picture, fps)


def multivariant(
    codecs: str, bandwidth: int, picture: tuple[int, int] | None = None, fps: float = 0.0
) -> str:
    """Return the playlist that names the media playlist, and says what is in it."""
    said = [f"BANDWIDTH={bandwidth}", f'CODECS="{codecs}"']
    if picture is not None:
        said.append(f"RESOLUTION={picture[0]}x{picture[1]}")
    if fps:
        said.append(f"FRAME-RATE={fps:.3f}")
    return f"#EXTM3U\n#EXT-X-VERSION:{_PLAIN_VERSION}\n#EXT-X-STREAM-INF:{','.join(said)}\n{MEDIA}{QUERY}\n"


def _lines(window: Window, segment: Segment) -> str:
    """Return what a segment is without its parts, for as long as it is there: written once."""
    lines: list[str] = []
    _begin(lines, segment)
    _end(lines, window, segment)
    segment.lines = "\n".join(lines)
    return segment.lines


def _map(lines: list[str], window: Window, segment: Segment, init: int) -> None:
    """Add what begins a configuration."""
    if segment.discontinuity:
        lines.append("#EXT-X-DISCONTINUITY")
    if segment.init != init:
        lines.append(f'#EXT-X-MAP:URI="{init_name(window.numbering.prefix, segment.init)}{QUERY}"')


def _begin(lines: list[str], segment: Segment) -> None:
    """Add what stands before a segment and its parts."""
    wall = datetime.fromtimestamp(segment.wall_ms / 1000, UTC)
    lines.append(
        f"#EXT-X-PROGRAM-DATE-TIME:{wall.strftime('%Y-%m-%dT%H:%M:%S')}.{segment.wall_ms % 1000:03}Z"
    )


def _end(lines: list[str], window: Window, segment: Segment) -> None:
    """Add a complete segment."""
    lines.append(f"#EXTINF:{segment.duration_ms / 1000:.3f},")
    lines.append(segment_name(window.numbering.prefix, segment.number) + QUERY)


def _parts(lines: list[str], window: Window, segment: Segment) -> None:
    """Add the parts of a segment."""
    for number, part in enumerate(segment.parts):
        name = part_name(window.numbering.prefix, segment.number, number)
        independent = ",INDEPENDENT=YES" if part.is_independent else ""
        duration = part.duration_ms / 1000
        lines.append(f'#EXT-X-PART:DURATION={duration:.3f},URI="{name}{QUERY}"{independent}')
