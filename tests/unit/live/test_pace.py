from __future__ import annotations

import pickle
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.live.pace import LOOKED_AT, Pace


def take(pace: Pace, times: list[int], arrivals: list[float] | None = None, *, measures: bool = True) -> int:
    """Frames of one second; on time, unless told otherwise."""
    arrivals = arrivals or [100 + time / 1000 for time in times]
    return pace.take(int(arrivals[0]), times, array("d", arrivals), bytearray([1] * len(times)), measures)


def course(pace: Pace, seconds: range, step: int = 40, late_s: float = 0.0, speed: float = 1.0) -> None:
    """Frames of several seconds; media of each of them arrives in it."""
    for second in seconds:
        times = list(range(second * 1000, (second + 1) * 1000, step))
        assert (
            take(pace, times, [100 + second + late_s + (time % 1000) / 1000 / speed for time in times]) == 0
        )


def test_media_that_comes_on_time() -> None:
    pace = Pace()
    assert pace.rate(100.0) is None
    assert pace.jitter_s(100.0) is None
    course(pace, range(12))
    assert pace.rate(111.97) == pytest.approx(1.0)
    assert pace.jitter_s(111.97) == pytest.approx(0.0)
    assert (pace.last, pace.since) == (11960, 100.0)
    assert pace.arrived_at == pytest.approx(111.96)


def test_the_rate_is_told_from_two_seconds_on() -> None:
    pace = Pace()
    take(pace, [0, 900])
    take(pace, [1800])
    assert pace.rate(101.8) is None
    take(pace, [2900])
    assert pace.rate(102.9) == pytest.approx(1.0)


def test_media_that_comes_too_slowly() -> None:
    pace = Pace()
    for second in range(12):
        take(pace, [second * 800, second * 800 + 400], [100.0 + second, 100.5 + second])
    assert pace.rate(111.6) == pytest.approx(0.8)
    assert pace.jitter_s(111.6) == pytest.approx(1.9)  # from one second to the next 0.2 s more, and 0.1 in it


def test_a_pause_that_lasts_counts() -> None:
    pace = Pace()
    course(pace, range(5))
    assert pace.rate(105.9) == pytest.approx(1.0)
    assert pace.rate(107.98) == pytest.approx(4.0 / 7.02, rel=0.02)
    assert pace.rate(200.0) is not None
    assert pace.jitter_s(200.0) is None


def test_bundles_make_no_difference() -> None:
    pace = Pace()
    for second in range(12):
        take(pace, list(range(second * 1000, second * 1000 + 1000, 40)), [100.9 + second] * 25)
    assert pace.rate(111.95) == pytest.approx(1.0)
    assert pace.jitter_s(111.95) == pytest.approx(0.96, abs=0.04 * 3)


@pytest.mark.parametrize("to", [13_000, 950, 0, 1961])
def test_a_jump(to: int) -> None:
    pace = Pace()
    course(pace, range(1))
    assert take(pace, [to], [100.96 + 0.0]) == 1
    assert pace.jump_ms == to - 960


def test_a_jump_counts_for_neither_rate_nor_jitter() -> None:
    pace = Pace()
    course(pace, range(4))
    for second in range(4, 8):
        times = list(range(70_000 + second * 1000, 71_000 + second * 1000, 40))
        take(pace, times, [100 + second + (time % 1000) / 1000 for time in times])
    assert pace.rate(107.97) == pytest.approx(1.0)
    assert pace.jitter_s(107.97) == pytest.approx(0.0, abs=0.001)


def test_a_step_within_the_limit_or_as_long_as_it_took_is_no_jump() -> None:
    pace = Pace()
    course(pace, range(1))
    assert take(pace, [1960], [100.96]) == 0
    assert take(pace, [9960], [107.97]) == 0  # 8 s on, after 7.01 s
    assert take(pace, [17_961], [114.95]) == 1  # 8.001 s after 6.98 s
    assert pace.jump_ms == 1021


def test_several_tracks_may_go_back_a_little() -> None:
    pace = Pace()
    pace.back_ms = 1000
    assert take(pace, [1000, 500, 1020, 20], [100.0, 100.0, 100.1, 100.1]) == 0
    assert take(pace, [1500, 499], [101.0, 101.1]) == 1


def test_time_goes_on_over_the_end_of_numbers() -> None:
    pace = Pace()
    begin = (1 << 32) - 2000
    for second in range(4):
        times = [(begin + second * 1000 + step) % (1 << 32) for step in range(0, 1000, 40)]
        assert take(pace, times, [100 + second + step / 25 for step in range(25)]) == 0
    assert pace.rate(103.97) == pytest.approx(1.0)


def test_media_time_knows_no_jumps() -> None:
    pace = Pace()
    take(pace, [5000, 5040])
    assert pace.media_time(5040) == 40
    take(pace, [90_000], [105.08])
    assert pace.media_time(90_000) == 80
    take(pace, [1000, 1040], [105.12, 105.16])
    assert pace.media_time(1040) == 160


def test_frames_of_one_second_that_are_taken_in_parts_are_one() -> None:
    pace = Pace()
    take(pace, [0], [100.0])
    take(pace, [100], [100.6])  # late by half a second
    take(pace, [200], [100.2])
    assert pace.jitter_s(101.0) == pytest.approx(0.5)


def test_more_frames_than_are_looked_at() -> None:
    pace = Pace()
    times = list(range(0, 1000, 1000 // (3 * LOOKED_AT)))
    take(pace, times, [100 + time / 1000 + (0.3 if 200 <= time < 400 else 0.0) for time in times])
    assert pace.jitter_s(101.0) == pytest.approx(0.3)


def test_who_is_not_measured_has_no_jitter() -> None:
    pace = Pace()
    take(pace, [0, 40], measures=False)
    assert pace.jitter_s(100.0) is None


@pytest.mark.parametrize(
    ("frame_ms", "times", "uneven"),
    [
        (21.33, [0, 21, 43, 64, 85], 0),
        (21.33, [0, 43, 43, 86, 86], 0),  # two have the same time
        (21.33, [0, 21, 65, 86, 107], 1),
        (21.33, [0, 64, 128, 192, 256], 0),  # three in a message
        (0.0, [0, 64, 128, 192, 256, 400], 1),  # not known
        (21.33, [0, 21, 15, 36, 57], 1),
        (-1.0, [0, 21, 900, 15, 36], 0),
    ],
)
def test_uneven_frames(frame_ms: float, times: list[int], uneven: int) -> None:
    pace = Pace()
    pace.frame_ms = frame_ms
    take(pace, times, [100.0] * len(times))
    assert pace.uneven == uneven
    take(pace, [times[-1] + 21], [100.1])
    assert pace.uneven == 0


def test_another_publisher_may_begin_anywhere() -> None:
    pace = Pace()
    course(pace, range(3))
    pace.break_off()
    assert pace.last is None
    assert pace.rate(102.0) is None
    assert take(pace, [700_000, 700_040], [110.0, 110.04]) == 0
    assert pace.media_time(700_000) == 2960
    assert pace.jitter_s(110.04) == pytest.approx(0.0, abs=0.001)
    assert pace.since == 110.0


def test_another_publisher_may_begin_with_a_jump() -> None:
    pace = Pace()
    course(pace, range(1))
    pace.break_off()
    assert take(pace, [500, 9000], [110.0, 110.04]) == 1
    assert pace.jump_ms == 8460


def test_another_process_goes_on_with_it() -> None:
    pace, other = Pace(), Pace()
    course(pace, range(3))
    other.adopt(pickle.loads(pickle.dumps(pace.snapshot())))
    for one in (pace, other):
        course(one, range(3, 5))
    assert other.snapshot() == pace.snapshot()
    assert other.rate(104.97) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 900)), min_size=1, max_size=40))
def test_any_times_are_taken(frames: list[tuple[int, int]]) -> None:
    pace = Pace()
    arrival = 100.0
    for time, passed_ms in frames:
        arrival += passed_ms / 1000
        assert take(pace, [time], [arrival]) in (0, 1)
    assert pace.last == frames[-1][0]
    rate, jitter_s = pace.rate(arrival), pace.jitter_s(arrival)
    assert rate is None or rate >= 0
    assert jitter_s is None or jitter_s >= 0
