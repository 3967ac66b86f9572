"""A strict reader of HLS playlists, and the rules for one of them and for a series of reloads.

RFC 8216 and draft-pantos-hls-rfc8216bis; each rule names its section. What is broken raises AssertionError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)(?:,|$)')
# Tags that stand before the first segment, once at most.
_ONCE = {
    "EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF", "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-SKIP",
}  # fmt: skip


@dataclass
class PartLine:
    uri: str
    duration: float
    independent: bool


@dataclass
class SegmentLine:
    number: int
    uri: str = ""
    duration: float = 0.0
    discontinuity: bool = False
    map_uri: str = ""
    date: datetime | None = None
    parts: list[PartLine] = field(default_factory=list)


@dataclass
class Playlist:
    once: dict[str, str] = field(default_factory=dict)
    segments: list[SegmentLine] = field(default_factory=list)
    tail: SegmentLine | None = None  # that is not complete: parts only
    hint: str = ""
    skipped: int = 0

    @property
    def target(self) -> int:
        return int(self.once["EXT-X-TARGETDURATION"])

    @property
    def first(self) -> int:
        return int(self.once["EXT-X-MEDIA-SEQUENCE"])

    @property
    def control(self) -> dict[str, str]:
        return attributes(self.once.get("EXT-X-SERVER-CONTROL", ""))

    @property
    def part_target(self) -> float:
        return float(attributes(self.once["EXT-X-PART-INF"])["PART-TARGET"])

    @property
    def duration(self) -> float:
        return sum(segment.duration for segment in self.segments)


def attributes(text: str) -> dict[str, str]:
    """Read an attribute list, all of it."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _ATTRIBUTE.match(text, place)
        assert match, f"attribute list: {text!r}"
        assert match[1] not in found, f"twice: {match[1]}"
        found[match[1]] = match[2].strip('"')
        place = match.end()
    return found


def parse(text: str, *, fills: bool = True) -> Playlist:
    """Read a media playlist; every line must be known and where it may be.

    Frames of any length fill no parts: `fills` tells whether they should.
    """
    lines = text.split("\n")
    assert lines[0] == "#EXTM3U", "4.4.1.1"
    assert lines[-1] == ""
    found = Playlist()
    current: SegmentLine | None = None
    number, map_uri = 0, ""
    for line in lines[1:-1]:
        assert line, "no empty line is written"
        tag, _, value = line.lstrip("#").partition(":")
        assert not found.hint, f"{line} after the hint"
        if tag in _ONCE:
            assert current is None, f"{tag} inside a segment"
            assert not found.segments, f"{tag} after a segment"
            assert tag not in found.once, f"{tag} twice"
            found.once[tag] = value
            if tag == "EXT-X-SKIP":
                found.skipped = int(attributes(value)["SKIPPED-SEGMENTS"])
            continue
        if tag == "EXT-X-PRELOAD-HINT":
            told = attributes(value)
            assert told["TYPE"] == "PART"
            found.hint = told["URI"]
            continue
        if current is None:
            number = number + 1 if found.segments else found.first + found.skipped
            current = SegmentLine(number, map_uri=map_uri)
        if tag == "EXT-X-DISCONTINUITY":
            assert not current.parts
            current.discontinuity = True
        elif tag == "EXT-X-MAP":
            assert not current.parts
            current.map_uri = map_uri = attributes(value)["URI"]
        elif tag == "EXT-X-PROGRAM-DATE-TIME":
            assert not current.parts, "4.4.4.6: before the first part"
            current.date = datetime.fromisoformat(value)
            assert current.date.tzinfo is not None
        elif tag == "EXT-X-PART":
            told = attributes(value)
            assert told.get("INDEPENDENT", "YES") == "YES"
            current.parts.append(PartLine(told["URI"], float(told["DURATION"]), "INDEPENDENT" in told))
        elif tag == "EXTINF":
            current.duration = float(value.rstrip(","))
        else:
            assert not line.startswith("#"), f"unknown: {line}"
            assert current.duration > 0, "EXTINF before its URI"
            current.uri = line
            found.segments.append(current)
            current = None
    found.tail = current
    check(found, fills=fills)
    return found


def check(playlist: Playlist, *, fills: bool = True) -> None:
    """The rules for one playlist."""
    version = int(playlist.once["EXT-X-VERSION"])
    assert version >= 6, "8: EXT-X-MAP"
    target = playlist.target
    for segment in playlist.segments:
        assert int(segment.duration + 0.5) <= target, f"4.4.3.1: {segment.duration} s, target {target}"
        assert segment.map_uri or playlist.skipped, "4.4.4.5"
    if playlist.tail is not None:
        assert playlist.tail.parts, "tags that belong to nothing"
    if "EXT-X-PART-INF" not in playlist.once:
        assert not playlist.hint
        assert playlist.tail is None
        assert not any(segment.parts for segment in playlist.segments)
        assert not playlist.control
        return
    assert version >= 9, "8: EXT-X-SKIP"
    control, part_target = playlist.control, playlist.part_target
    assert control["CAN-BLOCK-RELOAD"] == "YES"
    assert float(control["PART-HOLD-BACK"]) >= 3 * part_target - 1e-6, "4.4.3.8: 2 must, 3 should be"
    assert float(control["HOLD-BACK"]) >= 3 * target, "4.4.3.8"
    assert float(control["CAN-SKIP-UNTIL"]) >= 6 * target, "4.4.3.8"
    assert playlist.hint, "always there"
    left = 3.0 * target - sum(part.duration for part in (playlist.tail.parts if playlist.tail else []))
    for segment in reversed(playlist.segments):
        left -= segment.duration
        assert bool(segment.parts) == (left >= -1e-6), (
            "6.2.2: parts within three targets of the end, no others"
        )
        if segment.parts:
            whole = sum(part.duration for part in segment.parts)
            assert whole <= segment.duration + 1e-6
            assert not fills or whole >= segment.duration - 1e-6, "parts and segment hold the same"
            check_parts(segment.parts, part_target, is_whole=True, fills=fills)
    if playlist.tail is not None:
        check_parts(playlist.tail.parts, part_target, is_whole=False, fills=fills)


def check_parts(parts: list[PartLine], part_target: float, *, is_whole: bool, fills: bool) -> None:
    """4.4.4.9: none is longer than the target; all but some fill it."""
    for place, part in enumerate(parts):
        assert 0 < part.duration <= part_target
        is_last = is_whole and place == len(parts) - 1
        assert not fills or part.independent or is_last or part.duration >= 0.85 * part_target, part


def check_series(playlists: list[Playlist]) -> None:
    """The rules for what may change between reloads, oldest first; none of them a delta."""
    known: dict[int, SegmentLine] = {}
    uris: dict[str, int] = {}
    for before, after in pairwise(playlists):
        for tag in ("EXT-X-TARGETDURATION", "EXT-X-PART-INF", "EXT-X-SERVER-CONTROL", "EXT-X-VERSION"):
            assert before.once.get(tag) == after.once.get(tag), f"6.2.1: {tag} changed"
        assert after.first >= before.first, "6.2.2: MEDIA-SEQUENCE went back"
        gone = [one for one in before.segments if one.number < after.first]
        step = sum(segment.discontinuity for segment in gone)
        sequence = "EXT-X-DISCONTINUITY-SEQUENCE"
        if before.segments and after.first <= before.segments[-1].number + 1:
            assert int(after.once[sequence]) == int(before.once[sequence]) + step, "4.4.5.2"
        assert int(after.once[sequence]) >= int(before.once[sequence])
        if gone and after.segments:
            assert after.duration >= 3 * after.target, "6.2.2: too short for a segment to leave"
        if before.tail is not None:
            heir = next(
                (one for one in (*after.segments, after.tail) if one and one.number == before.tail.number),
                None,
            )
            if heir is not None and heir.parts:
                assert heir.parts[: len(before.tail.parts)] == before.tail.parts, "parts may only be added"
    for playlist in playlists:
        for segment, following in pairwise(playlist.segments):
            check_following(segment, following, playlist.target)
        for segment in playlist.segments:
            same = known.setdefault(segment.number, segment)
            assert (same.uri, same.duration, same.map_uri, same.discontinuity, same.date) == (
                segment.uri, segment.duration, segment.map_uri, segment.discontinuity, segment.date
            ), "6.2.1: a segment changed"  # fmt: skip
            assert uris.setdefault(segment.uri, segment.number) == segment.number, "a name was used again"


def check_following(segment: SegmentLine, following: SegmentLine, target: int) -> None:
    """4.4.4.3: what changes tracks or encoding is a discontinuity; 4.4.4.6: dates go with durations."""
    assert following.number == segment.number + 1
    if following.discontinuity:
        return
    assert following.map_uri == segment.map_uri, "4.4.4.3: another beginning without a discontinuity"
    assert segment.date, "each has a date"
    assert following.date, "each has a date"
    step = (following.date - segment.date).total_seconds()
    # A frame that lasts too long for the segment: the target comes first.
    is_cut = segment.duration >= target + 0.399 and step > segment.duration
    assert is_cut or abs(step - segment.duration) < 0.002, f"4.4.4.6: {step} s and {segment.duration} s"


def merge(whole: Playlist, delta: Playlist) -> Playlist:
    """Do what a player does with a delta."""
    assert delta.skipped
    kept = [one for one in whole.segments if delta.first <= one.number < delta.first + delta.skipped]
    assert len(kept) == delta.skipped, "6.2.5.1: what is skipped is known"
    boundary = float(delta.control["CAN-SKIP-UNTIL"])
    tail = sum(part.duration for part in (delta.tail.parts if delta.tail else []))
    assert delta.duration + tail >= boundary, "6.2.5.1: skipped too near the end"
    once = {tag: value for tag, value in delta.once.items() if tag != "EXT-X-SKIP"}
    segments = [*kept, *delta.segments]
    map_uri = ""
    for segment in (*segments, *([delta.tail] if delta.tail else [])):
        segment.map_uri = map_uri = segment.map_uri or map_uri
    return Playlist(once, segments, delta.tail, delta.hint)
