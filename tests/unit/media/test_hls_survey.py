"""What a stream is like, by its beginning."""

from __future__ import annotations

import pytest

from rtmpsrv.media.hls_survey import MAX_FRAMES, Survey


def test_second_keyframe_tells_the_gop() -> None:
    survey = Survey(is_video=True)
    times = [round(number * 1000 / 30) for number in range(61)]
    told = [survey.take(time, number % 60 == 0) for number, time in enumerate(times)]
    assert told == [False] * 60 + [True]
    assert survey.gop_ms == 2000
    assert survey.frame_ms == pytest.approx(1000 / 30)


def test_looks_no_longer_than_the_longest_target() -> None:
    survey = Survey(is_video=True)
    assert not survey.take(0, True)
    assert not survey.take(8999, False)
    assert survey.take(9000, False)
    assert survey.gop_ms == 9000


def test_sound_needs_a_second() -> None:
    survey = Survey(is_video=False)
    assert not survey.take(0, True)
    assert survey.frame_ms == 33
    assert not survey.take(999, True)
    assert survey.take(1000, True)
    assert survey.gop_ms == 1000


def test_frames_are_bounded_where_time_stands_still() -> None:
    survey = Survey(is_video=True)
    told = [survey.take(number, False) for number in range(MAX_FRAMES)]
    assert told.index(True) == MAX_FRAMES - 1


def test_odd_steps_do_not_count() -> None:
    survey = Survey(is_video=True)
    for time in (0, 40, 80, 1000, 1040, 1080):
        survey.take(time, False)
    assert survey.frame_ms == 40


@pytest.mark.parametrize(("steps", "usual_ms"), [((33, 50), 33), ((50, 33), 33), ((20, 3000), 20)])
def test_frames_may_alternate(steps: tuple[int, int], usual_ms: int) -> None:
    survey = Survey(is_video=True)
    time = 0
    survey.take(0, True)
    for step in steps:
        time += step
        survey.take(time, False)
    assert survey.frame_ms == usual_ms
