from __future__ import annotations

from time import monotonic

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.server.clock import MAX_READ_REST_S, READ_REST_S, LoopClock, ReadPacer

PATIENCE_S = 5.0  # for what happens at once


def test_now_is_monotonic_time() -> None:
    before = monotonic()
    assert before <= LoopClock().now() <= monotonic()


def test_callback_runs_in_the_hub_and_once() -> None:
    ran = Event()
    calls: list[object] = []

    def callback() -> None:
        calls.append(gevent.getcurrent())
        ran.set()

    timer = LoopClock().call_later(0.0, callback)
    assert calls == []
    assert ran.wait(PATIENCE_S)
    gevent.idle()
    assert calls == [gevent.get_hub()]
    del timer


@pytest.mark.parametrize(
    ("publishers", "rest_s"), [(0, 0.0), (1, 0.0), (2, READ_REST_S), (11, 10 * READ_REST_S)]
)
def test_readers_rest_in_proportion_to_the_other_publishers(publishers: int, rest_s: float) -> None:
    pacer = ReadPacer()
    for _ in range(publishers):
        pacer.publisher_began()
    assert pacer.rest_s == pytest.approx(rest_s)


def test_no_reader_rests_longer_than_the_most() -> None:
    pacer = ReadPacer()
    for _ in range(1 + int(MAX_READ_REST_S / READ_REST_S) + 5):
        pacer.publisher_began()
    assert pacer.rest_s == MAX_READ_REST_S


def test_rest_ends_with_the_publishers() -> None:
    pacer = ReadPacer()
    for _ in range(3):
        pacer.publisher_began()
    for _ in range(2):
        pacer.publisher_ended()
    assert pacer.rest_s == 0.0


def test_pacer_that_is_switched_off_lets_nobody_rest() -> None:
    pacer = ReadPacer(enabled=False)
    for _ in range(50):
        pacer.publisher_began()
    assert pacer.rest_s == 0.0


def test_resting_readers_are_woken_together_in_the_order_in_which_they_came() -> None:
    pacer = ReadPacer()
    woken: list[int] = []

    def reader(number: int) -> None:
        pacer.rest()
        woken.append(number)

    readers = [gevent.spawn(reader, number) for number in range(5)]
    gevent.joinall(readers, timeout=PATIENCE_S, raise_error=True)
    assert woken == [0, 1, 2, 3, 4]


def test_reader_that_is_killed_while_it_rests_is_forgotten() -> None:
    pacer = ReadPacer()
    pacer.publisher_began()
    killed, other = gevent.spawn(pacer.rest), gevent.spawn(pacer.rest)
    gevent.idle()
    killed.kill(timeout=PATIENCE_S)
    other.join(PATIENCE_S)
    assert killed.dead
    assert other.successful()


def test_reader_may_rest_again() -> None:
    pacer = ReadPacer()
    rests: list[int] = []

    def reader() -> None:
        for number in range(3):
            pacer.rest()
            rests.append(number)

    gevent.spawn(reader).join(PATIENCE_S)
    assert rests == [0, 1, 2]
