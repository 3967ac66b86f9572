from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest

from rtmpsrv.server import ingest as ingest_module
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.ingest import (
    BUSY_REST_FACTOR,
    MAX_REST_S,
    REST_PER_PUBLISHER_S,
    SWEEP_FROM_S,
    SWEEP_TURN_S,
    Ingest,
    rest_s,
)

PATIENCE_S = 5.0  # for what happens at once
MANY = 12  # publishers: enough to be read together


@pytest.mark.parametrize(
    ("publishers", "expected"),
    [(0, 0.0), (1, 0.0), (10, 0.0), (11, 10 * REST_PER_PUBLISHER_S), (101, MAX_REST_S), (5000, MAX_REST_S)],
)
def test_publishers_rest_in_proportion_to_the_others(publishers: int, expected: float) -> None:
    assert rest_s(publishers, 0.0) == pytest.approx(expected)


def test_publishers_of_a_busy_process_rest_longer() -> None:
    assert rest_s(500, 1.0) == pytest.approx(BUSY_REST_FACTOR * MAX_REST_S)
    assert rest_s(500, 0.5) == pytest.approx((1 + (BUSY_REST_FACTOR - 1) / 2) * MAX_REST_S)
    assert rest_s(6, 1.0) == pytest.approx(BUSY_REST_FACTOR * 5 * REST_PER_PUBLISHER_S)


def test_one_publisher_never_rests() -> None:
    assert rest_s(1, 1.0) == 0.0


class Reader:
    """A reader at rest, which has something to do after a number of sweeps."""

    def __init__(self, ingest: Ingest, sweeps: int = 1) -> None:
        self.ingest = ingest
        self.left = sweeps
        self.taken: list[object] = []  # who called
        self.rests = 0
        self.greenlet = gevent.spawn(self.run)

    def run(self) -> None:
        self.ingest.rest(self)
        self.rests += 1

    def take(self, now: float) -> bool:
        self.taken.append(gevent.getcurrent())
        self.left -= 1
        return self.left > 0


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    made = Ingest(LoopClock())
    for _ in range(MANY):
        made.publisher_began()
    yield made
    assert len(made) == 0


def test_the_rest_follows_the_number_of_publishers(ingest: Ingest) -> None:
    assert ingest.rest_s == pytest.approx((MANY - 1) * REST_PER_PUBLISHER_S)
    for _ in range(MANY):
        ingest.publisher_ended()
    assert ingest.rest_s == 0.0
    assert ingest.publishers == 0


def test_the_rest_grows_with_the_pressure(ingest: Ingest) -> None:
    before = ingest.rest_s
    ingest._clock.pressure = 1.0
    reader = Reader(ingest, 2)
    reader.greenlet.join(PATIENCE_S)
    assert ingest.rest_s == pytest.approx(BUSY_REST_FACTOR * before)


def test_nobody_rests_where_it_is_switched_off() -> None:
    ingest = Ingest(LoopClock(), enabled=False)
    for _ in range(1000):
        ingest.publisher_began()
    assert ingest.rest_s == 0.0


def test_those_at_rest_are_read_in_the_hub_and_woken_when_there_is_more(ingest: Ingest) -> None:
    readers = [Reader(ingest, sweeps) for sweeps in (1, 3, 2)]
    gevent.joinall([reader.greenlet for reader in readers], timeout=PATIENCE_S, raise_error=True)
    assert [len(reader.taken) for reader in readers] == [1, 3, 2]
    assert {who for reader in readers for who in reader.taken} == {gevent.get_hub()}
    assert [reader.rests for reader in readers] == [1, 1, 1]


def test_a_reader_that_is_killed_at_rest_is_read_no_more(ingest: Ingest) -> None:
    killed, other = Reader(ingest, 1000), Reader(ingest, 2)
    gevent.idle()
    killed.greenlet.kill(timeout=PATIENCE_S)
    seen = len(killed.taken)
    other.greenlet.join(PATIENCE_S)
    assert len(killed.taken) == seen
    assert killed.rests == 0


def test_a_reader_that_is_forgotten_is_not_read(ingest: Ingest) -> None:
    forgotten, other = Reader(ingest), Reader(ingest, 2)
    for _ in range(2):  # in the same turn of the loop, before the sweep
        gevent.spawn(ingest.forget, forgotten)
    other.greenlet.join(PATIENCE_S)
    assert forgotten.taken == []
    forgotten.greenlet.kill(timeout=PATIENCE_S)


def test_a_reader_may_rest_again_from_within_the_sweep(ingest: Ingest) -> None:
    class Restless(Reader):
        def run(self) -> None:
            for _ in range(3):
                self.left = 1
                super().run()

    restless = Restless(ingest)
    restless.greenlet.join(PATIENCE_S)
    assert restless.rests == 3
    assert len(restless.taken) == 3


def test_all_are_woken_when_so_many_have_left_that_nobody_rests(ingest: Ingest) -> None:
    readers = [Reader(ingest, 1000) for _ in range(3)]
    gevent.idle()
    for _ in range(MANY):
        ingest.publisher_ended()
    gevent.joinall([reader.greenlet for reader in readers], timeout=PATIENCE_S)
    assert [reader.rests for reader in readers] == [1, 1, 1]


def test_a_sweep_gives_way_and_goes_on_where_it_was(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(ingest_module, "monotonic", lambda: now[0])
    order: list[int] = []
    sweeps: list[int] = []

    class Slow(Reader):
        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__(ingest, 1)

        def take(self, at: float) -> bool:
            now[0] += SWEEP_TURN_S * 0.6
            order.append(self.number)
            return super().take(at)

    sweep = ingest._sweep

    def counted_sweep() -> None:
        sweeps.append(len(order))
        sweep()

    delays: list[float] = []
    call_later = ingest._clock.call_later

    def noted_call_later(delay_s: float, callback: Callable[[], None]) -> object:
        delays.append(delay_s)
        return call_later(delay_s, callback)

    monkeypatch.setattr(ingest, "_sweep", counted_sweep)
    monkeypatch.setattr(ingest._clock, "call_later", noted_call_later)
    readers = [Slow(number) for number in range(6)]
    gevent.joinall([reader.greenlet for reader in readers], timeout=PATIENCE_S, raise_error=True)
    assert order == [0, 1, 2, 3, 4, 5]
    assert sweeps == [0, 2, 4], "two fit into a turn"
    assert delays[1:] == [0.0, 0.0], "the process does not idle while there is more to read"


def test_a_common_timer_is_not_used_for_a_handful() -> None:
    assert rest_s(2, 0.0) == 0.0
    assert SWEEP_FROM_S > REST_PER_PUBLISHER_S
