from __future__ import annotations

from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.limits import counted_as, is_per_address
from rtmpsrv.server.http.places import LEAVES, Places


class Resting:
    def __init__(self) -> None:
        self.dropped: list[str] = []

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


def test_an_address_has_so_many() -> None:
    places = Places(of_address=2, counted_as=counted_as)
    assert places.enter("2001:db8::1") is None
    assert places.enter("2001:db8::2") is None
    refusal = places.enter("2001:db8::3")
    assert refusal == "limit of 2 connections of HTTP from one address"
    assert is_per_address(refusal)
    assert places.enter("192.0.2.1") is None
    places.leave("2001:db8::1")
    assert places.enter("2001:db8::3") is None
    assert places.describe() == {"open": 3, "addresses": 2, "idle": 0}


def test_some_addresses_have_as_many_as_they_like() -> None:
    places = Places(of_address=1, exempt=(IpRules.parse("192.0.2.1"), IpRules.parse("192.0.2.2")))
    for address in ("192.0.2.1", "192.0.2.2"):
        assert [places.enter(address) for _ in range(3)] == [None, None, None]


def test_when_all_are_taken_who_waits_longest_leaves() -> None:
    places = Places(2)
    first, second = Resting(), Resting()
    for one in (first, second):
        assert places.enter("192.0.2.1") is None
        places.rests(one)
    places.works(first)
    places.rests(first)  # it has asked for something meanwhile
    assert places.enter("192.0.2.2") is None
    assert (first.dropped, second.dropped) == ([], [LEAVES])
    places.works(second)
    assert places.describe() == {"open": 3, "addresses": 2, "idle": 1}, "it goes in a moment"


def test_where_all_have_something_to_do_newcomers_are_refused() -> None:
    places = Places(1)
    assert places.enter("192.0.2.1") is None
    refusal = places.enter("192.0.2.2")
    assert refusal == "limit of 1 connections of HTTP"
    assert not is_per_address(refusal)
    places.leave("192.0.2.1")
    assert places.describe() == {"open": 0, "addresses": 0, "idle": 0}


def test_who_comes_from_another_process_has_a_place_in_any_case() -> None:
    places = Places(1, of_address=1)
    for _ in range(2):
        places.arrive("192.0.2.1")
    assert places.describe()["open"] == 2
    places.leave("192.0.2.1")
    assert places.enter("192.0.2.1") is not None


def test_requests_through_a_proxy_count_for_whom_they_are() -> None:
    places = Places(1, of_address=1)
    assert places.ask("192.0.2.1") is None
    assert places.ask("192.0.2.1") is not None
    places.done("192.0.2.1")
    assert places.ask("192.0.2.1") is None
