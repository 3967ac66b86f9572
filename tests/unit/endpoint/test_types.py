from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from rtmpsrv.endpoint.requests import (
    Exact,
)
from rtmpsrv.endpoint.types import (
    Approve,
    Client,
    ConnectionId,
    PublisherRefused,
    PublisherRequiringApproval,
    PublishingStopped,
    Reject,
    StreamKeyBecameActive,
)

LOCAL = ip_address("127.0.0.1")
CLIENT = Client(ConnectionId("c"), LOCAL, "app", "hush", {"token": "hush"}, properties={"tcUrl": "hush"})


def test_the_first_answer_counts() -> None:
    question = PublisherRequiringApproval(CLIENT)
    question.approve("context")
    question.reject()
    assert question.response.get() == Approve("context")
    other = PublisherRequiringApproval(CLIENT)
    other.reject("no")
    other.approve()
    assert other.response.get() == Reject("no")


def test_a_reason_is_text() -> None:
    question = PublisherRequiringApproval(CLIENT)
    number: Any = 3
    with pytest.raises(TypeError, match="a reason is text, this one is int"):
        question.reject(number)
    assert not question.response.ready()


def test_keys_and_arguments_stay_out_of_every_repr() -> None:
    values = (CLIENT, Exact("hush"), PublisherRequiringApproval(CLIENT), StreamKeyBecameActive("hush"))
    assert "hush" not in repr(values)


def test_ends_are_equal_whatever_their_reason() -> None:
    assert PublishingStopped(CLIENT, "a") == PublishingStopped(CLIENT, "b")
    ends: list[object] = [PublishingStopped(CLIENT, "a"), PublisherRefused(CLIENT)]
    assert ends[0] != ends[1]
