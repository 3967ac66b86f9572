from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address, ip_network

import pytest

from rtmpsrv.endpoint.requests import (
    ANY,
    Allow,
    Deny,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    Observe,
    RegistrationError,
    RegistrationFailure,
    SecondPublisher,
)
from rtmpsrv.endpoint.types import (
    Client,
    ConnectionId,
)

LOCAL = ip_address("127.0.0.1")
CLIENT = Client(ConnectionId("c"), LOCAL, "app", "hush", {"token": "hush"}, properties={"tcUrl": "hush"})


@pytest.mark.parametrize(
    ("networks", "allowed", "denied"),
    [((), False, True), (("127.0.0.0/8",), True, False), (("10.0.0.0/8", "::/0"), False, True)],
)
def test_allow_and_deny_are_opposites(networks: tuple[str, ...], allowed: bool, denied: bool) -> None:
    parsed = tuple(ip_network(text) for text in networks)
    assert Allow(parsed).permits(LOCAL) is allowed
    assert Deny(parsed).permits(LOCAL) is denied


def test_ipv6_networks_are_compared_with_ipv6_addresses() -> None:
    assert Allow((ip_network("fe80::/10"),)).permits(ip_address("fe80::1"))


def test_networks_of_mapped_addresses_are_ipv4_ones() -> None:
    for kind, admitted in ((Allow, True), (Deny, False)):
        rules = kind((ip_network("::ffff:127.0.0.0/104"),))
        assert rules == kind((ip_network("127.0.0.0/8"),))
        assert rules.permits(LOCAL) is admitted
        assert rules.permits(ip_address("10.0.0.1")) is not admitted
    assert not Allow((ip_network("::/0"),)).permits(LOCAL)


def untyped(kind: type) -> Callable[..., object]:
    """Hide what a class accepts, as from a caller who checks no types."""
    return kind


@pytest.mark.parametrize(
    "make",
    [
        partial(untyped(Exact), 5),
        partial(untyped(Allow), 10),
        partial(untyped(Deny), b"10.0.0.1"),
        partial(untyped(Allow), [None]),
        partial(untyped(ListenForPublishers), rtmp_app="live", port="1935"),
        partial(untyped(ListenForPublishers), rtmp_app="live", port=True),
        partial(untyped(ListenForPublishers), rtmp_app="live", stream_id=5),
        partial(untyped(ListenForPublishers), rtmp_app="live", use_tls="no"),
        partial(untyped(ListenForWatchers), rtmp_app="live", requires_approval=1),
        partial(untyped(Observe), rtmp_app="live", slows_publishers="yes"),
        partial(untyped(ListenForPublishers), rtmp_app=b"live"),
        partial(untyped(ListenForPublishers), rtmp_app="live", rtmp_stream_key="key"),
        partial(untyped(ListenForWatchers), rtmp_app="live", rtmp_stream_key=None),
        partial(untyped(ListenForWatchers), rtmp_app="live", ip_restriction=(ip_network("10.0.0.0/8"),)),
        partial(untyped(Observe), rtmp_app="live", rtmp_stream_key="*"),
    ],
)
def test_what_would_silently_match_nobody_is_a_type_error(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        make()


def test_what_means_something_plainly_is_converted() -> None:
    networks = (ip_network("10.0.0.0/8"),)
    for given in ("10.0.0.0/8", ["10.0.0.0/8"], list(networks), networks[0], networks):
        assert untyped(Allow)(given) == Allow(networks)
    assert untyped(Deny)(ip_address("10.0.0.1")) == Deny((ip_network("10.0.0.1/32"),))
    request = untyped(ListenForPublishers)(rtmp_app="live/", second_publisher="replace")
    assert request == ListenForPublishers(rtmp_app="live", second_publisher=SecondPublisher.REPLACE)
    for app in ("/live", "live/", "live//", "live/_definst_", "live/_definst_/"):
        assert Observe(rtmp_app=app).rtmp_app == "live"


@pytest.mark.parametrize(
    "make",
    [
        partial(untyped(Allow), "10.0.0.0/33"),
        partial(untyped(Allow), ["10.0.0.1/8"]),
        partial(untyped(ListenForPublishers), rtmp_app="live", second_publisher="maybe"),
        partial(untyped(ListenForPublishers), rtmp_app="live?token=10"),
    ],
)
def test_values_that_are_none_are_a_value_error(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"(10|maybe|query)"):
        make()


def test_a_key_with_a_query_could_match_nobody_and_stays_out_of_the_text() -> None:
    with pytest.raises(ValueError, match="query matches nobody") as caught:
        Exact("hush?token=x")
    assert "hush" not in str(caught.value)


def test_an_app_that_is_read_in_two_ways_is_refused() -> None:
    assert Observe(rtmp_app="_definst_").rtmp_app == "_definst_"
    with pytest.raises(ValueError, match="default instance of a default instance"):
        Observe(rtmp_app="live/_definst_/_definst_")


def test_a_failure_names_its_reason() -> None:
    assert str(RegistrationError(RegistrationFailure.CONFLICT)) == "conflict"
    error = RegistrationError(RegistrationFailure.PORT_UNAVAILABLE, "port 1")
    assert (str(error), error.reason) == ("port unavailable: port 1", RegistrationFailure.PORT_UNAVAILABLE)


def test_defaults_are_any_key_on_1935_without_tls() -> None:
    request = ListenForPublishers(rtmp_app="live")
    assert (request.rtmp_stream_key, request.port, request.use_tls) == (ANY, 1935, False)
