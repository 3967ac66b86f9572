"""When to flush, as a table of what flushes cost, what waits, and how busy the process is."""

from __future__ import annotations

import pytest

from rtmpsrv.live.schedule import (
    BUSY_WAIT_S,
    DEAR_FLUSH_S,
    LEEWAY_S,
    MAX_CYCLE_S,
    MAX_REST_S,
    MAX_WAIT_S,
    FlushSchedule,
)

AT = 0.0  # when the last flush ended; exact in sums
FULL = 8  # messages
NEARLY = DEAR_FLUSH_S * 0.999


def flushed(took_s: float, before_s: float | None = None) -> FlushSchedule:
    """A schedule after two flushes."""
    schedule = FlushSchedule(FULL)
    for took in (took_s if before_s is None else before_s, took_s):
        schedule.flushed(AT - took, AT, took)
    return schedule


def test_first_message_of_all_goes_at_once() -> None:
    assert FlushSchedule(FULL).due_at(1, AT, 0.0) <= AT


@pytest.mark.parametrize(
    ("took_s", "waiting", "oldest_s", "pressure", "due_s"),
    [
        # cheap: a rest of 20 times the cost, less than a frame
        (0.0, 1, 0.0, 0.0, 0.0),
        (0.0005, 1, 0.0, 0.0, 0.01),
        (0.001, 1, 0.005, 0.0, 0.02),  # counted from the last flush
        (0.002, 1, 0.0, 0.0, MAX_REST_S),
        (NEARLY, 1, 0.05, 0.0, MAX_REST_S),
        # dear: until the third frame goes with the first, or the rest is over
        (DEAR_FLUSH_S, 1, 0.0, 0.0, MAX_WAIT_S),
        (DEAR_FLUSH_S, 1, 0.02, 0.0, 0.02 + MAX_WAIT_S),
        (
            DEAR_FLUSH_S,
            1,
            0.09,
            0.0,
            MAX_CYCLE_S - DEAR_FLUSH_S,
        ),  # counted from the beginning of the last flush
        (0.050, 1, 0.0, 0.0, MAX_CYCLE_S - 0.050),
        (1.0, 1, 0.0, 0.0, MAX_CYCLE_S - 1.0),
        # full: twice the cost, no sooner
        (0.0, FULL, 0.0, 0.0, 0.0),
        (0.001, FULL - 1, 0.0, 0.0, 0.02),
        (0.001, FULL, 0.0, 0.0, 0.002),
        (0.001, 10 * FULL, 0.0, 0.0, 0.002),
        (0.010, FULL, 0.0, 0.0, 0.020),
        (0.030, FULL, 0.0, 0.0, 0.060),
        (0.100, FULL, 0.0, 0.0, MAX_CYCLE_S - 0.100),  # nobody waits longer for that
        # pressure: everybody waits a little, but for what is full
        (0.0, 1, 0.0, 0.5, BUSY_WAIT_S / 2),
        (0.0, 1, 0.0, 1.0, BUSY_WAIT_S),
        (0.001, 1, 0.0, 0.5, BUSY_WAIT_S / 2 - 0.001),  # counted from the beginning of the last flush
        (0.001, 1, 0.0, 0.015, 0.02),
        (DEAR_FLUSH_S, 1, 0.0, 1.0, BUSY_WAIT_S - DEAR_FLUSH_S),
        (0.100, 1, 0.0, 1.0, 0.0),  # it waited long enough while others were sent to
        (0.001, FULL, 0.0, 1.0, 0.002),
    ],
)
def test_due(took_s: float, waiting: int, oldest_s: float, pressure: float, due_s: float) -> None:
    assert flushed(took_s).due_at(waiting, AT + oldest_s, pressure) == pytest.approx(AT + due_s)


@pytest.mark.parametrize(
    ("took_s", "due_s"), [(0.0, 0.0), (0.001, 0.002), (0.010, 0.020), (0.100, MAX_CYCLE_S - 0.100)]
)
def test_keyframe_hurries_as_if_it_were_full(took_s: float, due_s: float) -> None:
    schedule = flushed(took_s)
    schedule.keyframe()
    assert schedule.hurry
    assert schedule.due_at(1, AT, 0.0) == pytest.approx(AT + due_s)
    assert schedule.due_at(1, AT, 1.0) <= AT + BUSY_WAIT_S
    schedule.flushed(AT, AT, 0.0)
    assert not schedule.hurry


@pytest.mark.parametrize(
    ("took_s", "hurry", "leeway_s"),
    [
        (NEARLY, False, 0.0),
        (DEAR_FLUSH_S, False, LEEWAY_S),
        (DEAR_FLUSH_S, True, 0.0),
        (1.0, True, LEEWAY_S),  # what is full is due no sooner
    ],
)
def test_timer_may_be_late_only_where_the_next_frame_brings_the_flush_about(
    took_s: float, hurry: bool, leeway_s: float
) -> None:
    schedule = flushed(took_s)
    if hurry:
        schedule.keyframe()
    schedule.due_at(1, AT, 0.0)
    assert schedule.leeway_s == leeway_s


@pytest.mark.parametrize(("took_s", "before_s"), [(1.0, 0.001), (0.001, 1.0)])
def test_one_flush_that_took_long_says_nothing(took_s: float, before_s: float) -> None:
    assert flushed(took_s, before_s).due_at(1, AT, 0.0) == pytest.approx(AT + 0.02)


def test_what_flushes_took_is_summed_up() -> None:
    assert flushed(0.25, 0.5).spent_s == 0.75


def test_cost_in_other_processes_counts_like_our_own() -> None:
    alone, shared = FlushSchedule(8), FlushSchedule(8)
    for time in (1.0, 2.0):
        alone.flushed(time, time + 0.008, 0.008)
        shared.flushed(time, time + 0.008 - 0.005, 0.003, 0.005)
    assert shared.took_s == pytest.approx(alone.took_s) == pytest.approx(0.008)
    assert shared.spent_s == pytest.approx(0.006)
    assert shared.due_at(1, 2.02, 0.0) == pytest.approx(alone.due_at(1, 2.02, 0.0))


def test_schedule_goes_on_in_another_process() -> None:
    schedule, other = FlushSchedule(8), FlushSchedule(8)
    schedule.flushed(1.0, 1.001, 0.001)
    schedule.flushed(2.0, 2.002, 0.002)
    schedule.keyframe()
    other.adopt(schedule.snapshot())
    assert other.snapshot() == schedule.snapshot()
    assert other.due_at(1, 2.0, 0.5) == schedule.due_at(1, 2.0, 0.5)


@pytest.mark.parametrize(
    ("waiting", "keyframe", "until_s"),
    [
        (1, False, MAX_WAIT_S + LEEWAY_S),
        (FULL - 1, False, MAX_WAIT_S + LEEWAY_S),
        (FULL, False, 0),
        (1, True, 0),
    ],
)
def test_the_next_go_of_a_round_waits_as_long_as_its_oldest_message_may(
    waiting: int, keyframe: bool, until_s: float
) -> None:
    schedule = flushed(DEAR_FLUSH_S)
    if keyframe:
        schedule.keyframe()
    assert schedule.next_go_at(waiting, AT) == pytest.approx(AT + until_s)
