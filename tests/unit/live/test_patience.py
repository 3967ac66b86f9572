"""A wait for a publisher has an end."""

from __future__ import annotations

from rtmpsrv.live.patience import Patience
from tests.unit.live.fakes import FakeClock


def waiting(clock: FakeClock, until: float | None) -> tuple[Patience, list[str]]:
    calls: list[str] = []
    patience = Patience(clock, lambda: calls.append("stop"), lambda: calls.append("forget"))
    patience.wait(until)
    return patience, calls


def test_when_nobody_comes_all_are_called_once() -> None:
    clock = FakeClock()
    patience, calls = waiting(clock, clock.now() + 10)
    assert (patience.waits, patience.until) == (True, clock.now() + 10)
    clock.advance(9.9)
    assert calls == []
    clock.advance(0.1)
    assert calls == ["stop", "forget"]
    assert (patience.waits, patience.until) == (False, None)
    clock.advance(100)
    assert calls == ["stop", "forget"]


def test_who_stops_is_not_called() -> None:
    clock = FakeClock()
    patience, calls = waiting(clock, clock.now() + 10)
    patience.stop()
    patience.stop()
    assert (patience.waits, patience.until) == (False, None)
    clock.advance(100)
    assert calls == []


def test_another_wait_takes_the_place_of_the_first() -> None:
    clock = FakeClock()
    patience, calls = waiting(clock, clock.now() + 10)
    patience.wait(clock.now() + 20)
    clock.advance(15)
    assert calls == []
    clock.advance(5)
    assert calls == ["stop", "forget"]


def test_a_wait_that_is_over_already_ends_at_once() -> None:
    clock = FakeClock()
    patience, calls = waiting(clock, clock.now() - 10)
    assert patience.waits
    clock.advance(0)
    assert calls == ["stop", "forget"]


def test_no_wait() -> None:
    clock = FakeClock()
    patience, calls = waiting(clock, None)
    assert not patience.waits
    clock.advance(100)
    assert calls == []
