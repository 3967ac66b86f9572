from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.queue import Queue

from rtmpsrv.endpoint import queue_face
from rtmpsrv.endpoint.endpoint import RtmpEndpoint
from rtmpsrv.endpoint.requests import (
    ANY,
    Observe,
    RegistrationFailure,
)
from rtmpsrv.endpoint.types import RegistrationClosed


def test_a_failure_is_a_message_with_its_reason() -> None:
    endpoint = RtmpEndpoint()
    endpoint.close()
    face = queue_face.RequestQueue(endpoint)
    publishers: Queue[object] = Queue()
    watchers: Queue[object] = Queue()
    face.requests.put(queue_face.ListenForPublishers(rtmp_app="app", message_channel=publishers))
    face.requests.put(
        queue_face.ListenForWatchers(rtmp_app="app", notification_channel=watchers, media_channel=Queue())
    )
    failure = RegistrationFailure.ENDPOINT_CLOSED
    assert publishers.get(timeout=5) == queue_face.PublisherRegistrationFailed(failure)
    assert watchers.get(timeout=5) == queue_face.WatcherRegistrationFailed(failure)
    face.close()


def test_removal_without_a_match_does_nothing() -> None:
    with queue_face.RequestQueue(RtmpEndpoint()) as face:
        kind = queue_face.RegistrationType.WATCHER
        face.requests.put(
            queue_face.RemoveRegistration(registration_type=kind, rtmp_app="app", rtmp_stream_key=ANY)
        )
        gevent.sleep(0)
        assert face.requests.qsize() == 0
        assert not face._reader.dead


def test_what_is_no_request_is_logged_and_the_next_one_is_read(caplog: pytest.LogCaptureFixture) -> None:
    with queue_face.RequestQueue(RtmpEndpoint()) as face, caplog.at_level("ERROR", "rtmpsrv"):
        face.requests.put("listen!")
        gevent.sleep(0)
        assert not face._reader.dead
    assert [record.getMessage() for record in caplog.records] == ["str is no request"]


def test_channels_are_checked_where_the_request_is_made() -> None:
    with pytest.raises(ValueError, match="no maximum"):
        queue_face.ListenForPublishers(rtmp_app="app", message_channel=Queue(5))
    wrong: Any = []
    with pytest.raises(TypeError, match="channel"):
        queue_face.ListenForWatchers(rtmp_app="app", notification_channel=wrong, media_channel=Queue())
    with pytest.raises(TypeError, match="rtmp_app"):
        queue_face.ListenForPublishers(rtmp_app=wrong, message_channel=Queue())


def test_a_channel_ends_after_a_failure() -> None:
    endpoint = RtmpEndpoint()
    endpoint.close()
    channels: list[Queue[Any]] = [Queue(), Queue()]
    with queue_face.RequestQueue(endpoint) as face:
        face.requests.put(queue_face.ListenForPublishers(rtmp_app="app", message_channel=channels[0]))
        face.requests.put(
            queue_face.ListenForWatchers(
                rtmp_app="app", notification_channel=channels[1], media_channel=Queue()
            )
        )
        failure = RegistrationFailure.ENDPOINT_CLOSED
        assert list(channels[0]) == [queue_face.PublisherRegistrationFailed(failure)]
        assert list(channels[1]) == [queue_face.WatcherRegistrationFailed(failure)]


def test_a_channel_that_another_registration_has_goes_on_after_a_failure() -> None:
    endpoint = RtmpEndpoint()
    channel: Queue[Any] = Queue()
    endpoint.register(Observe(rtmp_app="app"), channel)
    with queue_face.RequestQueue(endpoint) as face:
        face.requests.put(queue_face.ListenForPublishers(rtmp_app="app", port=70000, message_channel=channel))
        gevent.sleep(0)
        endpoint.close()
    failure, closed = channel
    assert failure == queue_face.PublisherRegistrationFailed(RegistrationFailure.PORT_UNAVAILABLE)
    assert isinstance(closed, RegistrationClosed)


def test_a_request_that_cannot_be_used_is_answered_and_the_next_one_is_read() -> None:
    channel: Queue[Any] = Queue()
    request = queue_face.ListenForPublishers(rtmp_app="app", message_channel=channel)
    object.__setattr__(request, "port", "1935")  # after it was checked
    with queue_face.RequestQueue(RtmpEndpoint()) as face:
        face.requests.put(request)
        assert list(channel) == [queue_face.PublisherRegistrationFailed(RegistrationFailure.INVALID_REQUEST)]
        assert not face._reader.dead


@pytest.mark.parametrize("field", ["rtmp_stream_key", "registration_type", "rtmp_app"])
def test_a_removal_is_checked_when_it_is_built(field: str) -> None:
    kind: dict[str, Any] = {
        "registration_type": queue_face.RegistrationType.WATCHER, "rtmp_app": "app", "rtmp_stream_key": ANY,
    }  # fmt: skip
    with pytest.raises(TypeError):
        queue_face.RemoveRegistration(**{**kind, field: []})


def test_media_comes_on_a_queue() -> None:
    with pytest.raises(TypeError, match="media_channel"):
        queue_face.ListenForWatchers(
            rtmp_app="app",
            notification_channel=Queue(),
            media_channel=[],  # type: ignore[arg-type]
        )
