"""Who asks together with many others waits for a turn."""

from __future__ import annotations

import gevent

from rtmpsrv.server.http.stagger import LONG_S, Stagger, age_s
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


def test_a_round_of_the_loop_has_an_age() -> None:
    gevent.sleep(0.001)
    assert age_s() < 60
