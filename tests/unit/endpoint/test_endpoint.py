from __future__ import annotations

import asyncio
from typing import Any

import gevent
import pytest
from gevent import monkey, ssl
from gevent.queue import Queue

from rtmpsrv.endpoint.endpoint import RtmpEndpoint
from rtmpsrv.endpoint.port import Port
from rtmpsrv.endpoint.requests import (
    ANY,
    Exact,
    ListenForPublishers,
    Observe,
    RegistrationError,
    RegistrationFailure,
)
from rtmpsrv.endpoint.types import (
    RegistrationClosed,
)
from tests.unit.endpoint.doubles import publishers, taken


def test_an_observer_opens_no_port_and_closes_with_the_endpoint() -> None:
    with RtmpEndpoint() as endpoint:
        tap = endpoint.register(Observe(rtmp_app="app"))
    assert [one for one in taken(tap) if one is not StopIteration] == [
        RegistrationClosed("the endpoint is closed")
    ]
    assert not endpoint._observers
    assert not endpoint._inboxes


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_unavailable(port: int) -> None:
    with pytest.raises(RegistrationError) as caught:
        RtmpEndpoint().register(ListenForPublishers(rtmp_app="app", port=port))
    assert caught.value.reason is RegistrationFailure.PORT_UNAVAILABLE


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Observe(rtmp_app="app", port=0), "port unavailable: port 0, for Observe it is 1 to 65535"),
        (
            ListenForPublishers(rtmp_app="app", port=70000),
            "port unavailable: port 70000, for ListenForPublishers it is 0 to 65535",
        ),
        (
            ListenForPublishers(rtmp_app="app", port=7, use_tls=True),
            "no certificate: port 7: use_tls needs Endpoint(tls=...)",
        ),
    ],
)
def test_a_failure_says_what_is_allowed(request_: Any, text: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        RtmpEndpoint().register(request_)
    assert str(caught.value) == text


def test_a_tls_context_without_a_certificate_is_another_failure_than_none() -> None:
    endpoint = RtmpEndpoint(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with pytest.raises(RegistrationError, match="use_tls needs a certificate loaded into that `tls`"):
        endpoint.register(ListenForPublishers(rtmp_app="app", use_tls=True))


def test_a_conflict_names_port_and_app_and_no_key() -> None:
    endpoint = RtmpEndpoint()
    port = Port(False, 0.0, lambda port, app, key: ())
    port.publishers.add(publishers(rtmp_stream_key=Exact("hush")))
    endpoint._ports[1935] = port
    for key in (ANY, Exact("hush")):
        with pytest.raises(RegistrationError) as caught:
            endpoint.register(ListenForPublishers(rtmp_app="app", rtmp_stream_key=key))
        assert str(caught.value) == (
            "conflict: port 1935, app 'app': another ListenForPublishers has the same key, or one of them ANY"
        )


def test_a_class_in_place_of_a_request_is_to_be_called() -> None:
    with pytest.raises(TypeError, match=r"call it, such as ListenForPublishers\(rtmp_app="):
        RtmpEndpoint().register(untyped(ListenForPublishers))


def test_a_closed_endpoint_refuses_everything() -> None:
    endpoint = RtmpEndpoint()
    endpoint.close()
    for request in (Observe(rtmp_app="app"), ListenForPublishers(rtmp_app="app")):
        with pytest.raises(RegistrationError, match="endpoint closed"):
            endpoint.register(request)


def test_observers_may_share_a_queue() -> None:
    messages: Queue[object] = Queue()
    endpoint = RtmpEndpoint()
    taps = [endpoint.register(Observe(rtmp_app="app"), messages) for _ in range(2)]
    assert len(endpoint._inboxes) == 1
    for tap in taps:
        tap.close()
    assert [type(one) for one in messages] == [RegistrationClosed, RegistrationClosed]
    assert not endpoint._inboxes


def untyped(value: Any) -> Any:
    """Hide what a call accepts, as from a caller who checks no types."""
    return value


@pytest.mark.parametrize("request_", ["x", None, ListenForPublishers])
def test_what_is_no_request_is_a_type_error_that_says_so(request_: object) -> None:
    with pytest.raises(TypeError, match="is no request"):
        RtmpEndpoint().register(untyped(request_))


def test_arguments_are_checked_when_they_are_given() -> None:
    with pytest.raises(TypeError, match="host is text"):
        RtmpEndpoint(untyped(5))
    with pytest.raises(TypeError, match=r"limits are rtmpsrv\.Limits"):
        RtmpEndpoint(limits=untyped(5))
    with pytest.raises(TypeError, match="gevent"):
        RtmpEndpoint().register(Observe(rtmp_app="app"), untyped([]))


def test_calls_from_another_thread_raise() -> None:
    endpoint = RtmpEndpoint()
    for call in (lambda: endpoint.register(Observe(rtmp_app="app")), endpoint.close):
        with pytest.raises(RuntimeError, match="Portal"):
            gevent.get_hub().threadpool.apply(untyped(call))
    endpoint.close()


def test_registering_inside_asyncio_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        with pytest.raises(RuntimeError, match="asyncio"):
            RtmpEndpoint().register(Observe(rtmp_app="app"))

    monkeypatch.setattr(monkey, "is_module_patched", lambda name: False)
    asyncio.run(program())


def test_a_repr_says_what_is_open() -> None:
    endpoint = RtmpEndpoint("127.0.0.1")
    endpoint.register(Observe(rtmp_app="app"))
    assert repr(endpoint) == "<Endpoint host='127.0.0.1' ports=[], 1 registrations>"
    endpoint.close()
    assert repr(endpoint) == "<Endpoint host='127.0.0.1' ports=[], closed>"
