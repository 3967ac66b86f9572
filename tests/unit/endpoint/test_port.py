from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Any

import gevent
import pytest

from rtmpsrv.endpoint.port import Port, Table
from rtmpsrv.endpoint.registrations import PublisherRegistration
from rtmpsrv.endpoint.requests import (
    ANY,
    Allow,
    Exact,
    SecondPublisher,
)
from rtmpsrv.endpoint.types import (
    NewPublisherConnected,
    PublisherRefused,
    PublisherRequiringApproval,
    PublishingStopped,
    RegistrationClosed,
    Statistics,
)
from rtmpsrv.errors import AccessDenied
from tests.unit.endpoint.doubles import Peer, Sink, publishers, taken, watchers


def port(**request: Any) -> tuple[Port, PublisherRegistration]:
    made = Port(False, 0.0, lambda port, app, key: ())
    registration = publishers(**request)
    made.publishers.add(registration)
    return made, registration


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [(ANY, ANY, True), (ANY, Exact("a"), True), (Exact("a"), ANY, True), (Exact("a"), Exact("a"), True),
     (Exact("a"), Exact("b"), False)],
)  # fmt: skip
def test_keys_conflict_when_they_overlap(first: Any, second: Any, conflict: bool) -> None:
    table: Table[PublisherRegistration] = Table()
    table.add(publishers(rtmp_stream_key=first))
    assert table.conflicts("app", second) is conflict
    assert not table.conflicts("other", second)


def test_removal_is_by_identity() -> None:
    table: Table[PublisherRegistration] = Table()
    first, second = publishers(), publishers()
    table.add(first)
    table.remove(first)
    assert len(table) == 0
    table.add(second)
    table.remove(first)
    assert table.find("app", "key") is second
    table.remove(second)
    assert not table.has_app("app")
    assert table.find("app", "key") is None


def test_connect_wants_a_registered_app() -> None:
    made, _registration = port()
    made.connect(Peer(app="app"))
    for app in ("App", "app/instance", ""):
        with pytest.raises(AccessDenied):
            made.connect(Peer(app=app))


def test_a_publish_is_announced_with_key_and_arguments() -> None:
    made, registration = port()
    publication = made.publish(Peer(), "key?token=a&b", 1)
    (message,) = taken(registration)
    assert isinstance(message, NewPublisherConnected)
    assert (message.client.stream_key, message.client.arguments) == ("key", {"token": "a", "b": ""})
    with pytest.raises(AccessDenied, match="already publishing"):
        made.publish(Peer(2), "key", 1)
    publication.end("gone")
    assert not made.publications


@pytest.mark.parametrize("name", [None, "other"])
def test_a_name_that_is_missing_or_not_covered_is_refused(name: str | None) -> None:
    made, registration = port(rtmp_stream_key=Exact("key"))
    with pytest.raises(AccessDenied):
        made.publish(Peer(), name, 1)
    with pytest.raises(AccessDenied):
        made.play(Peer(), name, 1, Sink())  # type: ignore[arg-type]
    assert taken(registration) == []


def test_who_comes_where_nobody_takes_its_kind_is_told_that() -> None:
    made, _registration = port()
    with pytest.raises(AccessDenied) as caught:
        made.play(Peer(), "key", 1, Sink())  # type: ignore[arg-type]
    assert caught.value.code == "NetStream.Play.BadName"
    assert caught.value.description == "Invalid stream key provided: no watchers are taken here"
    made = Port(False, 0.0, lambda port, app, key: ())
    made.watchers.add(watchers(rtmp_stream_key=Exact("key")))
    with pytest.raises(AccessDenied, match="BadName: Invalid stream key provided: no publishers are taken"):
        made.publish(Peer(), "key", 1)
    with pytest.raises(AccessDenied, match=r"Invalid stream key provided$"):
        made.play(Peer(), "other", 1, Sink())  # type: ignore[arg-type]


@pytest.mark.parametrize("ip", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_mapped_addresses_are_ipv4(ip: str) -> None:
    made, _registration = port(ip_restriction=Allow((ip_network("10.0.0.0/8"),)))
    assert str(made.publish(Peer(ip=ip), "key", 1).publisher.address) == "10.1.2.3"


@pytest.mark.parametrize("ip", ["127.0.0.1", "fe80::1%eth0"])
def test_other_addresses_are_refused(ip: str) -> None:
    made, _registration = port(ip_restriction=Allow((ip_network("10.0.0.0/8"),)))
    with pytest.raises(AccessDenied, match="not permitted"):
        made.publish(Peer(ip=ip), "key", 1)


def test_no_answer_in_no_time_is_a_refusal_with_an_end() -> None:
    made, registration = port(requires_approval=True)
    with pytest.raises(AccessDenied, match="No answer in time"):
        made.publish(Peer(), "key", 1)
    assert [type(one) for one in taken(registration)] == [PublisherRequiringApproval, PublisherRefused]


def test_a_client_that_left_while_it_waited_is_refused() -> None:
    made, registration = port(requires_approval=True)
    peer = Peer()
    peer.left = True
    with pytest.raises(AccessDenied, match="left"):
        made.publish(peer, "key", 1)
    assert [type(one) for one in taken(registration)] == [PublisherRequiringApproval, PublisherRefused]


def test_an_answer_that_is_there_at_once_is_taken() -> None:
    made = Port(False, 5.0, lambda port, app, key: ())
    registration = publishers(requires_approval=True)
    made.publishers.add(registration)
    asking = gevent.spawn(made.publish, Peer(), "key", 1)
    question = registration.messages.get(timeout=5)
    assert isinstance(question, PublisherRequiringApproval)
    question.approve("context")
    asking.get(timeout=5)
    (connected,) = taken(registration)
    assert connected.context == "context"


def test_a_second_publisher_may_take_over_once_it_is_approved() -> None:
    made = Port(False, 5.0, lambda port, app, key: ())
    registration = publishers(second_publisher=SecondPublisher.REPLACE)
    made.publishers.add(registration)
    first = Peer(1)
    made.publish(first, "key", 1)
    registration.update(requires_approval=True)
    asking = [gevent.spawn(made.publish, Peer(number), "key", 1) for number in (2, 3)]
    gevent.sleep(0)
    assert first.dropped == []
    announced, *questions = taken(registration)
    questions[0].reject("no")
    questions[1].approve()
    with pytest.raises(AccessDenied, match="no"):
        asking[0].get(timeout=5)
    taken_over = asking[1].get(timeout=5)
    assert first.dropped == ["replaced by another publisher"]
    refused, stopped, connected = taken(registration)
    assert refused == PublisherRefused(questions[0].client)
    assert stopped == PublishingStopped(announced.client)
    assert connected.client == questions[1].client
    assert registration.publications == {"key": taken_over}
    assert registration.statistics == Statistics(accepted=2, refused=1)


def test_a_registration_that_ends_while_a_publisher_is_replaced_takes_no_other() -> None:
    made, registration = port(second_publisher=SecondPublisher.REPLACE)
    made.publish(Peer(1), "key", 1)
    for filler in range(60):  # more than the limit: the next message ends it
        registration.inbox.put(filler)
    registration.inbox.is_stalled(0.0)
    with pytest.raises(AccessDenied, match="stopped consuming"):
        made.publish(Peer(2), "key", 1)
    assert registration.publications == {}
    kinds = [type(one) for one in taken(registration) if not isinstance(one, int | type)]
    assert kinds == [NewPublisherConnected, PublishingStopped, RegistrationClosed]


@pytest.mark.parametrize("approved", [False, True])
def test_a_waiting_client_that_is_disconnected_is_refused_with_the_reason(approved: bool) -> None:
    made = Port(False, 5.0, lambda port, app, key: ())
    registration = publishers(requires_approval=True)
    made.publishers.add(registration)
    peer = Peer()
    asking = gevent.spawn(made.publish, peer, "key", 1)
    question = registration.messages.get(timeout=5)
    assert isinstance(question, PublisherRequiringApproval)
    if approved:
        question.approve()
    registration.disconnect(question.client.connection_id, "no cats")
    with pytest.raises(AccessDenied) as caught:
        asking.get(timeout=5)
    assert caught.value.description == "no cats"
    assert peer.dropped == []
    assert taken(registration) == [PublisherRefused(question.client)]


def test_a_play_opens_the_channel_of_its_registration() -> None:
    made = Port(False, 5.0, lambda port, app, key: ())
    registration = watchers()
    made.watchers.add(registration)
    playback = made.play(Peer(), "key?x=1", 1, Sink())  # type: ignore[arg-type]
    assert playback.watcher.arguments == {"x": "1"}
    assert playback.channel.live
    assert made.in_use


def test_a_question_that_is_forgotten_is_refused_long_before_the_limit() -> None:
    made = Port(False, 60.0, lambda port, app, key: ())
    registration = publishers(requires_approval=True)
    made.publishers.add(registration)
    asking = gevent.spawn(made.publish, Peer(), "key", 1)
    assert isinstance(registration.get(timeout=5), PublisherRequiringApproval)
    with pytest.raises(AccessDenied, match="No answer"):
        asking.get(timeout=5)
    assert isinstance(registration.get(timeout=5), PublisherRefused)


def test_an_approval_of_one_that_never_comes_gives_its_context_back() -> None:
    made = Port(False, 5.0, lambda port, app, key: ())
    registration = publishers(requires_approval=True)
    made.publishers.add(registration)
    asking = [gevent.spawn(made.publish, Peer(number), "key", 1) for number in (1, 2)]
    for name in ("first", "second"):
        question = registration.get(timeout=5)
        assert isinstance(question, PublisherRequiringApproval)
        question.approve(name)
    gevent.joinall(asking, timeout=5)
    ends = [one for one in taken(registration) if isinstance(one, PublisherRefused)]
    assert [(one.context, one.reason) for one in ends] == [("second", "Stream already publishing")]


def test_a_log_handler_that_fails_leaves_the_publisher_on_the_air() -> None:
    made, registration = port()
    peer = Peer()
    with failing_log(OSError("disk full")):
        publication = made.publish(peer, "key", 1)
    publication.end("gone")
    assert [type(one) for one in taken(registration)] == [NewPublisherConnected, PublishingStopped]


def test_a_session_that_is_ended_inside_a_log_handler_gives_its_key_back() -> None:
    made, registration = port()
    with failing_log(gevent.GreenletExit()), pytest.raises(gevent.GreenletExit):
        made.publish(Peer(), "key", 1)
    assert registration.publications == {}
    assert [type(one) for one in taken(registration)] == [NewPublisherConnected, PublishingStopped]


@contextmanager
def failing_log(error: BaseException) -> Iterator[None]:
    """Give the log a handler that raises once."""
    errors = [error]

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if errors:
                raise errors.pop()

    handler, logger = Failing(), logging.getLogger("rtmpsrv")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert not errors, "it was never reached"
