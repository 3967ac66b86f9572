from __future__ import annotations

import pytest

from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.limits import MAX_KNOWN, ConnectionLimits, counted_as, is_per_address


def limits(per_address: int = 2, exempt: str = "", total: int = 100) -> ConnectionLimits:
    return ConnectionLimits(per_address, IpRules.parse(exempt), total)


def test_one_address_is_refused_one_past_its_limit() -> None:
    slots = limits(per_address=2)
    assert [slots.admit("10.0.0.1") for _ in range(3)] == [
        None, None, "limit of 2 connections from one address"
    ]  # fmt: skip
    assert slots.admit("10.0.0.2") is None
    assert slots.describe()["open"] == 3


def test_released_slot_can_be_taken_again() -> None:
    slots = limits(per_address=1)
    for _ in range(3):
        assert slots.admit("10.0.0.1") is None
        assert slots.admit("10.0.0.1") is not None
        slots.release("10.0.0.1")
    assert slots.describe() == {"open": 0, "addresses": 0}


def test_total_is_refused_one_past_its_limit() -> None:
    slots = limits(total=2)
    assert [slots.admit(f"10.0.0.{n}") for n in range(3)] == [None, None, "limit of 2 connections"]
    slots.release("10.0.0.0")
    assert slots.admit("10.0.0.9") is None


def test_exempt_address_counts_to_the_total_only() -> None:
    slots = limits(per_address=1, exempt="10.0.0.0/8", total=3)
    assert [slots.admit("10.0.0.1") for _ in range(4)] == [None] * 3 + ["limit of 3 connections"]
    for _ in range(3):
        slots.release("10.0.0.1")
    assert slots.describe() == {"open": 0, "addresses": 0}


def test_limit_of_none_refuses_everybody_else() -> None:
    assert limits(per_address=0).admit("10.0.0.1") is not None
    assert limits(per_address=0, exempt="*").admit("10.0.0.1") is None


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:0:ffff::1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
    ],
)
def test_addresses_of_one_owner_are_counted_together(one: str, other: str, together: bool) -> None:
    slots = limits(per_address=1)
    assert slots.admit(one) is None
    assert (slots.admit(other) is not None) is together


def test_so_many_addresses_are_remembered_and_no_more() -> None:
    for number in range(MAX_KNOWN + 10):
        address = f"10.0.{number // 256}.{number % 256}"
        assert counted_as(address) == address
    assert counted_as.cache_info().currsize == MAX_KNOWN
    assert counted_as("10.0.0.0") == "10.0.0.0"


def test_a_refusal_names_the_settings_of_the_operator() -> None:
    slots = ConnectionLimits(1, IpRules(), 2, per_address_variables="ONE, OTHER", total_variable="ALL")
    assert slots.admit("10.0.0.1") is None
    assert slots.admit("10.0.0.1") == "limit of 1 connections from one address (ONE, OTHER)"
    assert slots.admit("10.0.0.2") is None
    assert slots.admit("10.0.0.3") == "limit of 2 connections (ALL)"


def test_a_connection_that_has_moved_is_counted_and_never_refused() -> None:
    slots = limits(per_address=1)
    for _ in range(2):
        slots.arrive(slots.depart("10.0.0.1"), "10.0.0.1")
    assert slots.admit("10.0.0.1") is not None
    slots.release("10.0.0.1")
    slots.release("10.0.0.1")
    assert slots.admit("10.0.0.1") is None


def test_refusals_say_whose_limit_it_is() -> None:
    limits = ConnectionLimits(1, IpRules.parse(""), 2)
    limits.admit("192.0.2.1")
    of_address = limits.admit("192.0.2.1")
    limits.admit("192.0.2.2")
    of_all = limits.admit("192.0.2.3")
    assert [is_per_address(str(why)) for why in (of_address, of_all)] == [True, False]
