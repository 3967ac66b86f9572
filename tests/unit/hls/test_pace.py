"""Makers share the hub with everybody else."""

from __future__ import annotations

import pytest

from rtmpsrv.hls.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_maker_works_a_tenth_of_the_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(3):
        clock.now += 0.002
        rest_s = pace.rest_s(0.002)
        assert rest_s == pytest.approx(0.018)
        clock.now += rest_s


def test_many_makers_together_leave_most_of_the_time_to_others() -> None:
    clock = Clock()
    pace = Pace(clock)
    rests = []
    for _ in range(50):  # each in turn, while the others wait
        clock.now += 0.002
        rests.append(pace.rest_s(0.002))
    assert rests == sorted(rests)
    # All of it took 100 ms: two fifths of 250 ms.
    assert rests[-1] == pytest.approx(0.150)
