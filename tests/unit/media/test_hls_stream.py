"""A stream becomes parts and segments, by rules that hold over any series of reloads."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from rtmpsrv.media.hls_cutter import Rows
from rtmpsrv.media.hls_numbers import NUMBERS_A_SECOND, Numbering, restore
from rtmpsrv.media.hls_playlist import media_playlist
from rtmpsrv.media.hls_stream import (
    MAX_SAVED,
    MAX_SURVEY_BYTES,
    MAX_SURVEY_FRAMES,
    SAVED_AT_FIRST,
    HlsStream,
    Wishes,
    mp4_part,
)
from rtmpsrv.media.hls_window import Window
from rtmpsrv.media.mp4 import Part, Run
from rtmpsrv.media.mp4 import fragment as mp4_fragment
from rtmpsrv.media.mp4_source import FRAME_BYTES, Timed
from tests.hls_rules import Playlist, check_series, merge, parse

WALL_MS = 1_700_000_000_000


def fragment(sequence: int, tracks: Sequence[Rows]) -> bytes:
    """Bytes that tell what is in them."""
    rows = [row[3] for _, _, rows in tracks for row in rows]
    return b"[%d:%s]" % (sequence, b" ".join(rows))


class Studio:
    """A channel's stream, and a player that reloads after each frame."""

    def __init__(
        self, numbering: Numbering | None = None, wishes: Wishes | None = None, *, fills: bool = True
    ) -> None:
        self.numbering = numbering or Numbering(1000, "ab1")
        self.window = Window(self.numbering, 16_000)
        self.stream = HlsStream(self.window, wishes or Wishes(), fragment)
        self.ms = 0
        self._fills = fills
        self.lists: list[Playlist] = []
        self.plain: list[Playlist] = []

    def begin(self, *, is_video: bool = True) -> None:
        self.stream.begin(b"init", 1, is_video)

    def send(self, number: int, time: int, data: bytes, *, is_keyframe: bool = True) -> bool:
        self.ms = max(self.ms, time)
        changed = self.stream.take(
            [Timed(number, time, 0, is_keyframe, data)], self.ms / 1000, WALL_MS + self.ms
        )
        self.look(changed)
        return changed

    def finish(self) -> None:
        self.look(self.stream.finish(self.ms / 1000, WALL_MS + self.ms))

    def look(self, changed: bool) -> None:
        if not self.numbering.is_fixed:
            return
        text = media_playlist(self.window)
        delta = parse(media_playlist(self.window, skip=True), fills=self._fills)
        found = parse(text, fills=self._fills)
        if delta.skipped:
            assert merge(found, delta) == found
        if self.lists:
            assert changed == (found != self.lists[-1])
        self.lists.append(found)
        self.plain.append(parse(media_playlist(self.window, low_latency=False)))

    def pictures(self, seconds: float, fps: int = 25, gop: int = 50, begin: int = 0) -> None:
        for number in range(int(seconds * fps)):
            time = begin + number * 1000 // fps
            self.send(1, time, b"v%d" % time, is_keyframe=number % gop == 0)
            self.send(2, time + 1, b"a%d" % time)

    def check(self) -> None:
        check_series(self.lists)
        check_series(self.plain)


def test_targets_are_known_before_the_first_playlist() -> None:
    studio = Studio()
    studio.begin()
    studio.pictures(2)
    assert not studio.numbering.is_fixed
    assert studio.window.open is None
    assert studio.stream.kept_bytes > 0
    studio.pictures(1, begin=2000)
    assert (studio.numbering.target_s, studio.numbering.part_ms) == (3, 485)
    assert studio.stream.kept_bytes < 20 * FRAME_BYTES  # a part
    assert studio.lists[0].segments == [] or studio.lists[0].target == 3
    studio.pictures(8, begin=3000)
    studio.finish()
    studio.check()
    assert studio.window.segments[-1].size > 0


def test_wall_clock_goes_with_the_media() -> None:
    studio = Studio()
    studio.begin()
    studio.pictures(7)
    walls = [segment.wall_ms for segment in studio.window.segments]
    assert [after - walls[0] for after in walls] == [0, 2000, 4000]
    assert abs(walls[0] - WALL_MS) < 500


def test_wishes_are_kept() -> None:
    studio = Studio(wishes=Wishes(part_ms=200, target_s=6))
    studio.begin()
    studio.pictures(9)
    assert (studio.numbering.target_s, studio.numbering.part_ms) == (6, 205)
    studio.check()


def test_much_at_the_beginning_is_not_kept() -> None:
    studio = Studio()
    studio.begin()
    studio.send(2, 0, b"a")
    for time in (0, 40, 80):
        studio.send(1, time, bytes(MAX_SURVEY_BYTES // 2), is_keyframe=not time)
    assert studio.numbering.is_fixed
    studio.finish()
    assert studio.stream.kept_bytes == 0


def test_sound_of_a_picture_that_stands_still_is_not_kept_for_ever() -> None:
    studio = Studio()
    studio.begin()
    studio.send(1, 0, b"v")
    for number in range(1, MAX_SURVEY_FRAMES):
        assert not studio.window.numbering.is_fixed
        studio.stream.take([Timed(2, number, 0, True, b"a")], number / 1000, WALL_MS + number)
    assert studio.window.segments or studio.window.open
    assert studio.stream.kept_bytes < MAX_SURVEY_FRAMES * FRAME_BYTES // 2


def test_end_before_anything_is_known() -> None:
    studio = Studio()
    assert studio.stream.take([Timed(1, 0, 0, True, b"v")], 0, 0) is False
    studio.finish()
    studio.begin()
    studio.finish()
    assert not studio.numbering.is_fixed
    assert studio.stream.take([Timed(1, 0, 0, True, b"v")], 0, 0) is False
    studio.begin()
    studio.pictures(0.5)
    studio.finish()
    assert not studio.numbering.is_fixed
    assert studio.stream.kept_bytes == 0
    studio.pictures(5, begin=1000)  # behind a loss: it tells more
    assert studio.numbering.target_s == 3
    assert studio.window.segments[0].size > 0
    studio.check()


def test_other_publisher_is_a_discontinuity() -> None:
    studio = Studio()
    studio.begin()
    studio.pictures(7)
    studio.finish()
    studio.begin()
    studio.pictures(7)
    studio.finish()
    studio.check()
    assert [one.discontinuity for one in studio.lists[-1].segments] == [True, False, False, False] * 2
    assert studio.lists[-1].segments[4].map_uri != studio.lists[-1].segments[3].map_uri


def test_numbers_go_on_after_an_idle_time_and_in_another_process() -> None:
    studio = Studio()
    studio.begin()
    studio.pictures(7)
    studio.finish()
    again = Studio(restore(studio.numbering.snapshot()))
    again.lists = studio.lists
    again.plain = studio.plain
    again.look(True)
    again.begin()
    again.pictures(7, begin=100_000)
    again.check()
    assert again.lists[-1].first == studio.window.last + 1
    assert again.lists[-1].segments[0].discontinuity


def test_sound_alone() -> None:
    studio = Studio()
    studio.begin(is_video=False)
    for number in range(500):
        studio.send(1, number * 1024 // 48, b"a%d" % number)
    studio.finish()
    studio.check()
    assert len(studio.lists[-1].segments) >= 4


def test_parts_are_fragments_of_mp4() -> None:
    rows = [(40, 80, True, b"v0"), (40, 0, False, b"v1")]
    made = mp4_part(7, [(1, 5, rows), (2, 6, [(21, 0, True, b"a")])])
    expected = [Run(1, 5, [Part(*row) for row in rows]), Run(2, 6, [Part(21, 0, True, b"a")])]
    assert made == mp4_fragment(7, expected)
    numbering = Numbering(1, "a")
    numbering.fix(1000, 40)
    stream = HlsStream(Window(numbering, 0))
    stream.begin(b"init", 1, True)
    stream.take([Timed(1, 0, 0, True, b"v0")], 0, 0)
    stream.finish(0, 0)
    assert stream.window.find("a-1.m4s") == (mp4_part(1, [(1, 0, [(21, 0, True, b"v0")])]),)


def test_stream_that_breaks_off_all_the_time_takes_no_more_numbers_than_the_clock() -> None:
    studio = Studio(wishes=Wishes(target_s=3))
    studio.begin()
    studio.pictures(2.5)
    begin = studio.numbering.next_segment
    for place in range(200):  # twenty a second, each a stream of its own
        studio.send(1, 2500 + place * 50, b"v%d" % place)
        studio.finish()
        studio.begin()
    most = 10 * NUMBERS_A_SECOND + MAX_SAVED
    assert most / 2 < studio.numbering.next_segment - begin <= most + 1
    studio.pictures(8, begin=60_000)
    studio.finish()
    studio.check()


def test_much_at_once_takes_few_numbers_ahead_of_the_clock() -> None:
    studio = Studio(wishes=Wishes(target_s=3))
    begin = studio.numbering.next_segment
    studio.ms = 60_000  # which is now
    studio.begin()
    studio.pictures(60)
    assert studio.numbering.next_segment - begin == SAVED_AT_FIRST
    studio.check()


def test_segment_behind_one_that_was_left_out_is_a_discontinuity() -> None:
    studio = Studio(wishes=Wishes(target_s=3))
    studio.begin()
    studio.pictures(2.5)
    for _ in range(int(MAX_SAVED) + 10):
        studio.finish()
        studio.begin()
        studio.send(1, 2500, b"v")
    left_out = studio.window.last
    studio.pictures(7, begin=2540)
    studio.finish()
    behind = [one for one in studio.window.segments if one.number > left_out]
    assert [one.discontinuity for one in behind[:2]] == [True, False]
    studio.check()


def test_segment_lasts_as_long_as_its_frames_though_no_part_may() -> None:
    studio = Studio(wishes=Wishes(target_s=3), fills=False)
    studio.begin()
    studio.pictures(3)
    studio.send(1, 3900, b"v")  # the picture before lasts 940 ms
    studio.pictures(3, begin=3940)
    studio.finish()
    studio.check()
    assert [one.duration for one in studio.lists[-1].segments][:2] == [2.0, 1.9]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("video"), st.integers(1, 700), st.booleans()),
        st.tuples(st.just("sound"), st.integers(1, 60), st.just(True)),
        st.tuples(st.sampled_from(["gap", "publisher"]), st.integers(2001, 9000), st.booleans()),
    ),
    max_size=150,
)


@settings(deadline=None)  # a hundred playlists are read for each
@given(STEPS)
def test_any_stream_keeps_the_rules_of_reloads(steps: list[tuple[str, int, bool]]) -> None:
    """But for how full parts are: frames of any length fill none."""
    studio = Studio(wishes=Wishes(target_s=3), fills=False)
    studio.begin()
    studio.pictures(2.5)
    video = sound = 2500
    for place, (kind, step, is_keyframe) in enumerate(steps):
        if kind == "video":
            video += step
            studio.send(1, video, b"v%d" % place, is_keyframe=is_keyframe)
        elif kind == "sound":
            sound += step
            studio.send(2, sound, b"a%d" % place)
        elif kind == "gap":
            video = sound = max(video, sound) + step
        else:
            studio.finish()
            studio.begin()
    studio.finish()
    studio.check()
