from __future__ import annotations

import gevent
import pytest

from rtmpsrv.access.give_way import REST_S, TURN_S, TURN_UNITS, UNITS_PER_S, Paced


class Time:
    """A clock that stands still but for those who sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def test_a_turn_is_so_long() -> None:
    time = Time()
    share = Paced(lambda: time.now, time.sleep).share()
    share.spend(TURN_UNITS)
    assert time.sleeps == []
    time.now += 1.1 * TURN_S
    for _ in range(TURN_UNITS - 1):
        share.spend()
    assert time.sleeps == []
    share.spend()
    assert time.sleeps == [REST_S]
    share.spend(TURN_UNITS)
    assert time.sleeps == [REST_S]


def test_work_that_is_always_there_is_done_at_the_rate() -> None:
    time = Time()
    share = Paced(lambda: time.now, time.sleep).share()
    for _ in range(11 * UNITS_PER_S):
        share.spend()
    assert time.now - 100.0 == pytest.approx(10.0, abs=0.2)  # the first second's worth came at once


def test_who_rested_may_work_a_second_ahead_again_and_no_more() -> None:
    time = Time()
    share = Paced(lambda: time.now, time.sleep).share()
    share.spend(3 * UNITS_PER_S)
    assert time.sleeps.pop() == pytest.approx(2.0)
    time.now += 3600
    share.spend(UNITS_PER_S)
    assert time.sleeps.pop() == REST_S
    share.spend(UNITS_PER_S)
    assert time.sleeps.pop() == pytest.approx(1.0, abs=0.01)


def test_shares_do_not_know_each_other() -> None:
    time = Time()
    paced = Paced(lambda: time.now, time.sleep)
    paced.share().spend(10 * UNITS_PER_S)
    assert time.sleeps == [pytest.approx(9.0)]
    paced.share().spend(TURN_UNITS)
    assert len(time.sleeps) == 1


def test_others_run_meanwhile() -> None:
    share = Paced().share()
    ran = gevent.spawn(lambda: "ran")
    with gevent.Timeout(4):
        while not ran.ready():  # nothing in here waits but the share
            share.spend()
