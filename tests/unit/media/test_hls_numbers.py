"""Numbers that never go back, and targets that never change."""

from __future__ import annotations

import pytest

from rtmpsrv.media.hls_numbers import NUMBERS_A_SECOND, Numbering, first_number, part_for, restore, target_for


@pytest.mark.parametrize(
    ("gop_ms", "target_s"), [(0, 2), (500, 2), (1000, 2), (1001, 3), (2000, 3), (8333, 10), (60_000, 10)]
)
def test_target_leaves_a_second_beyond_the_gop(gop_ms: int, target_s: int) -> None:
    assert target_for(gop_ms) == target_s


@pytest.mark.parametrize(
    ("frame_ms", "wanted_ms", "part_ms"),
    [
        (1000 / 30, 500, 505),
        (1000 / 30, 200, 205),
        (40, 500, 485),
        (1000, 500, 1005),
        (0, 500, 505),
        (1024 / 44.1, 500, 515),
    ],
)
def test_part_target_holds_whole_frames(frame_ms: float, wanted_ms: int, part_ms: int) -> None:
    assert part_for(frame_ms, wanted_ms) == part_ms


@pytest.mark.parametrize("wanted_ms", [100, 200, 333, 500, 1000])
@pytest.mark.parametrize("fps", [10, 12, 15, 23.976, 24, 25, 29.97, 30, 48, 50, 60, 120])
def test_whole_frames_fill_parts_as_the_rules_want(fps: float, wanted_ms: int) -> None:
    frame_ms = 1000 / fps
    part_ms = part_for(frame_ms, wanted_ms)
    frames = int((part_ms - 2) / frame_ms)
    assert frames * frame_ms >= 0.85 * part_ms


def test_first_number_rises_with_the_clock_and_has_31_bits_for_years() -> None:
    now = 1_800_000_000.0
    assert first_number(now + 1.0) == first_number(now) + NUMBERS_A_SECOND
    assert first_number(now) > 200_000_000
    assert first_number(2_270_000_000.0) < 1 << 31  # in 2041
    assert first_number(0.0) == 1  # a clock that was never set


def test_numbers_begin_where_they_are_told_and_rise() -> None:
    numbering = Numbering(1_700_000_000, "a")
    assert [numbering.segment(), numbering.segment()] == [1_700_000_000, 1_700_000_001]
    assert [numbering.init(), numbering.init()] == [1, 2]
    assert numbering.discontinuities == 1_700_000_000


def test_targets_are_fixed_once() -> None:
    numbering = Numbering(5, "a")
    assert not numbering.is_fixed
    numbering.fix(2000, 1000 / 30)
    assert (numbering.is_fixed, numbering.target_s, numbering.part_ms) == (True, 3, 505)
    assert numbering.target_ms == 3400
    with pytest.raises(AssertionError):
        numbering.fix(1000, 40)


def test_targets_may_be_wished() -> None:
    numbering = Numbering(5, "a")
    numbering.fix(2000, 40, part_ms=200, target_s=6)
    assert (numbering.target_s, numbering.part_ms) == (6, 205)


def test_another_process_goes_on() -> None:
    numbering = Numbering(5, "a")
    numbering.fix(2000, 40)
    numbering.segment()
    numbering.init()
    again = restore(numbering.snapshot())
    assert again.snapshot() == numbering.snapshot()
    assert (again.segment(), again.init(), again.prefix) == (6, 2, "a")
