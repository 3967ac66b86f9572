"""One port for two listeners: what cannot be is refused, what nobody asked for is left out."""

from __future__ import annotations

import socket
from itertools import combinations

import pytest

from rtmpsrv.config import Config, texts_of
from rtmpsrv.same_port import overlap
from rtmpsrv.server.binding import bind
from tests.unit.test_config import load, problems_of, warnings_of

TLS = {"SSL_CERT": "x.pem", "SSL_KEY": "y.pem"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"RTMP_PORT": "5000", "HTTP_PORT": "5000"}, ["RTMP_PORT, HTTP_PORT"]),
        ({"RTMP_PORT": "5000", "API_PORT": "5000"}, ["RTMP_PORT, API_PORT"]),
        ({"API_PORT": "5000", "HTTP_PORT": "5000"}, ["HTTP_PORT, API_PORT"]),
        ({"HTTP_PORT": "443"} | TLS, ["SSL_PORT, HTTP_PORT"]),
        ({"API_PORT": "5000", "SSL_PORT": "5000"} | TLS, ["SSL_PORT, API_PORT"]),
        ({"SSL_PORT": "1935", "WORKERS": "2"} | TLS, ["RTMP_PORT, SSL_PORT"]),
        ({"RTMP_PORT": "8080", "HTTP_TLS": "YES"} | TLS, ["RTMP_PORT, HTTP_PORT"]),
        (
            {"RTMP_PORT": "443", "HTTP_PORT": "443", "API_PORT": "443", "WORKERS": "2"} | TLS,
            [
                *("RTMP_PORT, SSL_PORT", "RTMP_PORT, HTTP_PORT", "RTMP_PORT, API_PORT"),
                *("SSL_PORT, HTTP_PORT", "SSL_PORT, API_PORT", "HTTP_PORT, API_PORT"),
            ],
        ),
    ],
)
def test_two_listeners_with_one_port_are_an_error_that_names_both(
    settings: dict[str, str], names: list[str]
) -> None:
    problems = problems_of(**settings)
    assert [problem.partition(":")[0] for problem in problems] == names
    assert all(" overlap" in problem for problem in problems)


def test_the_error_says_where() -> None:
    assert problems_of(RTMP_PORT="5000", HTTP_PORT="5000") == [
        "RTMP_PORT, HTTP_PORT: both are 5000, and BIND_ADDRESS (0.0.0.0) and "
        "HTTP_BIND_ADDRESS (127.0.0.1) overlap"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"HTTP_PORT": "0", "API_PORT": "0"},
        {"HTTP_PORT": "443"},  # without a certificate there is no RTMPS
        {"HTTP_PORT": "5000", "API_PORT": "5000", "API_BIND_ADDRESS": "127.0.0.2", "API_TOKEN": "x"},
        {"HTTP_PORT": "5000", "API_PORT": "5000", "API_BIND_ADDRESS": "::1"},
        {"SSL_PORT": "1935", "BIND_ADDRESS": "127.0.0.1", "SSL_BIND_ADDRESS": "127.0.0.2"} | TLS,
        {"SSL_PORT": "1935", "BIND_ADDRESS": "127.0.0.1", "SSL_BIND_ADDRESS": "::1", "WORKERS": "2"} | TLS,
    ],
)
def test_other_settings_are_none(settings: dict[str, str]) -> None:
    assert warnings_of(**settings) == []


def test_what_nobody_asked_for_gives_way_and_the_rest_serves() -> None:
    for settings, taken in (({"RTMP_PORT": "8080"}, "RTMP_PORT"), ({"SSL_PORT": "8080"} | TLS, "SSL_PORT")):
        assert warnings_of(**settings) == [
            f"HTTP_PORT is 8080, which is {taken}: there are no viewers by HTTP"
        ]
        assert (load(**settings).http_port, load(**settings).api_port) == (0, 9997)
    assert warnings_of(HTTP_PORT="9997") == [
        "API_PORT is 9997, which is HTTP_PORT: there are no API, metrics and page"
    ]
    assert (load(HTTP_PORT="9997").http_port, load(HTTP_PORT="9997").api_port) == (9997, 0)


def test_a_process_that_gets_these_settings_from_another_one_is_of_the_same_mind() -> None:
    told = texts_of(load(RTMP_PORT="8080", WORKERS="2"))
    config, warnings = Config.load(told, memory_bytes=0)
    assert (config.rtmp_port, config.http_port, warnings) == (8080, 0, [])


def test_alone_a_process_goes_on_without_rtmps() -> None:
    assert warnings_of(SSL_PORT="1935", **TLS) == ["SSL_PORT is 1935, which is RTMP_PORT: there is no RTMPS"]
    assert load(SSL_PORT="1935", **TLS).tls_enabled


OF_BOTH = ("::ffff:127.0.0.1", "::", "::1") if socket.has_dualstack_ipv6() else ()
ADDRESSES = ("0.0.0.0", "127.0.0.1", "127.0.0.2", *OF_BOTH)


@pytest.mark.parametrize(("one", "other"), list(combinations(ADDRESSES, 2)))
def test_addresses_overlap_where_the_system_says_so(one: str, other: str) -> None:
    with bind(one, 0) as first:
        try:
            bind(other, first.getsockname()[1]).close()
            is_free = True
        except OSError:
            is_free = False
    assert overlap(one, other) is overlap(other, one) is not is_free


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Media.example", "media.example", True),
        ("media.example", "0.0.0.0", True),
        ("::", "media.example", True),
        ("media.example", "127.0.0.1", False),
        ("localhost", "127.0.0.1", True),
        ("::1", "LOCALHOST", True),
        ("localhost", "127.0.0.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", False),
    ],
)
def test_names_overlap_with_themselves_and_with_all_addresses(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is expected
