"""The times of an FLV stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.live.rebase import EARLY_MS, MAX_TIME, Rebase


def test_times_count_from_the_base_also_where_its_32_bits_end() -> None:
    rebase = Rebase(0xFFFFFFF0)
    assert [rebase.time(one) for one in (0xFFFFFFF0, 0xFFFFFFFF, 0x10)] == [0, 15, 32]


def test_what_is_a_little_early_is_at_the_beginning() -> None:
    rebase = Rebase(5000)
    assert rebase.time(5040) == 40
    assert rebase.time(5000 - EARLY_MS) == 0
    assert rebase.time(5080) == 80


def test_a_jump_to_before_the_beginning_goes_on_from_the_last_time() -> None:
    rebase = Rebase(5000)
    assert rebase.time(5040) == 40
    assert rebase.time(5000 - EARLY_MS - 1) == 40
    assert rebase.time(5000 - EARLY_MS + 39) == 80


def test_a_step_back_stays_one() -> None:
    rebase = Rebase(0)
    assert [rebase.time(one) for one in (90_000, 10_000)] == [90_000, 10_000]


def test_no_time_is_left_behind_the_last() -> None:
    rebase = Rebase(0)
    assert rebase.time(MAX_TIME) == MAX_TIME
    assert rebase.time(MAX_TIME + 1) is None


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(0, 0xFFFFFFFF)))
def test_whatever_comes_no_time_is_negative(base: int, timestamps: list[int]) -> None:
    rebase = Rebase(base)
    for timestamp in timestamps:
        time = rebase.time(timestamp)
        assert time is None or 0 <= time <= MAX_TIME
