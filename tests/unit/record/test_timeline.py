"""Times in a file begin at 0 and never jump."""

from __future__ import annotations

import json

from rtmpsrv.record.timeline import JUMP_MS, MAX_SKEW_MS, Timeline

A, V = 1, 2


def test_times_begin_at_zero_and_keep_their_distances() -> None:
    times = Timeline()
    assert [times.place(V, 5000), times.place(A, 5010), times.place(V, 5040)] == [
        (0, False), (10, False), (40, False),
    ]  # fmt: skip
    assert times.end_ms == 40


def test_what_is_before_the_first_frame_is_at_zero_and_costs_no_distance() -> None:
    times = Timeline()
    times.place(V, 1000)
    assert times.place(A, 980) == (0, False)
    assert times.place(A, 1003) == (3, False)


def test_jump_goes_on_where_the_kind_was() -> None:
    times = Timeline()
    times.place(V, 0)
    times.place(A, 5)
    assert times.place(V, JUMP_MS) == (JUMP_MS, False)
    assert times.place(V, 2 * JUMP_MS + 1) == (JUMP_MS, True)
    assert times.place(V, 2 * JUMP_MS + 41) == (JUMP_MS + 40, False)
    assert times.place(A, 4_000_000_000) == (5, True)
    assert times.place(A, 4_000_000_020) == (25, False)
    assert times.place(V, 0) == (JUMP_MS + 40, True)


def test_times_wrap() -> None:
    times = Timeline()
    times.place(V, 0xFFFFFFF0)
    assert times.place(V, 16) == (32, False)


def test_kind_that_begins_far_away_begins_with_the_rest() -> None:
    times = Timeline()
    times.place(V, 0)
    times.place(V, 40)
    assert times.place(A, 41 + MAX_SKEW_MS) == (40, False)
    other = Timeline()
    other.place(V, 0)
    assert other.place(A, MAX_SKEW_MS) == (MAX_SKEW_MS, False)


def test_times_go_on_in_another_process() -> None:
    here = Timeline()
    here.place(9, 1000)
    here.place(8, 1020)
    there = Timeline.resumed(json.loads(json.dumps(here.snapshot())))
    assert (here.place(9, 1040), here.place(8, 1060)) == (there.place(9, 1040), there.place(8, 1060))
    assert here.end_ms == there.end_ms == 60
    assert Timeline.resumed(Timeline().snapshot()).place(9, 5) == (0, False)
