"""Where a stream is cut: at keyframes if possible, in time in any case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.media.hls_cutter import (
    GAP_MS,
    MAX_AHEAD_BYTES,
    MAX_AHEAD_FRAMES,
    Cut,
    Cutter,
    PartCut,
    SegmentEnd,
)

VIDEO, SOUND = 1, 2
TARGET_MS, PART_MS = 3400, 505

Entry = tuple[int, int, bool, bytes]  # track, time, keyframe, data


def cutter(*, is_video: bool = True, target_ms: int = TARGET_MS, part_ms: int = PART_MS) -> Cutter:
    return Cutter(VIDEO, is_video, target_ms, part_ms, discontinuity=False)


def pictures(fps: float, gop: int, seconds: float, begin: int = 0) -> Iterator[Entry]:
    for number in range(int(fps * seconds)):
        yield VIDEO, begin + round(number * 1000 / fps), number % gop == 0, b"v%d" % number


def sounds(seconds: float, begin: int = 0, first: int = 0) -> Iterator[Entry]:
    for number in range(first, int(seconds * 1000 / 21.333)):
        yield SOUND, begin + round(number * 21.333), True, b"a%d" % number


def together(*tracks: Iterable[Entry]) -> list[Entry]:
    return sorted([entry for track in tracks for entry in track], key=lambda entry: entry[1])


def cut(frames: Iterable[Entry], made: Cutter | None = None, *, finish: bool = True) -> list[Cut]:
    made = made or cutter()
    cuts: list[Cut] = []
    for number, time, is_keyframe, data in frames:
        cuts += made.take(number, time, 0, is_keyframe, data)
    return cuts + made.finish() if finish else cuts


def parts(cuts: list[Cut]) -> list[PartCut]:
    return [one for one in cuts if isinstance(one, PartCut)]


def segments(cuts: list[Cut]) -> list[list[PartCut]]:
    """Parts by segment; what no end follows is no segment."""
    found: list[list[PartCut]] = [[]]
    for one in cuts:
        if isinstance(one, PartCut):
            assert one.first == (not found[-1])
            found[-1].append(one)
        else:
            found.append([])
    assert found.pop() == []
    return found


def lengths(cuts: list[Cut]) -> list[int]:
    """Of the segments; the last frame's duration is a guess."""
    found = [sum(part.duration for part in segment) for segment in segments(cuts)]
    return [*found[:-1], round(found[-1], -1)]


def data_of(cuts: list[Cut], track: int) -> list[bytes]:
    return [
        row[3] for part in parts(cuts) for number, _, rows in part.tracks if number == track for row in rows
    ]


def gapless(cuts: list[Cut], track: int) -> bool:
    """Tell whether each part begins where the frames before it end."""
    at: int | None = None
    for part in parts(cuts):
        for number, time, rows in part.tracks:
            if number == track:
                if at is not None and time != at:
                    return False
                at = time + sum(row[0] for row in rows)
    return True


def test_segments_begin_with_keyframes() -> None:
    cuts = cut(pictures(30, 60, 8))
    assert lengths(cuts) == [2000, 2000, 2000, 2000]
    assert all(segment[0].is_independent for segment in segments(cuts))
    assert [part.is_independent for part in segments(cuts)[0]] == [True, False, False, False]
    assert data_of(cuts, VIDEO) == [b"v%d" % number for number in range(240)]
    assert gapless(cuts, VIDEO)


def test_parts_hold_whole_frames_and_fill_the_target() -> None:
    for fps, part_ms in ((30, 505), (25, 485), (60, 205), (24, 505)):
        cuts = cut(pictures(fps, int(fps) * 2, 8), cutter(part_ms=part_ms))
        for segment in segments(cuts):
            for part in segment[:-1]:
                assert 0.85 * part_ms <= part.duration <= part_ms
            assert segment[-1].duration <= part_ms


def test_short_gops_are_joined_up_to_two_seconds() -> None:
    assert lengths(cut(pictures(30, 15, 8), cutter(target_ms=2400))) == [2000] * 4
    assert lengths(cut(pictures(10, 19, 7.6))) == [1900] * 4  # two of them would be beyond the target


def test_long_gop_is_cut_at_the_target() -> None:
    cuts = cut(pictures(10, 1000, 10))
    assert all(length <= TARGET_MS for length in lengths(cuts))
    assert [part.is_independent for part in parts(cuts) if part.first] == [True, False, False]
    assert gapless(cuts, VIDEO)


def test_keyframe_inside_a_segment_makes_its_part_independent() -> None:
    first = segments(cut(pictures(30, 30, 6)))[0]
    assert [part.is_independent for part in first] == [True, False, True, False]


def test_sound_goes_where_it_belongs_in_time() -> None:
    cuts = cut(together(pictures(30, 60, 6), sounds(6)))
    assert lengths(cuts) == [2000] * 3
    for part in parts(cuts):
        assert [number for number, _, _ in part.tracks] == [VIDEO, SOUND]
        (_, video_time, _), (_, sound_time, _) = part.tracks
        assert abs(video_time - sound_time) < 45
    assert data_of(cuts, SOUND) == [entry[3] for entry in sounds(6)]
    assert gapless(cuts, VIDEO)
    assert gapless(cuts, SOUND)


def test_sound_alone_is_cut_by_time() -> None:
    frames = [(VIDEO, time, True, data) for _, time, _, data in sounds(10)]
    cuts = cut(frames, cutter(is_video=False, target_ms=2400))
    assert all(1900 <= length <= 2400 for length in lengths(cuts)[:-1])
    assert all(part.is_independent for part in parts(cuts))
    assert data_of(cuts, VIDEO) == [entry[3] for entry in frames]


def test_nothing_comes_before_the_first_keyframe() -> None:
    frames: list[Entry] = [(SOUND, 0, True, b"a"), (VIDEO, 10, False, b"v"), *pictures(30, 60, 1, begin=20)]
    cuts = cut(frames)
    assert data_of(cuts, SOUND) == []
    assert data_of(cuts, VIDEO)[0] == b"v0"
    assert cutter().finish() == []


def test_gap_ends_the_segment_and_begins_another_stream() -> None:
    after = GAP_MS + 1 + 967  # of the last frame of the first second
    frames = [*pictures(30, 30, 1), (VIDEO, after, False, b"lost"), *pictures(30, 30, 1, begin=after + 10)]
    cuts = cut(frames)
    assert [part.discontinuity for part in parts(cuts) if part.first] == [False, True]
    assert b"lost" not in data_of(cuts, VIDEO)
    assert len(data_of(cuts, VIDEO)) == 60


def test_gap_up_to_the_limit_is_none() -> None:
    frames = [
        *pictures(30, 30, 1),
        (VIDEO, GAP_MS + 967, False, b"late"),
        (VIDEO, GAP_MS + 1000, False, b"next"),
    ]
    cuts = cut(frames)
    assert not any(part.discontinuity for part in parts(cuts))
    assert b"late" in data_of(cuts, VIDEO)
    assert all(part.duration <= PART_MS for part in parts(cuts))
    assert gapless(cuts, VIDEO)


def test_finish_keeps_everything_and_next_segment_is_discontinuous() -> None:
    made = cutter()
    cuts = cut(together(pictures(30, 60, 1), sounds(1)), made)
    assert isinstance(cuts[-1], SegmentEnd)
    assert len(data_of(cuts, VIDEO)) == 30
    assert data_of(cuts, SOUND) == [entry[3] for entry in sounds(1)]
    again = cut(pictures(30, 60, 1, begin=5000), made)
    assert parts(again)[0].discontinuity


def test_finish_after_one_frame_makes_one_part() -> None:
    (part, end) = cut([(VIDEO, 0, True, b"v0")])
    assert isinstance(part, PartCut)
    assert 0 < part.duration <= PART_MS
    assert isinstance(end, SegmentEnd)


def test_parts_go_on_while_video_stands() -> None:
    """Fewer pictures than parts: sound keeps time."""
    made = cutter()
    cuts = cut(together(pictures(30, 60, 1), sounds(6)), made, finish=False)
    assert sum(part.duration for part in parts(cuts)) > 5000
    assert all(part.duration <= PART_MS for part in parts(cuts))
    assert all(
        sum(part.duration for part in segment) <= TARGET_MS for segment in segments(cuts + made.finish())
    )


def test_late_video_is_no_standing_video() -> None:
    """Sound is three seconds ahead, always: video keeps time."""
    ahead = [(SOUND, time + 3000, True, data) for _, time, _, data in sounds(8)]
    frames = [entry for pair in zip(pictures(25, 50, 6), ahead, strict=False) for entry in pair]
    cuts = cut(frames)
    assert lengths(cuts) == [2000] * 3
    assert len(data_of(cuts, SOUND)) == len(data_of(cuts, VIDEO)) == 150


def test_sound_far_ahead_is_not_kept_for_ever() -> None:
    made = cutter()
    cuts = cut(pictures(25, 50, 1), made, finish=False)
    for number in range(MAX_AHEAD_FRAMES + 2):
        cuts += made.take(SOUND, 1900, 0, True, b"a%d" % number)
    cuts += cut(pictures(25, 50, 1, begin=1000), made, finish=False)
    assert len(data_of(cuts, SOUND)) == MAX_AHEAD_FRAMES + 1
    made.take(SOUND, 2900, 0, True, bytes(MAX_AHEAD_BYTES))
    made.take(SOUND, 2910, 0, True, b"next")
    made.take(SOUND, 2920, 0, True, b"held")
    cuts = cut(pictures(25, 50, 1, begin=2000), made, finish=False)
    assert data_of(cuts, SOUND)[-1] == b"next"


def test_slow_pictures_wait_until_a_part_is_full() -> None:
    """Five a second, parts of 500 ms: two make 400, a third is too much."""
    cuts = cut(pictures(5, 10, 6), cutter(part_ms=500))
    assert {part.duration for part in parts(cuts)} == {400}
    assert lengths(cuts) == [2000] * 3


def test_pictures_longer_than_a_part_are_parts_alone() -> None:
    cuts = cut(pictures(1, 2, 8))
    assert all(part.duration <= PART_MS for part in parts(cuts))
    assert data_of(cuts, VIDEO) == [b"v%d" % number for number in range(8)]


def test_stream_of_sound_before_any_picture_goes_on_is_held_in_time() -> None:
    """Video that returns with a time before what was made of sound meanwhile."""
    made = cutter()
    cuts = cut([(VIDEO, 0, True, b"v0"), *sounds(2)], made, finish=False)
    cuts += made.take(VIDEO, 40, 0, False, b"v1")
    cuts += made.take(VIDEO, 80, 0, True, b"v2")
    cuts += made.finish()
    assert all(0 < part.duration <= PART_MS for part in parts(cuts))
    assert data_of(cuts, VIDEO) == [b"v0", b"v1", b"v2"]


STEPS = st.lists(
    st.tuples(st.sampled_from([VIDEO, SOUND]), st.integers(0, 3000), st.booleans(), st.booleans()),
    max_size=200,
)


@given(STEPS, st.booleans())
def test_any_stream_keeps_the_rules(steps: list[tuple[int, int, bool, bool]], is_video: bool) -> None:
    made = cutter(is_video=is_video)
    times = {VIDEO: 0, SOUND: 0}
    cuts: list[Cut] = []
    sent: list[tuple[int, bytes]] = []
    for place, (number, step, is_small, is_keyframe) in enumerate(steps):
        times[number] += 1 + (step % 50 if is_small else step)
        data = b"%d" % place
        sent.append((number, data))
        cuts += made.take(number, times[number], 0, is_keyframe, data)
    cuts += made.finish()
    found = segments(cuts)
    assert all(0 < part.duration <= PART_MS for part in parts(cuts))
    assert all(sum(part.duration for part in segment) < TARGET_MS + 100 for segment in found)
    for track in (VIDEO, SOUND):
        kept = data_of(cuts, track)
        remaining = iter([data for number, data in sent if number == track])
        assert all(data in remaining for data in kept)  # in order, each once
    for part in parts(cuts):
        assert all(row[0] > 0 for _, _, rows in part.tracks for row in rows)
        if part.discontinuity and is_video:
            assert part.is_independent
