"""A clock that jumps is not believed for a while."""

from __future__ import annotations

import pytest

from rtmpsrv.record.steady import JUMP_S, PROBATION_S, SteadyClock


class Times:
    def __init__(self) -> None:
        self.wall = 1e9
        self.passed = 100.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.passed)


@pytest.mark.parametrize("jump", [1e8, -1e8])
def test_jump_is_not_believed_for_a_while(jump: float) -> None:
    times = Times()
    clock = times.clock()
    times.go(10 * PROBATION_S)
    assert clock.is_steady()
    times.wall += jump
    assert not clock.is_steady()
    times.go(PROBATION_S - 1)
    assert not clock.is_steady()
    times.go(1)
    assert clock.is_steady()


def test_small_corrections_are_none() -> None:
    times = Times()
    clock = times.clock()
    for _ in range(3):
        times.wall += JUMP_S
        assert clock.is_steady()


def test_clocks_of_the_machine() -> None:
    assert SteadyClock().is_steady()
