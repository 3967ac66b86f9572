"""Approvals at the endpoint, with real connections. Numbers in names: docs/endpoint-compliance.md."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from rtmpsrv import (
    NewPublisherConnected,
    PublisherRefused,
    PublisherRegistration,
    PublisherRequiringApproval,
    PublishingStopped,
    RegistrationClosed,
    StreamKeyBecameActive,
    WatcherConnected,
    WatcherRefused,
    WatcherRequiringApproval,
)
from tests.client import Client
from tests.endpoint_stage import (
    APP,
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


def asking(on: EndpointStage, key: str = "key") -> Client:
    client = on.client().connect(APP)
    client.ask_publish(key, client.create_stream())
    return client


def asked(registration: PublisherRegistration) -> PublisherRequiringApproval:
    return expect(registration, PublisherRequiringApproval)


def test_e43_an_approved_publisher_is_announced_with_the_context(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    question = asked(registration)
    assert question.client.stream_key == "key"
    context = object()
    question.approve(context)
    connected = next_message(registration)
    assert isinstance(connected, NewPublisherConnected)
    assert connected.client == question.client
    assert connected.context is context
    client.expect_status("NetStream.Publish.Start")


def test_e44_a_rejected_publisher_is_disconnected(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    question = asked(registration)
    question.reject("not today")
    question.approve()  # too late: the first answer counts
    assert client.expect_status("NetStream.Publish.BadName")["description"] == "not today"
    client.expect_closed()
    assert next_message(registration) == PublisherRefused(question.client)


def test_e45_an_approved_watcher_makes_its_key_active(on: EndpointStage) -> None:
    registration = on.watchers(requires_approval=True)
    client = on.client().connect(APP)
    client.ask_play("key", client.create_stream())
    question = expect(registration, WatcherRequiringApproval)
    assert question.client.stream_key == "key"
    question.approve("lease")
    assert next_message(registration) == WatcherConnected(question.client, "lease")
    assert next_message(registration) == StreamKeyBecameActive("key")
    client.expect_status("NetStream.Play.Reset")


def test_e46_a_rejected_watcher_is_disconnected(on: EndpointStage) -> None:
    registration = on.watchers(requires_approval=True)
    client = on.client().connect(APP)
    client.ask_play("key", client.create_stream())
    question = expect(registration, WatcherRequiringApproval)
    question.reject()
    client.expect_status("NetStream.Play.BadName")
    client.expect_closed()
    assert next_message(registration) == WatcherRefused(question.client)


def test_k22_c06_no_answer_in_time_is_a_refusal() -> None:
    with endpoint_stage(approval_s=0.3) as on:
        registration = on.publishers(requires_approval=True)
        client = asking(on)
        question = asked(registration)
        status = client.expect_status("NetStream.Publish.BadName")
        assert status["description"] == "No answer in time"
        client.expect_closed()
        stopped = next_message(registration)
        assert stopped == PublisherRefused(question.client)
        assert stopped.reason == "No answer in time"
        question.approve()
        expect_nothing(registration)


def test_k23_of_two_approved_for_one_key_the_first_is_accepted(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    clients, questions = [], []
    for _ in range(2):
        clients.append(asking(on))
        questions.append(asked(registration))
    questions[0].approve(0)
    questions[1].approve(1)
    connected = expect(registration, NewPublisherConnected)
    assert connected.context == 0
    stopped = next_message(registration)
    assert stopped == PublisherRefused(questions[1].client)
    clients[0].expect_status("NetStream.Publish.Start")
    clients[1].expect_status("NetStream.Publish.BadName")


def test_k24_a_waiting_client_that_leaves_yields_one_end_and_nothing_more(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    question = asked(registration)
    client.close()
    assert next_message(registration, 1.0) == PublisherRefused(question.client)
    question.approve()
    expect_nothing(registration)
    on_next = asking(on)
    asked(registration).approve()
    on_next.expect_status("NetStream.Publish.Start")


def test_k24_approval_of_a_client_that_just_left_is_no_connection(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    question = asked(registration)
    client.close()
    question.approve()
    gevent.sleep(0.2)
    assert [type(one) for one in rest(registration)] == [PublisherRefused]


@pytest.mark.parametrize("successor", [False, True])
def test_k25_a_waiting_client_of_a_removed_registration_is_refused(
    on: EndpointStage, successor: bool
) -> None:
    on.watchers(app="other")
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    question = asked(registration)
    registration.close()
    if successor:
        heir = on.publishers()
    question.approve()
    client.expect_closed()
    assert [type(one) for one in registration.messages] == [PublisherRefused, RegistrationClosed]
    if successor:
        expect_nothing(heir)


@pytest.mark.parametrize("how", ["close", "disconnect"])
def test_c07_k25_a_waiting_client_that_is_turned_away_is_told_why(on: EndpointStage, how: str) -> None:
    on.watchers(app="other")  # keeps the port
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    question = asked(registration)
    if how == "close":
        registration.close("moved")
    else:
        registration.disconnect(question.client.connection_id, "moved")
    assert client.expect_status("NetStream.Publish.BadName")["description"] == "moved"
    client.expect_closed()
    stopped = next_message(registration)
    assert stopped == PublisherRefused(question.client)
    assert stopped.reason == "moved"


def test_c05_an_approval_holds_for_one_request(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    asked(registration).approve()
    client.expect_status("NetStream.Publish.Start")
    client.command("deleteStream", None, 1.0)
    expect(registration, PublishingStopped)
    client.ask_publish("other", client.create_stream())
    second = asked(registration)
    assert second.client.stream_key == "other"
    second.reject()
    assert next_message(registration) == PublisherRefused(second.client)


def test_an_approval_that_fails_is_a_refusal(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    asked(registration).response.set_exception(RuntimeError("lookup failed"))
    client.expect_status("NetStream.Publish.BadName")


def test_closing_the_endpoint_ends_clients_that_wait(on: EndpointStage) -> None:
    registration = on.publishers(requires_approval=True)
    client = asking(on)
    asked(registration)
    on.endpoint.close()
    client.expect_closed()
    eventually(lambda: registration.closed is not None)
