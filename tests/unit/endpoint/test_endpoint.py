from __future__ import annotations

import pytest
from gevent.queue import Queue

from rtmpsrv.endpoint.endpoint import RtmpEndpoint
from rtmpsrv.endpoint.requests import (
    ListenForPublishers,
    Observe,
    RegistrationError,
    RegistrationFailure,
)
from rtmpsrv.endpoint.types import (
    RegistrationClosed,
)
from tests.unit.endpoint.doubles import taken


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
