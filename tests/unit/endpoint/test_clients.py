from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import gevent
import pytest

from rtmpsrv.endpoint.clients import CROWDED, Publisher, Watcher
from rtmpsrv.endpoint.limits import MAX_DEPARTED, Limits
from rtmpsrv.endpoint.registration import STALLED
from rtmpsrv.endpoint.requests import StreamId
from rtmpsrv.endpoint.types import (
    Approve,
    AudioData,
    Client,
    ConnectionId,
    NewPublisherConnected,
    PublisherRequiringApproval,
    Reject,
    StreamMetadata,
    WatcherConnected,
)
from rtmpsrv.errors import HandleClosed
from tests.unit.endpoint.doubles import observer, publishers, taken, watchers

SOUND = AudioData(b"sound", 1)


def client(name: str) -> Client:
    return Client(ConnectionId(name), ip_address("127.0.0.1"), "app", f"hush-{name}")


def connect(registration: Any, name: str, dropped: list[str] | None = None) -> Client:
    who = client(name)
    registration.admit(who, (dropped if dropped is not None else []).append, "context", StreamId("s"))
    registration.put(NewPublisherConnected(who, StreamId("s"), "context"))
    return who


def test_each_publisher_has_its_own_media_and_its_own_end() -> None:
    registration = publishers()
    accepted = registration.accept()
    one, two = connect(registration, "one"), connect(registration, "two")
    registration.put_media(one.connection_id, SOUND)
    first, second = next(accepted), next(accepted)
    assert (first.key, first.stream_id, first.context, first.closed) == ("hush-one", "s", "context", None)
    assert first.waiting == 1
    assert first.get(timeout=0) is SOUND
    with pytest.raises(TimeoutError):
        second.get(timeout=0)
    registration.put_media(two.connection_id, SOUND)
    registration.retire(two.connection_id, "gone")
    assert list(second) == [SOUND]
    assert list(second) == []
    assert second.closed == "gone"
    with pytest.raises(HandleClosed, match="gone"):
        second.get()
    registration.close("why")
    assert list(first) == []
    assert list(accepted) == []
    assert list(registration.accept()) == []


def test_what_waited_on_the_queue_is_sorted_when_it_is_first_asked_for() -> None:
    registration = publishers()
    one = connect(registration, "one")
    registration.put_media(one.connection_id, StreamMetadata({}))
    registration.put_media(one.connection_id, SOUND)
    registration.retire(one.connection_id, "gone")
    (first,) = [next(registration.accept())]
    assert list(first) == [StreamMetadata({}), SOUND]
    assert taken(registration) == []
    with pytest.raises(RuntimeError, match="accept"):
        registration.get()


def test_clients_that_were_known_before_are_not_accepted_again() -> None:
    registration = publishers()
    one = connect(registration, "one")
    taken(registration)
    accepted = registration.accept()
    two = connect(registration, "two")
    assert next(accepted).client == two
    registration.put_media(one.connection_id, SOUND)
    registration.retire(one.connection_id, "gone")
    registration.close()
    assert list(accepted) == []


def test_all_that_was_on_the_queue_of_a_closed_registration_comes() -> None:
    registration = publishers()
    connect(registration, "one")
    registration.close("why")
    (first,) = registration.accept()
    assert first.closed == "why"
    assert list(registration.messages) == []


def ask(registration: Any, name: str = "one") -> PublisherRequiringApproval:
    question = PublisherRequiringApproval(client(name))
    registration.announce(question.client, lambda reason: None)
    registration.put(question)
    return question


def test_a_publisher_waits_until_it_is_approved() -> None:
    registration = publishers()
    question = ask(registration)
    publisher = next(registration.accept())
    waiting = publisher.is_waiting
    with pytest.raises(RuntimeError, match="approve"):
        publisher.get()
    publisher.approve("context")
    assert waiting
    assert not publisher.is_waiting
    assert question.response.get() == Approve("context")
    connect(registration, "one")
    assert (publisher.context, publisher.stream_id) == ("context", "s")


def test_one_that_is_rejected_ends_without_media() -> None:
    registration = publishers()
    question = ask(registration)
    publisher = next(registration.accept())
    publisher.reject("no")
    assert question.response.get() == Reject("no")
    registration.retire(question.client.connection_id, "no")
    assert list(publisher) == []
    assert publisher.closed == "no"
    publisher.reject("again")


@pytest.mark.parametrize("way", ["reject", "disconnect", "leave"])
def test_one_that_is_in_is_disconnected(way: str) -> None:
    registration = publishers()
    dropped: list[str] = []
    connect(registration, "one", dropped)
    publisher = next(registration.accept())
    publisher.approve()  # not needed: does nothing
    if way == "leave":
        with publisher:
            assert dropped == []
        assert dropped == ["disconnected by the registrant"]
    else:
        getattr(publisher, way)("no")
        assert dropped == ["no"]


def test_who_reads_one_publisher_slowly_slows_that_one_and_loses_it() -> None:
    registration = publishers(Limits(queue_messages=1, stall_s=0.0))
    dropped: list[str] = []
    accepted = registration.accept()
    one, two = connect(registration, "one", dropped), connect(registration, "two")
    next(accepted)
    for _ in range(2):
        registration.put_media(one.connection_id, SOUND)
    assert not registration.has_room(one.connection_id)
    assert registration.has_room(two.connection_id)
    for _ in range(2):
        registration.end_if_stalled(one.connection_id)
    assert dropped == [STALLED]
    assert registration.closed is None


def test_a_watcher_can_be_waited_for() -> None:
    registration = watchers()
    who = client("one")
    registration.admit(who, lambda reason: None, "context")
    registration.put(WatcherConnected(who, "context"), "what is about keys is not needed")
    watcher = next(registration.accept())
    assert isinstance(watcher, Watcher)
    assert watcher.context == "context"
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError):
            watcher.wait(timeout)
    waiting = gevent.spawn(watcher.wait)
    registration.retire(who.connection_id, "gone")
    assert waiting.get(timeout=5) == "gone"


def test_an_observer_accepts_publishers_and_lets_go_of_them() -> None:
    registration = observer()
    connect(registration, "one")
    publisher = next(registration.accept())
    publisher.disconnect()  # of a publisher that is not among those it reads: nothing happens
    assert isinstance(publisher, Publisher)
    assert publisher.closed is None


def test_a_repr_says_what_it_is_and_no_key() -> None:
    registration = publishers()
    ask(registration)
    publisher = next(registration.accept())
    assert repr(publisher) == "<Publisher app='app' from 127.0.0.1: waits for approval>"
    publisher.approve()
    assert repr(publisher) == "<Publisher app='app' from 127.0.0.1: connected>"
    registration.close("why")
    assert repr(publisher) == "<Publisher app='app' from 127.0.0.1: why>"


def test_a_reason_of_another_type_is_a_type_error_and_nothing_happens() -> None:
    registration = publishers()
    dropped: list[str] = []
    asking = ask(registration, "one")
    connect(registration, "two", dropped)
    accepted = registration.accept()
    first, second = next(accepted), next(accepted)
    number: Any = 3
    calls: list[Callable[[], object]] = [
        lambda: first.reject(number),
        lambda: second.reject(number),
        lambda: second.disconnect(number),
        lambda: registration.disconnect(second.client.connection_id, number),
        lambda: registration.close(number),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="a reason is text"):
            call()
    with pytest.raises(TypeError, match="a connection id is text"):
        registration.disconnect(number)
    assert not asking.response.ready()
    assert dropped == []
    assert registration.closed is None


def test_a_timeout_of_another_type_is_a_type_error_that_says_so() -> None:
    registration, watched = publishers(), watchers()
    wrong: Any = "x"
    connect(registration, "one")
    watched.admit(client("one"), lambda reason: None, None)
    watched.put(WatcherConnected(client("one")))
    calls: list[Callable[[], object]] = [
        lambda: registration.get(wrong),
        lambda: next(registration.accept()).get(wrong),
        lambda: next(watched.accept()).wait(wrong),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="timeout is a number of seconds or None, this one is str"):
            call()


def test_two_iterators_of_a_registration_share_its_clients() -> None:
    registration = publishers()
    first, second = registration.accept(), registration.accept()
    names = ["one", "two", "three"]
    clients = [connect(registration, name) for name in names]
    assert [next(one).client for one in (first, second, first)] == clients
    registration.close()
    assert [*first, *second] == []


def test_of_those_that_left_before_they_were_accepted_only_the_last_few_come() -> None:
    registration = publishers()
    accepted = registration.accept()
    connect(registration, "first")
    assert next(accepted).key == "hush-first"
    connect(registration, "alive")
    for number in range(MAX_DEPARTED + 1):
        gone = connect(registration, str(number))
        registration.put_media(gone.connection_id, SOUND)
        registration.retire(gone.connection_id, "gone")
    registration.close()
    # "alive" is the last that ended, so two are too many.
    assert [one.key for one in accepted] == ["hush-alive", *(f"hush-{n}" for n in range(2, MAX_DEPARTED + 1))]


def test_those_that_left_make_room_for_others() -> None:
    registration = publishers(Limits(queue_bytes=9))
    accepted = registration.accept()
    connect(registration, "first")
    next(accepted)
    gone = connect(registration, "gone")
    for _ in range(2):
        registration.put_media(gone.connection_id, SOUND)
    registration.retire(gone.connection_id, "gone")
    newcomer = connect(registration, "newcomer")
    assert registration.has_room(newcomer.connection_id)
    assert next(accepted).key == "hush-newcomer"


def test_those_that_wait_to_be_accepted_are_bounded_together() -> None:
    registration = publishers(Limits(queue_bytes=9))
    accepted = registration.accept()
    connect(registration, "first")
    first = next(accepted)
    one, two = connect(registration, "one"), connect(registration, "two")
    for who in (one, two):
        registration.put_media(who.connection_id, SOUND)
    room = [registration.has_room(who.connection_id) for who in (first.client, one, two)]
    assert room == [True, False, False]
    next(accepted)
    registration.put_media(one.connection_id, SOUND)
    room = [registration.has_room(who.connection_id) for who in (first.client, one, two)]
    assert room == [True, False, True]


def test_who_comes_while_too_many_wait_to_be_accepted_is_disconnected() -> None:
    registration = publishers(Limits(unaccepted=2))
    accepted = registration.accept()
    dropped: list[str] = []
    connect(registration, "first", dropped)
    next(accepted)
    for name in ("one", "two"):
        connect(registration, name, dropped)
    assert dropped == []
    third = connect(registration, "three", dropped)
    assert dropped == [CROWDED]
    registration.put_media(third.connection_id, SOUND)  # what it sent until then goes with it
    registration.retire(third.connection_id, CROWDED)
    assert [next(accepted).key for _ in range(2)] == ["hush-one", "hush-two"]
    connect(registration, "four", dropped)
    assert next(accepted).key == "hush-four"


def test_watchers_that_wait_to_be_accepted_are_bounded_too() -> None:
    registration = watchers(Limits(unaccepted=1))
    accepted = registration.accept()
    dropped: list[str] = []
    for name in ("one", "two"):
        who = client(name)
        registration.admit(who, dropped.append, None)
        registration.put(WatcherConnected(who))
    assert next(accepted).key == "hush-one"  # the first `next` sorts what waits
    assert dropped == [CROWDED]
