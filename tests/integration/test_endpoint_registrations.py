"""Registrations of the endpoint, with real ports. Numbers in names: docs/endpoint-compliance.md."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import gevent
import pytest
from gevent import ssl
from gevent.queue import Queue

from rtmpsrv import (
    ANY,
    Allow,
    Deny,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    NewMediaData,
    NewPublisherConnected,
    PublishingStopped,
    RegistrationClosed,
    RegistrationError,
    RegistrationFailure,
    RtmpEndpoint,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    VideoData,
    WatcherConnected,
    WatcherDisconnected,
    queue_face,
)
from tests.client import Closed, interframe
from tests.doubles import certificates
from tests.endpoint_stage import (
    APP,
    HOST,
    EndpointStage,
    endpoint_stage,
    eventually,
    expect,
    expect_nothing,
    next_message,
    rest,
)


@pytest.fixture
def on() -> Iterator[EndpointStage]:
    with endpoint_stage() as opened:
        yield opened


@pytest.fixture(scope="module")
def tls_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    made = certificates.make(tmp_path_factory.mktemp("certificates"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    return context


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as other:
        yield int(other.getsockname()[1])


def refusal(on: EndpointStage, kind: str, key: str | None = None, **options: object) -> RegistrationFailure:
    with pytest.raises(RegistrationError) as caught:
        getattr(on, kind)(key, **options)
    return caught.value.reason


# --- the first registration, and the port ---------------------------------------------------------------


def test_e01_a_publisher_registration_opens_the_port(on: EndpointStage) -> None:
    registration = on.publishers()
    assert registration.port == on.port
    on.client().connect(APP)
    assert rest(registration) == []


def test_e02_a_tls_registration_opens_a_tls_port(tls_context: ssl.SSLContext) -> None:
    with endpoint_stage(tls=tls_context) as on:
        on.publishers(use_tls=True)
        client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_context.check_hostname = False
        client_context.verify_mode = ssl.CERT_NONE
        client = on.client()
        client.socket = client_context.wrap_socket(client.socket)
        client.publish(APP, "key")


def test_e03_a_denied_port_fails_a_publisher_registration(on: EndpointStage, taken_port: int) -> None:
    assert refusal(on, "publishers", port=taken_port) is RegistrationFailure.PORT_UNAVAILABLE


def test_e04_a_second_app_on_an_open_port_succeeds_at_once(on: EndpointStage) -> None:
    first = on.publishers(app="app")
    second = on.publishers(app="app2")
    assert first.port == second.port
    on.publisher(app="app2")
    expect(second, NewPublisherConnected)


@pytest.mark.parametrize("kind", ["publishers", "watchers"])
class TestKeys:
    def test_e05_e12_a_second_any_fails(self, on: EndpointStage, kind: str) -> None:
        getattr(on, kind)()
        assert refusal(on, kind) is RegistrationFailure.CONFLICT

    def test_e06_e13_the_same_exact_key_fails(self, on: EndpointStage, kind: str) -> None:
        getattr(on, kind)("abc")
        assert refusal(on, kind, "abc") is RegistrationFailure.CONFLICT

    def test_e07_e14_exact_beside_any_fails(self, on: EndpointStage, kind: str) -> None:
        getattr(on, kind)()
        assert refusal(on, kind, "abc") is RegistrationFailure.CONFLICT

    def test_e08_e15_any_beside_exact_fails(self, on: EndpointStage, kind: str) -> None:
        getattr(on, kind)("abc")
        assert refusal(on, kind) is RegistrationFailure.CONFLICT

    def test_e09_e16_two_different_exact_keys_coexist(self, on: EndpointStage, kind: str) -> None:
        first, second = getattr(on, kind)("abc"), getattr(on, kind)("def")
        assert first.port == second.port


def test_e10_a_watcher_registration_opens_the_port(on: EndpointStage) -> None:
    on.watchers()
    on.client().connect(APP)


def test_e11_a_denied_port_fails_a_watcher_registration(on: EndpointStage, taken_port: int) -> None:
    assert refusal(on, "watchers", port=taken_port) is RegistrationFailure.PORT_UNAVAILABLE


def test_e17_tls_on_an_open_plain_port_fails(tls_context: ssl.SSLContext) -> None:
    with endpoint_stage(tls=tls_context) as on:
        on.publishers()
        for kind in ("publishers", "watchers"):
            assert refusal(on, kind, app="app2", use_tls=True) is RegistrationFailure.TLS_MISMATCH
        port = on.watchers(port=0, use_tls=True).port
        for kind in ("publishers", "watchers"):
            assert refusal(on, kind, app="app2", port=port) is RegistrationFailure.TLS_MISMATCH


# --- behaviour kept -------------------------------------------------------------------------------------


@pytest.fixture
def named() -> Iterator[EndpointStage]:
    """An endpoint of a host name: it has to be looked up, so ports take a moment to open."""
    with endpoint_stage(host="localhost") as opened:
        yield opened


def free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def test_k01_two_registrations_that_wait_for_one_port_both_succeed(named: EndpointStage) -> None:
    port = free_port()
    both = [gevent.spawn(named.publishers, app=app, port=port) for app in ("one", "two")]
    assert [greenlet.get(timeout=5).port for greenlet in both] == [port, port]


def test_k02_both_fail_when_the_port_is_denied_and_later_ones_ask_again(named: EndpointStage) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        reasons = [gevent.spawn(refusal, named, "publishers", app=app, port=port) for app in ("one", "two")]
        assert {greenlet.get(timeout=5) for greenlet in reasons} == {RegistrationFailure.PORT_UNAVAILABLE}
    assert named.publishers(port=port).port == port


def test_k03_a_conflict_while_the_port_opens_fails_and_the_first_succeeds(named: EndpointStage) -> None:
    port = free_port()
    first = gevent.spawn(named.publishers, port=port)
    second = gevent.spawn(refusal, named, "publishers", port=port)
    gevent.sleep(0)
    assert not first.ready()
    assert second.get(timeout=5) is RegistrationFailure.CONFLICT
    assert first.get(timeout=5).closed is None


def test_an_endpoint_that_is_closed_while_a_port_opens_does_not_open_it(named: EndpointStage) -> None:
    port = free_port()
    registering = gevent.spawn(refusal, named, "publishers", port=port)
    gevent.sleep(0)
    assert not registering.ready()
    named.endpoint.close()
    assert registering.get(timeout=5) is RegistrationFailure.ENDPOINT_CLOSED
    with pytest.raises(ConnectionError):
        named.client(port=port)


def test_a_host_that_does_not_exist_is_a_failure_with_reason() -> None:
    with endpoint_stage(host="no-such-host.invalid") as on, pytest.raises(RegistrationError) as caught:
        on.publishers()
    assert caught.value.reason is RegistrationFailure.PORT_UNAVAILABLE


@pytest.mark.parametrize("order", [("publishers", "watchers"), ("watchers", "publishers")])
def test_k04_publishers_and_watchers_of_one_key_do_not_conflict(
    on: EndpointStage, order: tuple[str, str]
) -> None:
    for kind in order:
        getattr(on, kind)("key")


def test_k05_removal_disconnects_the_publisher_and_frees_the_values(on: EndpointStage) -> None:
    on.watchers(app="other")  # keeps the port
    registration, client, _ = on.on_air()
    registration.close()
    client.expect_closed()
    successor = on.publishers()
    on.publisher()
    expect(successor, NewPublisherConnected)


def test_k06_removal_disconnects_the_watchers_of_all_keys(on: EndpointStage) -> None:
    registration = on.watchers()
    clients = [on.watcher("a"), on.watcher("b")]
    registration.close()
    for client in clients:
        client.expect_closed()


def test_k07_watchers_stay_when_publishers_are_removed(on: EndpointStage) -> None:
    registration, watcher = on.watched()
    publishers = on.publishers()
    publisher = on.publisher()
    publishers.close()
    publisher.expect_closed()
    watcher.fence()
    assert registration.watcher_count("key") == 1


def test_k08_a_registrant_that_goes_away_is_as_if_removed(on: EndpointStage) -> None:
    on.watchers(app="other")

    def registrant() -> None:
        with on.publishers():
            gevent.sleep(100)

    greenlet = gevent.spawn(registrant)
    gevent.sleep(0.05)
    client = on.publisher()
    greenlet.kill()
    client.expect_closed()
    on.publishers()


def test_k09_removal_of_an_exact_key_leaves_any_alone(on: EndpointStage) -> None:
    on.watchers(app="other")
    messages: Queue[object] = Queue()
    with queue_face.RequestQueue(on.endpoint) as face:
        face.requests.put(
            queue_face.ListenForPublishers(rtmp_app=APP, port=on.port, message_channel=messages)
        )
        kind = queue_face.RegistrationType.PUBLISHER
        for key, app in ((Exact("a"), APP), (ANY, "other")):
            face.requests.put(
                queue_face.RemoveRegistration(
                    registration_type=kind, rtmp_app=app, rtmp_stream_key=key, port=on.port
                )
            )
        expect(messages, queue_face.PublisherRegistrationSuccessful)
        on.publisher("a")
        expect(messages, NewPublisherConnected)
        assert not face.requests.qsize()
        expect_nothing(messages)


@pytest.mark.parametrize("tls", [None, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)], ids=["none", "empty"])
def test_k28_tls_without_a_certificate_fails(tls: ssl.SSLContext | None) -> None:
    with endpoint_stage(tls=tls) as on:
        assert refusal(on, "publishers", use_tls=True) is RegistrationFailure.NO_CERTIFICATE
        on.publishers()


# --- better than what was observed ----------------------------------------------------------------------


def test_c01_a_port_of_a_foreign_process_is_a_failure_with_reason(on: EndpointStage, taken_port: int) -> None:
    with pytest.raises(RegistrationError, match=rf"port unavailable: port {taken_port}: .*in use"):
        on.publishers(port=taken_port)


def test_c02_a_failed_equal_registrant_does_not_touch_the_other(on: EndpointStage) -> None:
    registration, client, _ = on.on_air()
    assert refusal(on, "publishers") is RegistrationFailure.CONFLICT
    client.fence()
    expect_nothing(registration, PublishingStopped)


def test_c03_leftovers_of_a_removed_registration_never_reach_its_successor(on: EndpointStage) -> None:
    on.publishers(app="other")
    first, old = on.watched()
    first.close()
    second = on.watchers()
    new = on.watcher()
    expect(second, StreamKeyBecameActive)
    old.expect_closed()
    assert first.send("key", flv_frame()) == 0
    first.end("key")
    first.close()
    expect_nothing(second)
    assert new.fence() == []
    assert second.watcher_count("key") == 1


def flv_frame() -> VideoData:
    return VideoData(b"x", 0, is_keyframe=True)


def test_c04_the_last_removal_closes_the_port_which_may_change_to_tls(tls_context: ssl.SSLContext) -> None:
    with endpoint_stage(tls=tls_context) as on:
        first, second = on.publishers(), on.watchers()
        idle = on.client().connect(APP)
        first.close()
        on.client().connect(APP)
        second.close()
        with pytest.raises(ConnectionError):
            on.client()
        idle.expect_closed()
        assert on.publishers(use_tls=True).port == on.port


def test_c09_a_removed_publisher_registration_ends_each_client_and_says_why(on: EndpointStage) -> None:
    registration = on.publishers()
    ids = set()
    for key in ("a", "b"):
        on.publisher(key)
        ids.add(expect(registration, NewPublisherConnected).client.connection_id)
    registration.close("maintenance")
    *stops, closed = list(registration.messages)
    assert {one.connection_id for one in stops if isinstance(one, PublishingStopped)} == ids
    assert len(stops) == len(ids)
    assert closed == RegistrationClosed("maintenance")
    registration.close()
    expect_nothing(registration)


def test_c09_a_removed_watcher_registration_ends_each_client_and_says_why(on: EndpointStage) -> None:
    registration = on.watchers()
    for _ in range(2):
        on.watcher()
    on.endpoint.close()
    kinds = [type(message) for message in registration.messages]
    assert kinds == [
        WatcherConnected, StreamKeyBecameActive, WatcherConnected,
        WatcherDisconnected, WatcherDisconnected, StreamKeyBecameInactive, RegistrationClosed,
    ]  # fmt: skip


# --- more -----------------------------------------------------------------------------------------------


def test_a_shared_queue_ends_with_its_last_registration(on: EndpointStage) -> None:
    messages: Queue[object] = Queue()
    first, second = on.publishers(messages=messages), on.watchers(messages=messages)
    first.close()
    assert isinstance(next_message(messages), RegistrationClosed)
    expect_nothing(messages)
    second.close()
    assert [type(message) for message in messages] == [RegistrationClosed]


def test_a_closed_endpoint_takes_no_registrations(on: EndpointStage) -> None:
    on.endpoint.close()
    assert refusal(on, "publishers") is RegistrationFailure.ENDPOINT_CLOSED


def test_a_bounded_queue_is_refused(on: EndpointStage) -> None:
    with pytest.raises(ValueError, match="no maximum"):
        on.publishers(messages=Queue(5))


def test_a_context_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="gevent"):
        RtmpEndpoint(tls=object())  # type: ignore[arg-type]


def test_several_ports_do_not_conflict(on: EndpointStage) -> None:
    first, second = on.publishers(port=0), on.publishers(port=0)
    assert first.port != second.port
    on.client(port=second.port).publish(APP, "key")
    expect(second, NewPublisherConnected)
    expect_nothing(first)


def test_update_holds_for_clients_that_come_later(on: EndpointStage) -> None:
    registration, client, _ = on.on_air(ip_restriction=Allow((ip_network("127.0.0.1/32"),)))
    registration.update(ip_restriction=Deny((ip_network("127.0.0.0/8"),)))
    late = on.client().connect(APP)
    late.ask_publish("late", late.create_stream())
    late.expect_status("NetStream.Publish.BadName")
    client.fence()
    assert (registration.statistics.accepted, registration.statistics.refused) == (1, 1)
    registration.update(ip_restriction=None)
    on.publisher("late")


def test_disconnect_ends_one_client_with_the_reason(on: EndpointStage) -> None:
    registration, client, announced = on.on_air()
    registration.disconnect(announced.client.connection_id, "no pictures of cats")
    client.expect_closed()
    stopped = expect(registration, PublishingStopped)
    assert stopped.connection_id == announced.client.connection_id
    assert stopped.reason == "no pictures of cats"
    registration.disconnect(announced.client.connection_id)


def test_an_ipv4_client_of_a_dual_stack_port_is_an_ipv4_client() -> None:
    with endpoint_stage(host="::") as on:
        registration, _client, announced = on.on_air()
        assert str(announced.client.address) == "127.0.0.1"
        assert announced.client.port == registration.port


@pytest.mark.parametrize(
    ("source", "network", "admitted"),
    [
        ("127.0.0.1", "127.0.0.0/8", True),
        ("127.0.0.1", "::ffff:127.0.0.0/104", True),
        ("127.0.0.1", "::1/128", False),
        ("::1", "::1/128", True),
        ("::1", "127.0.0.0/8", False),
    ],
)
def test_a_dual_stack_port_compares_addresses_of_both_kinds(
    source: str, network: str, admitted: bool
) -> None:
    with endpoint_stage(host="::") as on:
        allowing = on.publishers("a", ip_restriction=Allow((ip_network(network),)))
        denying = on.publishers("b", ip_restriction=Deny((ip_network(network),)))
        for key, registration, is_open in (("a", allowing, admitted), ("b", denying, not admitted)):
            client = on.client(host=source).connect(APP)
            client.ask_publish(key, client.create_stream())
            client.expect_status(f"NetStream.Publish.{'Start' if is_open else 'BadName'}")
            assert registration.statistics.accepted == is_open
            assert [str(one.client.address) for one in rest(registration)] == [source] * is_open


def test_a_request_says_nothing_of_its_key() -> None:
    for kind in (ListenForPublishers, ListenForWatchers):
        assert "hush" not in repr(kind(rtmp_app="live", rtmp_stream_key=Exact("hush")))


def test_media_after_a_late_close_goes_nowhere(on: EndpointStage) -> None:
    registration, client, _ = on.on_air()
    registration.close()
    with pytest.raises((Closed, OSError)):  # noqa: PT012 - the socket dies in one of these
        for _ in range(100):
            client.video(0, interframe(b"late"))
            client.fence()
    expect_nothing(registration, NewMediaData)


def test_certificate_files_are_not_needed_for_plain_ports(tmp_path: Path) -> None:
    with endpoint_stage() as on:
        on.publishers()
        eventually(lambda: bool(on.port))
