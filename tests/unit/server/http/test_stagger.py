"""Who asks together with many others waits for a turn."""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace

import gevent
import pytest

from rtmpsrv.server.http.stagger import LONG_S, Round, Stagger
from tests.waiting import eventually


def test_who_asks_alone_is_answered_at_once() -> None:
    stagger = Stagger(lambda: 0.0)
    waiting = gevent.spawn(stagger.wait)
    gevent.sleep(0)
    assert waiting.dead


def test_many_are_answered_in_turns_and_in_order() -> None:
    ages = [LONG_S] * 3
    stagger = Stagger(lambda: ages.pop() if ages else 0.0)
    answered: list[int] = []

    def ask(number: int) -> None:
        stagger.wait()
        answered.append(number)

    for number in range(3):
        gevent.spawn(ask, number)
    gevent.sleep(0)
    assert answered == []
    eventually(lambda: len(answered) == 3)
    assert answered == [0, 1, 2]


def test_who_asks_again_is_behind_those_who_wait() -> None:
    ages = [LONG_S]
    stagger = Stagger(lambda: ages.pop() if ages else 0.0)
    answered: list[str] = []

    def ask(*names: str) -> None:
        for name in names:
            stagger.wait()
            answered.append(name)

    gevent.spawn(ask, "first", "first again", "and again")
    gevent.spawn(ask, "second")
    eventually(lambda: len(answered) == 4)
    assert answered[:2] == ["first", "second"]


def test_who_leaves_while_it_waits_is_forgotten() -> None:
    stagger = Stagger(lambda: LONG_S)  # nobody's turn comes
    waiting = [gevent.spawn(stagger.wait) for _ in range(2)]
    eventually(lambda: len(stagger) == 2)
    for number, one in enumerate(waiting):
        one.kill()
        assert len(stagger) == 1 - number


def test_a_round_of_the_loop_has_an_age_whatever_timers_are_started_in_it() -> None:
    measured = Round()
    ages: list[float] = []

    def work() -> None:
        measured.age_s()
        until = monotonic() + LONG_S
        while monotonic() < until:
            pass
        gevent.spawn(gevent.sleep, 0.001)  # starts a timer, in the same round
        run_callback(lambda: ages.append(measured.age_s()))

    run_callback = gevent.get_hub().loop.run_callback
    run_callback(work)
    eventually(lambda: bool(ages))
    assert ages[0] >= LONG_S


def test_each_round_of_the_loop_begins_anew() -> None:
    measured = Round()
    measured.age_s()
    gevent.sleep(0.001)
    assert measured.age_s() == 0.0


def test_where_rounds_are_not_counted_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = SimpleNamespace(loop=object())  # libuv
    monkeypatch.setattr("rtmpsrv.server.http.stagger.gevent.get_hub", lambda: hub)
    measured = Round()
    assert [measured.age_s(), measured.age_s()] == [0.0, 0.0]
