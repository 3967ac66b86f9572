from __future__ import annotations

import pytest

from rtmpsrv.server.load import CALM_SAMPLE_S, FREE_SHARE, SAMPLE_S, Load, pressure, sample_s


def after(seconds: float, share: float, load: Load | None = None, step_s: float = SAMPLE_S) -> Load:
    """Let a process use a share of a core for some time."""
    load = load or Load(0.0, 0.0)
    now, cpu_s = load.now, load._cpu_s
    end = now + seconds
    while now < end:
        now += step_s
        cpu_s += step_s * share
        load.note(now, cpu_s)
    return load


def test_a_process_that_just_began_is_idle() -> None:
    assert Load(5.0, 1.0).share == 0.0


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_share_settles_at_what_is_used(share: float) -> None:
    assert after(10.0, share).share == pytest.approx(share, abs=0.01)


def test_what_was_a_second_ago_counts_for_little_more() -> None:
    load = after(10.0, 1.0)
    assert after(1.0, 0.0, load).share < 0.4
    assert after(2.0, 0.0, load).share < 0.1


def test_a_long_time_without_a_sample_counts_as_one() -> None:
    load = after(10.0, 1.0)
    load.note(load.now + 60.0, load._cpu_s + 6.0)
    assert load.share == pytest.approx(0.1)


def test_several_busy_threads_count_as_one_core() -> None:
    assert after(10.0, 3.0).share == pytest.approx(1.0, abs=0.01)


def test_a_clock_that_stands_still_or_runs_backwards_changes_nothing() -> None:
    load = after(1.0, 0.5)
    before = load.share
    load.note(load.now, 100.0)
    load.note(load.now - 1, 100.0)
    assert load.share == before
    load.note(load.now + 1, 0.0)
    assert load.share == 0.0


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (FREE_SHARE, 0.0), (2 / 3, 0.5), (1.0, 1.0)])
def test_nothing_waits_below_a_third_of_a_core(share: float, expected: float) -> None:
    assert pressure(share) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_a_jump_of_the_load_is_known_within_a_calm_sample(share: float) -> None:
    assert after(CALM_SAMPLE_S, share, after(5.0, 0.1), CALM_SAMPLE_S).share == pytest.approx(share)


@pytest.mark.parametrize(("share", "expected"), [(0.0, CALM_SAMPLE_S), (0.2, SAMPLE_S), (1.0, SAMPLE_S)])
def test_a_process_far_from_waiting_is_looked_at_seldom(share: float, expected: float) -> None:
    assert sample_s(share) == expected
