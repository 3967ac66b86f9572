"""Address lists: what is read, what is refused, what matches."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.access.ip_rules import IpRules


def test_an_empty_text_matches_nobody() -> None:
    rules = IpRules.parse("")
    assert rules.empty
    assert not rules.everything
    assert "127.0.0.1" not in rules
    assert "::1" not in rules


def test_a_star_matches_everybody() -> None:
    rules = IpRules.parse("*")
    assert rules.everything
    assert not rules.empty
    assert "127.0.0.1" in rules
    assert "2001:db8::1" in rules
    assert str(rules) == "*"


def test_host_bits_are_allowed() -> None:
    rules = IpRules.parse("10.1.2.3/8")
    assert "10.255.0.1" in rules
    assert "11.0.0.1" not in rules
    assert str(rules) == "10.0.0.0/8"


def test_parts_are_trimmed_and_of_any_kind() -> None:
    rules = IpRules.parse(" 10.0.0.0/8, 192.0.2.7 ,2001:db8::/32,::1")
    for address in ("10.9.9.9", "192.0.2.7", "2001:db8:1::1", "::1"):
        assert address in rules
    assert "192.0.2.8" not in rules
    assert "2001:db9::1" not in rules
    assert str(rules) == "10.0.0.0/8,192.0.2.7,2001:db8::/32,::1"


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("10.0.0.0/8,foo", "foo"),
        ("10.0.0.1,", ""),
        ("10.0.0.1,*", "*"),
        (" ", ""),
        ("10.0.0.0/33", "10.0.0.0/33"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("300.0.0.1", "300.0.0.1"),
        ("::/129", "::/129"),
    ],
)
def test_a_bad_part_is_named(text: str, bad: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address or network") as caught:
        IpRules.parse(text)
    assert repr(bad) in str(caught.value)


def test_s16_an_ipv4_mapped_peer_matches_ipv4_rules() -> None:
    rules = IpRules.parse("127.0.0.1")
    assert "127.0.0.1" in rules
    assert "::ffff:127.0.0.1" in rules
    assert "127.0.0.2" not in rules
    assert "::ffff:127.0.0.2" not in rules


def test_an_ipv4_compatible_peer_matches_ipv4_rules() -> None:
    assert "::7f00:1" in IpRules.parse("127.0.0.1")
    assert "::1" in IpRules.parse("0.0.0.1")
    assert "1::1" not in IpRules.parse("0.0.0.0/0")


def test_an_ipv4_peer_is_not_compared_with_ipv6_rules() -> None:
    rules = IpRules.parse("::/0")
    assert "2001:db8::1" in rules
    assert "127.0.0.1" not in rules


def test_the_scope_id_of_a_peer_is_ignored() -> None:
    assert "fe80::1%eth0" in IpRules.parse("fe80::/10")


def test_an_address_that_was_read_before_is_told_from_others() -> None:
    rules = IpRules.parse("10.0.0.0/8,fe80::/10")
    for _ in range(2):
        assert "10.1.2.3" in rules
        assert "11.1.2.3" not in rules
        assert "fe80::1%eth0" in rules
        assert "nobody" not in rules
        assert "10.1.2.3" not in IpRules.parse("11.0.0.0/8")


def test_what_is_no_address_matches_no_rule() -> None:
    assert "unix" not in IpRules.parse("0.0.0.0/0,::/0")
    assert "" not in IpRules.parse("0.0.0.0/0,::/0")


@given(st.ip_addresses(), st.ip_addresses(v=4), st.integers(0, 32))
def test_ipv4_rules_agree_with_the_network_they_name(
    peer: ipaddress.IPv4Address | ipaddress.IPv6Address, base: ipaddress.IPv4Address, bits: int
) -> None:
    rules = IpRules.parse(f"{base}/{bits}")
    network = ipaddress.ip_network(f"{base}/{bits}", strict=False)
    if isinstance(peer, ipaddress.IPv4Address):
        assert (str(peer) in rules) == (peer in network)
        assert (f"::ffff:{peer}" in rules) == (peer in network)
    assert IpRules.parse(str(rules)) == rules
