from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.queue import Queue

from rtmpsrv.endpoint import queue_face
from rtmpsrv.endpoint.endpoint import RtmpEndpoint
from rtmpsrv.endpoint.requests import (
    ANY,
    RegistrationFailure,
)


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
