from __future__ import annotations

import pickle
from time import monotonic

import gevent
import pytest

from rtmpsrv.errors import PeerLost
from rtmpsrv.server import turns
from rtmpsrv.server.turns import (
    BURST_UNITS,
    FIRST_BURST_UNITS,
    MAX_DEBT_UNITS,
    SPENT_UNITS,
    UNITS_PER_S,
    Account,
    Turns,
)


def test_what_was_saved_up_may_be_spent_at_once() -> None:
    account = Account(counted_at=10.0)
    account.trust()
    assert account.spend(int(BURST_UNITS), 10.0) == 0.0
    assert account.spend(1, 10.0) == pytest.approx(1 / UNITS_PER_S)


def test_units_come_back_with_time_and_no_more_than_the_burst() -> None:
    account = Account(units=0.0, counted_at=10.0)
    assert account.spend(100, 10.0 + 100 / UNITS_PER_S) == pytest.approx(0.0, abs=1e-9)
    assert account.spend(0, 1000.0) == 0.0
    assert account.units == FIRST_BURST_UNITS
    account.trust()
    assert account.spend(0, 2000.0) == 0.0
    assert account.units == BURST_UNITS


def test_the_whole_burst_is_given_once_and_only_to_who_was_granted_something() -> None:
    account = Account(counted_at=10.0)
    assert account.spend(int(FIRST_BURST_UNITS) + 1, 10.0) > 0.0
    account.trust()
    assert account.units == BURST_UNITS - FIRST_BURST_UNITS - 1
    account.trust()
    assert account.units == BURST_UNITS - FIRST_BURST_UNITS - 1


def test_a_debt_is_waited_for_as_a_whole_and_then_paid() -> None:
    account = Account(units=0.0, counted_at=10.0)
    rest_s = account.spend(64, 10.0)
    assert rest_s == pytest.approx(64 / UNITS_PER_S)
    assert account.spend(0, 10.0 + rest_s) == pytest.approx(0.0, abs=1e-9)


def test_a_debt_is_bounded() -> None:
    account = Account(units=0.0, counted_at=10.0)
    assert account.spend(10_000_000, 10.0) == pytest.approx(MAX_DEBT_UNITS / UNITS_PER_S)


def test_an_endless_flood_is_taken_at_the_rate() -> None:
    account, now, taken = Account(units=0.0, counted_at=0.0), 0.0, 0
    while now < 10.0:
        now += account.spend(64, now)
        taken += 64
    assert taken == pytest.approx(10 * UNITS_PER_S, rel=0.01)


def test_an_account_can_be_pickled() -> None:
    account = Account(12.5, 3.25)
    assert pickle.loads(pickle.dumps(account)) == account


class Clock:
    """Stands in for the time of the module; rests take as long as they say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.rests: list[float] = []
        monkeypatch.setattr(turns, "monotonic", lambda: self.now)
        monkeypatch.setattr(gevent, "sleep", self.sleep)
        monkeypatch.setattr(turns, "Event", lambda: self)

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    wait = sleep  # of what interrupts a longer rest


def test_a_turn_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    share = Turns().share()
    share.spend(10)
    clock.now += turns.TURN_S * 0.9
    share.spend(10)
    assert clock.rests == []
    clock.now += turns.TURN_S * 0.2
    share.spend(10)
    assert clock.rests == [turns.TURN_REST_S]
    share.spend(10)
    assert len(clock.rests) == 1, "a new turn has begun"


def test_an_overspent_turn_is_paid_back_before_anything_was_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    account = Account(counted_at=clock.now)
    share = Turns().share(account)
    clock.now += 0.03
    share.spend()
    assert clock.rests == [pytest.approx(0.03)]
    clock.now += 10.0  # the process was stopped: not the peer's doing
    share.spend()
    assert clock.rests[1:] == [pytest.approx(turns.MOST_PAID_BACK_S)]
    account.trust()
    clock.now += 0.03
    share.spend()
    assert clock.rests[2:] == [turns.TURN_REST_S]


def test_a_turn_begins_anew_when_others_could_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    share = Turns().share()
    for _ in range(5):
        clock.now += turns.TURN_S * 0.9
        share.rested(clock.now)
        clock.now += turns.TURN_S * 0.9
        share.spend()
    assert clock.rests == []


def test_a_share_without_units_rests_until_they_are_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    share = Turns().share(Account(units=0.0, counted_at=clock.now))
    share.spend(50)
    assert clock.rests == [pytest.approx(50 / UNITS_PER_S)]


def test_who_sends_no_faster_than_it_may_has_saved_units() -> None:
    account = Account(burst=BURST_UNITS, units=BURST_UNITS, counted_at=10.0)
    assert account.has_saved(10.0)
    account.spend(int(SPENT_UNITS) - 1, 10.0)
    assert account.has_saved(10.0)
    account.spend(1, 10.0)
    assert not account.has_saved(10.0)
    assert account.has_saved(10.0 + 1 / UNITS_PER_S)


def test_giving_way_lets_others_run() -> None:
    ran: list[str] = []
    gevent.spawn(ran.append, "another")
    share = Turns().share(Account(units=-100.0, counted_at=monotonic()))
    share.spend()
    assert ran == ["another"]


def test_who_waits_for_units_notices_within_a_quarter_of_a_second_that_its_peer_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    looks: list[float] = []

    def has_left() -> bool:
        looks.append(clock.now)
        return len(looks) > 2

    share = Turns().share(Account(units=0.0, counted_at=clock.now), has_left)
    with pytest.raises(PeerLost, match="closed by the peer"):
        share.spend(1_000_000)
    assert looks == [pytest.approx(100.25), pytest.approx(100.5), pytest.approx(100.75)]


def test_short_waits_one_after_the_other_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    share = Turns().share(Account(units=0.0, counted_at=clock.now), lambda: True)

    def flood() -> None:
        for _ in range(1000):
            share.spend(64)

    with pytest.raises(PeerLost):
        flood()
    assert clock.now == pytest.approx(100.25, abs=0.02)


def test_a_wait_for_units_can_be_interrupted() -> None:
    share = Turns().share(Account(units=0.0, counted_at=monotonic()))
    waiting = gevent.spawn(share.spend, 1_000_000)
    gevent.sleep(0.001)
    assert not waiting.dead
    share.interrupt()
    waiting.join(0.2)
    assert waiting.dead


def test_who_was_interrupted_waits_for_no_units_but_lets_others_run() -> None:
    ran: list[str] = []
    share = Turns().share(Account(units=0.0, counted_at=monotonic()))
    share.interrupt()
    gevent.spawn(ran.append, "another")
    share.spend(1_000_000)
    assert ran == ["another"]
