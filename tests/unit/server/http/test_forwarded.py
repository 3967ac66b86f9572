from __future__ import annotations

import pytest

from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.server.http.forwarded import MAX_HOPS, came

TRUSTED = IpRules.parse("127.0.0.1,10.0.0.0/8,fd00::/8")


def of(said: str, address: str = "127.0.0.1") -> str:
    return came(address, False, {"x-forwarded-for": said}, TRUSTED).address


def test_who_is_not_trusted_is_not_believed() -> None:
    headers = {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https", "x-forwarded-host": "tv.example"}
    assert came("192.0.2.1", False, headers, TRUSTED) == ("192.0.2.1", False, "")
    assert came("127.0.0.1", False, headers, TRUSTED) == ("1.2.3.4", True, "tv.example")
    assert came("127.0.0.1", True, {}, TRUSTED) == ("127.0.0.1", True, "")


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("", "127.0.0.1"),
        ("1.2.3.4", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4", "1.2.3.4"),  # the client said the first itself
        ("9.9.9.9, 1.2.3.4,10.0.0.7 , fd00::1", "1.2.3.4"),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7"),  # a client of that net
        ("1.2.3.4:4711", "1.2.3.4"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4, unknown", "127.0.0.1"),
        ("1.2.3.4, unknown, 10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "127.0.0.1"),
        ("1.2.3.4\x00", "127.0.0.1"),
        (",", "127.0.0.1"),
    ],
)
def test_the_last_that_is_no_proxy(said: str, address: str) -> None:
    assert of(said) == address


def test_there_are_not_so_many_proxies_one_behind_the_other() -> None:
    assert of("1.2.3.4," + ",".join(["10.0.0.1"] * (MAX_HOPS - 1))) == "1.2.3.4"
    assert of("1.2.3.4," + ",".join(["10.0.0.1"] * MAX_HOPS)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("said", "secure"), [("https", True), ("HTTPS", True), ("http, https", True), ("https,http", False)]
)
def test_the_nearest_proxy_says_whether_it_was_tls(said: str, secure: bool) -> None:
    assert came("10.0.0.1", False, {"x-forwarded-proto": said}, TRUSTED).secure is secure


def test_what_is_no_word_for_that_says_nothing() -> None:
    assert came("10.0.0.1", True, {"x-forwarded-proto": "wss"}, TRUSTED).secure


@pytest.mark.parametrize("host", ["tv.example", "a_b-c.example:8443", "[2001:db8::1]:80", "[::1]"])
def test_hosts(host: str) -> None:
    assert came("10.0.0.1", False, {"x-forwarded-host": f"other, {host}"}, TRUSTED).host == host


@pytest.mark.parametrize("host", ["a/b", "a b", "a:b", "<x>", "a:123456", "x" * 254, "a@b"])
def test_what_is_no_host(host: str) -> None:
    assert came("10.0.0.1", False, {"x-forwarded-host": host}, TRUSTED).host == ""
