"""What is made of a stream goes on in another process, in the middle of whatever it is."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from rtmpsrv.media import hls_moved
from rtmpsrv.media.hls_cutter import Cutter
from rtmpsrv.media.hls_moved import FIELDS, restore, snapshot
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.hls_playlist import media_playlist
from rtmpsrv.media.hls_stream import HlsStream
from rtmpsrv.media.hls_survey import Survey
from rtmpsrv.media.hls_window import Segment, Window
from rtmpsrv.media.mp4_source import Mp4Source, Timed

WALL_MS = 1_700_000_000_000
MOST = 1 << 30
# What is another process's own: the window's length, wishes, how parts are packed.
OWN = frozenset({"_window_ms", "_most", "window", "_pack", "_wishes"})
FRAME_MS = 40


class Line:
    """A window and what fills it."""

    def __init__(self, source: Mp4Source | None = None) -> None:
        self.window = Window(Numbering(1000, "ab1"), 6000)
        self.stream = HlsStream(self.window)
        self.source = source
        self.ms = 0

    def begin(self) -> None:
        self.stream.begin(b"init", 1, True)

    def play(self, frames: int) -> None:
        for _ in range(frames):
            is_key = self.ms % 1000 == 0
            picture = Timed(1, self.ms, 0, is_key, b"picture %d" % self.ms)
            sound = Timed(2, self.ms, 0, True, b"sound %d" % self.ms)
            self.stream.take([picture, sound], self.ms / 1000, WALL_MS + self.ms)
            self.ms += FRAME_MS

    def move(self, most: int = MOST) -> Line:
        """What another process has."""
        value = pickle.loads(pickle.dumps(snapshot(self.window, self.stream, self.source, most)))
        other = Line()
        other.ms = self.ms
        other.source = restore(value, other.window, other.stream)
        return other

    def everything(self) -> list[object]:
        window = self.window
        numbers = range(1000, window.numbering.next_segment + 1)
        named = [window.find(f"ab1-{number}.m4s") for number in numbers]
        return [media_playlist(window), window.size, window.inits, named, window.numbering.snapshot()]


def names_in(one: object) -> set[str]:
    kind: Any = type(one)
    declared = getattr(kind, "__mypyc_attrs__", ()) or getattr(kind, "__slots__", ())
    return set(declared) | set(getattr(one, "__dict__", {}))


def test_all_that_they_consist_of_goes_along() -> None:
    kinds: list[object] = [
        Numbering(0, ""), Window(Numbering(0, ""), 0), Segment(0, 0, 0, False), Line().stream,
        Cutter(1, True, 1, 1, discontinuity=True), Survey(True), Mp4Source(), Mp4Source()._times,
    ]  # fmt: skip
    assert {type(one).__name__ for one in kinds} == FIELDS.keys()
    for one in kinds:
        assert names_in(one) - OWN == set(FIELDS[type(one).__name__]), type(one)


@pytest.mark.parametrize("frames", [0, 3, 27, 60, 111, 600])
def test_parts_go_on_as_if_nothing_had_been(frames: int) -> None:
    line = Line()
    line.begin()
    line.play(frames)
    other = line.move()
    assert other.everything() == line.everything()
    line.play(403)
    other.play(403)
    assert other.everything() == line.everything()
    for one in (line, other):
        one.stream.finish(one.ms / 1000, WALL_MS + one.ms)
        one.begin()
        one.ms += 1000 - one.ms % 1000
        one.play(100)
    assert other.everything() == line.everything()


def test_nothing_has_begun() -> None:
    other = Line().move()
    assert other.source is None
    assert media_playlist(other.window) == media_playlist(Line().window)


def test_what_left_the_playlist_is_left_out_where_there_is_too_much() -> None:
    line = Line()
    line.begin()
    line.play(600)
    left = sum(segment.size for segment in line.window._left)
    assert left
    other = line.move(line.window.size - 1)
    assert media_playlist(other.window) == media_playlist(line.window)
    assert other.window.size == line.window.size - left
    assert other.window.find(f"ab1-{line.window._left[0].number}.m4s") is None
    other.play(200)
    assert other.window.size > 0
    assert snapshot(line.window, line.stream, None, 10) is None


def test_frames_that_wait_for_their_configuration_go_along() -> None:
    source = Mp4Source()
    source.take(8, 0, b"\xaf\x00\x12\x10", 5.0)
    source.take(8, 1, b"\xaf\x01sound", 5.0)
    other = Line(source).move()
    assert other.source is not None
    assert other.source.waiting_bytes == source.waiting_bytes > 0
    for one in (source, other.source):
        assert one.ready(7.0)
    assert other.source.samples() == source.samples() != []
    assert other.source.question == source.question


def test_plain_lists_are_left_as_they_are() -> None:
    plain = [(1, b"x")]
    assert hls_moved.taken(plain) is plain
    assert hls_moved.given(plain) is plain
    assert hls_moved.given({"a": []}) == {"a": []}
