from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from rtmpsrv.endpoint.types import (
    ANY,
    Allow,
    Approve,
    Client,
    ConnectionId,
    Deny,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    Observe,
    PublisherRequiringApproval,
    PublishingStopped,
    RegistrationError,
    RegistrationFailure,
    Reject,
    StreamKeyBecameActive,
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


@pytest.mark.parametrize(
    "make",
    [
        lambda: Exact(5),
        lambda: Allow(("10.0.0.0/8",)),
        lambda: Deny(ip_address("10.0.0.1")),
        lambda: ListenForPublishers(rtmp_app=b"live"),
        lambda: ListenForPublishers(rtmp_app="live", rtmp_stream_key="key"),
        lambda: ListenForWatchers(rtmp_app="live", rtmp_stream_key=None),
        lambda: ListenForWatchers(rtmp_app="live", ip_restriction=(ip_network("10.0.0.0/8"),)),
        lambda: Observe(rtmp_app="live", rtmp_stream_key="*"),
    ],
)
def test_what_would_silently_match_nobody_is_a_type_error(make: Any) -> None:
    with pytest.raises(TypeError):
        make()


def test_the_first_answer_counts() -> None:
    question = PublisherRequiringApproval(CLIENT)
    question.approve("context")
    question.reject()
    assert question.response.get() == Approve("context")
    other = PublisherRequiringApproval(CLIENT)
    other.reject("no")
    other.approve()
    assert other.response.get() == Reject("no")


def test_keys_and_arguments_stay_out_of_every_repr() -> None:
    values = (CLIENT, Exact("hush"), PublisherRequiringApproval(CLIENT), StreamKeyBecameActive("hush"))
    assert "hush" not in repr(values)


def test_a_failure_names_its_reason() -> None:
    assert str(RegistrationError(RegistrationFailure.CONFLICT)) == "conflict"
    error = RegistrationError(RegistrationFailure.PORT_UNAVAILABLE, "port 1")
    assert (str(error), error.reason) == ("port unavailable: port 1", RegistrationFailure.PORT_UNAVAILABLE)


def test_ends_are_equal_whatever_their_reason() -> None:
    assert PublishingStopped(ConnectionId("c"), "a") == PublishingStopped(ConnectionId("c"), "b")


def test_defaults_are_any_key_on_1935_without_tls() -> None:
    request = ListenForPublishers(rtmp_app="live")
    assert (request.rtmp_stream_key, request.port, request.use_tls) == (ANY, 1935, False)
