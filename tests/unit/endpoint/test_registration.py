from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import gevent
import pytest
from gevent.queue import Queue

from rtmpsrv.endpoint.inbox import Inbox
from rtmpsrv.endpoint.limits import Limits
from rtmpsrv.endpoint.registration import CLOSED_BY_REGISTRANT, STALLED
from rtmpsrv.endpoint.requests import (
    ANY,
    Exact,
    ListenForPublishers,
    StreamId,
)
from rtmpsrv.endpoint.types import (
    AudioData,
    Client,
    ConnectionId,
    NewMediaData,
    PublisherRefused,
    PublishingStopped,
    RegistrationClosed,
)
from rtmpsrv.errors import HandleClosed
from tests.unit.endpoint.doubles import LIMITS, observer, publishers, taken, watchers

ONE = Client(ConnectionId("one"), ip_address("127.0.0.1"), "app", "hush")


def test_an_announced_client_gets_one_end_however_often_it_is_retired() -> None:
    registration = publishers()
    registration.announce(ONE, lambda reason: None)
    registration.retire(ONE.connection_id, "gone")
    registration.retire(ONE.connection_id, "gone")
    assert taken(registration) == [PublisherRefused(ONE)]


def test_closing_ends_clients_then_the_queue_and_disconnects_them() -> None:
    registration = publishers()
    dropped: list[str] = []
    registration.announce(ONE, dropped.append)
    with registration:
        pass
    registration.close("again")
    assert dropped == [CLOSED_BY_REGISTRANT]
    assert taken(registration) == [
        PublisherRefused(ONE),
        RegistrationClosed(CLOSED_BY_REGISTRANT),
        StopIteration,
    ]


def test_disconnect_reaches_only_announced_clients() -> None:
    registration = publishers()
    dropped: list[str] = []
    registration.announce(ONE, dropped.append)
    registration.disconnect(ConnectionId("other"))
    registration.disconnect(ONE.connection_id)
    assert dropped == ["disconnected by the registrant"]


def test_an_observer_disconnects_nobody() -> None:
    tap = observer()
    dropped: list[str] = []
    tap.admit(ONE, dropped.append, None)
    with pytest.raises(TypeError):
        tap.disconnect(ONE.connection_id)
    tap.close()
    assert dropped == []


def test_control_messages_that_nobody_takes_end_the_registration() -> None:
    registration = publishers(Limits(queue_messages=3, stall_s=0.0))
    for _ in range(5):
        registration.put("message")
    assert registration.closed == STALLED


def test_update_changes_what_does_not_identify_the_registration() -> None:
    registration = publishers(rtmp_stream_key=Exact("a"))
    registration.update(requires_approval=True, stream_id="pinned")
    assert registration.request == ListenForPublishers(
        rtmp_app="app", rtmp_stream_key=Exact("a"), requires_approval=True, stream_id=StreamId("pinned")
    )
    for name, value in (("rtmp_app", "b"), ("rtmp_stream_key", ANY), ("port", 1), ("use_tls", True)):
        with pytest.raises(ValueError, match=f"keeps its {name}"):
            registration.update(**{name: value})
    with pytest.raises(TypeError):
        registration.update(colour="red")
    with pytest.raises(TypeError):
        registration.update(ip_restriction="127.0.0.1")
    with pytest.raises(TypeError):
        observer().update(requires_approval=True)


def test_covers_is_exact_or_everything() -> None:
    assert publishers().covers("any")
    assert publishers(rtmp_stream_key=Exact("a")).covers("a")
    assert not publishers(rtmp_stream_key=Exact("a")).covers("A")


def test_ends_and_media_say_whose_they_are() -> None:
    registration = publishers()
    registration.admit(ONE, lambda reason: None, "context", StreamId("s"))
    registration.put_media(ONE.connection_id, AudioData(b"a", 1))
    registration.retire(ONE.connection_id, "gone")
    media, end = taken(registration)
    assert isinstance(media, NewMediaData)
    assert isinstance(end, PublishingStopped)
    for message in (media, end):
        assert (message.client, message.stream_id, message.context) == (ONE, "s", "context")
    assert (media.publisher, end.connection_id, end.reason) == ("one", "one", "gone")


def test_the_end_belongs_to_the_handle_and_stays() -> None:
    registration = publishers()
    registration.close("why")
    assert registration.waiting == 2
    assert list(registration) == [RegistrationClosed("why")]
    assert list(registration) == []
    with pytest.raises(HandleClosed, match="why"):
        registration.get(timeout=0)
    assert list(registration.messages) == []


def test_everybody_who_waits_is_told_the_end() -> None:
    registration = publishers()
    waiting = [gevent.spawn(list, registration) for _ in range(3)]
    gevent.sleep(0)
    registration.close("why")
    gevent.joinall(waiting, timeout=5)
    assert sorted(len(one.value or ()) for one in waiting) == [0, 0, 1]


def test_nothing_in_time_is_a_timeout_error() -> None:
    with pytest.raises(TimeoutError):
        publishers().get(timeout=0)
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        publishers().get(timeout=0.01)


def test_a_handle_ends_before_the_queue_that_it_shares() -> None:
    shared = Inbox(Queue(), LIMITS)
    first, second = publishers(inbox=shared), publishers(inbox=shared)
    first.close("first")
    second.close("second")
    assert list(first) == [RegistrationClosed("first")]
    assert list(second) == [RegistrationClosed("second")]
    assert list(first) == list(second) == []


def test_a_queue_goes_on_with_a_registration_that_comes_before_its_end_is_read() -> None:
    queue: Queue[Any] = Queue()
    publishers(inbox=Inbox(queue, LIMITS)).close("first")
    later = publishers(inbox=Inbox(queue, LIMITS))
    later.close("second")
    assert list(queue) == [RegistrationClosed("first"), RegistrationClosed("second")]


def test_what_nobody_wants_is_not_kept() -> None:
    registration = publishers(Limits(queue_messages=1, stall_s=0.0))
    registration.put("before")
    assert registration.discard_messages() is registration
    registration.admit(ONE, lambda reason: None, None)
    for _ in range(9):
        registration.put("message")
        registration.put_media(ONE.connection_id, AudioData(b"a", 1))
        registration.end_if_stalled(ONE.connection_id)
    assert registration.has_room(ONE.connection_id)
    assert registration.closed is None
    assert registration.messages.qsize() == 0
    with pytest.raises(RuntimeError, match="discarded"):
        registration.get()
    with pytest.raises(RuntimeError, match="discarded"):
        next(registration.accept())


def test_registrations_that_share_a_queue_keep_it() -> None:
    shared = Inbox(Queue(), LIMITS)
    first, _second = publishers(inbox=shared), publishers(inbox=shared)
    with pytest.raises(ValueError, match="share"):
        first.discard_messages()


def test_a_repr_says_what_it_is_and_no_key() -> None:
    registration = watchers(rtmp_stream_key=Exact("hush"))
    registration.announce(ONE, lambda reason: None)
    assert repr(registration) == "<WatcherRegistration app='app' port=1935, one key, 1 clients>"
    registration.close("why")
    assert repr(registration) == "<WatcherRegistration app='app' port=1935, one key, closed: why>"
    assert "any key" in repr(publishers())


def test_calls_from_another_thread_raise() -> None:
    registration, watching = publishers(), watchers()
    calls: list[Any] = [
        registration.get,
        registration.update,
        registration.close,
        registration.discard_messages,
        lambda: registration.disconnect(ConnectionId("c")),
        lambda: next(registration.accept()),
        lambda: watching.send("key", AudioData(b"", 0)),
        lambda: watching.end("key"),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="Portal"):
            gevent.get_hub().threadpool.apply(call)
