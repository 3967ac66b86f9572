from __future__ import annotations

import pytest

from rtmpsrv.access import refusals
from rtmpsrv.access.refusals import RefusalDelay

PEER = "192.0.2.7"


def delays(delay: RefusalDelay, count: int, address: str = PEER, now: float = 0.0) -> list[float]:
    return [delay.refused(address, now) for _ in range(count)]


def test_the_first_three_are_free_then_each_waits_twice_as_long_up_to_2_s() -> None:
    assert delays(RefusalDelay(), 11) == pytest.approx([0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])


def test_however_many_there_are_the_delay_stays() -> None:
    assert delays(RefusalDelay(), 2000)[-1] == 2.0


def test_a_minute_without_a_refusal_forgets_them() -> None:
    delay = RefusalDelay()
    delays(delay, 5)
    assert delay.refused(PEER, 59.9) == pytest.approx(0.4)
    assert delay.refused(PEER, 59.9 + 60) == 0


def test_addresses_do_not_know_each_other() -> None:
    delay = RefusalDelay()
    delays(delay, 5)
    assert delay.refused("192.0.2.8", 0) == 0


@pytest.mark.parametrize(
    ("one", "other"), [("2001:db8::1", "2001:db8::ffff:2"), ("::ffff:192.0.2.7", "192.0.2.7")]
)
def test_addresses_of_one_owner_count_together(one: str, other: str) -> None:
    delay = RefusalDelay()
    delays(delay, 3, one)
    assert delay.refused(other, 0) == pytest.approx(0.1)
    assert delay.describe()["addresses"] == 1


def test_the_table_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MAX_ADDRESSES", 2)
    delay = RefusalDelay()
    delays(delay, 3, "10.0.0.1", 0.0)
    delays(delay, 3, "10.0.0.2", 1.0)
    delay.refused("10.0.0.1", 2.0)
    delay.refused("10.0.0.3", 3.0)
    assert delay.describe()["addresses"] == 2
    assert delay.refused("10.0.0.1", 4.0) == pytest.approx(0.2)
    assert delay.refused("10.0.0.2", 5.0) == 0


def test_what_is_forgotten_leaves_the_table_with_the_next_refusals() -> None:
    delay = RefusalDelay()
    delay.refused("10.0.0.1", 0.0)
    delay.refused("10.0.0.2", 0.0)
    delay.refused("10.0.0.3", 60.0)
    delay.refused("10.0.0.3", 60.0)
    assert delay.describe() == {"refused": 4, "slowed": 0, "addresses": 1}


def test_refusals_are_counted_and_told_once_a_second() -> None:
    told: list[tuple[int, str]] = []
    delay = RefusalDelay(lambda count, address: told.append((count, address)))
    delays(delay, 5, now=100.0)
    assert told == [], "the first has its own line"
    delay.refused("10.0.0.1", 101.0)
    assert told == [(5, "10.0.0.1")]
    delay.refused(PEER, 102.0)
    assert len(told) == 1, "one alone"
    assert delay.describe() == {"refused": 7, "slowed": 3, "addresses": 2}


def test_nobody_needs_to_be_told() -> None:
    assert RefusalDelay().refused(PEER, 0.0) == 0
