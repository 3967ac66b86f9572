from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.errors import RemoteProtocolError, RequestRefused
from rtmpsrv.protocol import events
from rtmpsrv.protocol.client_inbox import KEPT_EVENTS, ClientInbox


def test_messages_come_out_in_order() -> None:
    inbox = ClientInbox(10)
    assert inbox.take_message() is None
    inbox.add_messages([(9, 1, 1, b"a", 6), (9, 2, 1, b"b", 6)])
    assert [inbox.take_message(), inbox.take_message(), inbox.take_message()] == [
        (9, 1, 1, b"a", 6),
        (9, 2, 1, b"b", 6),
        None,
    ]
    assert inbox.held_bytes == 0


def test_messages_that_nobody_reads_are_bounded() -> None:
    inbox = ClientInbox(10)
    inbox.add_messages([(9, 0, 1, bytes(10), 6)])
    with pytest.raises(RemoteProtocolError, match="11 bytes received and not read, limit 10"):
        inbox.add_messages([(9, 0, 1, b"x", 6)])


def test_answers_are_taken_by_kind_and_others_stay() -> None:
    inbox = ClientInbox(0)
    for event in (events.StreamCreated(1), events.PlayAccepted(), events.StreamCreated(2)):
        inbox.add_event(event)
    assert inbox.take_answer(events.PlayAccepted) == events.PlayAccepted()
    assert inbox.take_answer(events.PlayAccepted) is None
    assert [inbox.take_answer(events.StreamCreated) for _ in range(3)] == [
        events.StreamCreated(1),
        events.StreamCreated(2),
        None,
    ]


@pytest.mark.parametrize(
    "refusal",
    [events.ConnectRejected("c", "d"), events.PublishRefused("c", "d"), events.PlayRefused("c", "d")],
)
def test_refusal_is_raised_once(refusal: events.Event) -> None:
    inbox = ClientInbox(0)
    inbox.add_event(events.PlayAccepted())
    inbox.add_event(refusal)
    with pytest.raises(RequestRefused, match="c: d") as caught:
        inbox.take_answer(events.StreamCreated)
    assert (caught.value.code, caught.value.description) == ("c", "d")
    inbox.raise_refusal()


def call(name: str, transaction: float, *arguments: Any) -> events.Call:
    return events.Call(0, name, transaction, None, arguments)


def test_results_are_found_by_their_transaction() -> None:
    inbox = ClientInbox(0)
    for event in (call("onBWDone", 2.0), call("_result", 3.0, "three"), call("_result", 2.0)):
        inbox.add_event(event)
    assert inbox.take_result(2.0) == ()
    assert inbox.take_result(3.0) == ("three",)
    assert inbox.take_result(3.0) is None
    assert [one.name for one in inbox.calls] == ["onBWDone"]


@pytest.mark.parametrize(
    ("arguments", "code"), [(({"code": "c", "description": 1.0},), "c"), (("text",), ""), ((), "")]
)
def test_error_of_a_call_is_raised(arguments: tuple[Any, ...], code: str) -> None:
    inbox = ClientInbox(0)
    inbox.add_event(call("_error", 2.0, *arguments))
    with pytest.raises(RequestRefused) as caught:
        inbox.take_result(2.0)
    assert (caught.value.code, caught.value.description) == (code, "")


def test_what_nobody_asked_for_is_bounded() -> None:
    inbox = ClientInbox(0)
    for number in range(KEPT_EVENTS + 1):
        inbox.add_event(call("onBWDone", float(number)))
        inbox.add_event(events.Status(number, "status", "code", ""))
        inbox.add_event(events.StreamCreated(number))
    assert len(inbox.calls) == len(inbox.statuses) == len(inbox.answers) == KEPT_EVENTS
    assert inbox.calls[0].transaction_id == 1.0
