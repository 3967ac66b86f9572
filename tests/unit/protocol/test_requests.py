from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.protocol import events
from rtmpsrv.protocol.commands import Command
from rtmpsrv.protocol.requests import MAX_NAME, Requests, decode


def call(name: str, *arguments: Any, properties: Any = None) -> Command:
    return Command(name, 5.0, properties, list(arguments))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (call("connect", properties={"app": "a"}), events.ConnectAsked(5.0, "a", {"app": "a"})),
        (call("connect"), events.ConnectAsked(5.0, None, {})),
        (
            call("connect", properties={"app": "a", "fourCcList": ["avc1", "hvc1"], "info": {"*": 4.0}}),
            events.ConnectAsked(5.0, "a", {"app": "a", "fourCcList": ["avc1", "hvc1"], "info": {"*": 4.0}}),
        ),
        # What would be kept as long as the client stays, and takes many times its bytes.
        (
            call("connect", properties={"app": "a", "deep": [[]], "deep2": {"a": {}}, "long": [0.0] * 65}),
            events.ConnectAsked(5.0, "a", {"app": "a"}),
        ),
        (
            call("connect", properties={f"p{number}": 1.0 for number in range(65)}),
            events.ConnectAsked(5.0, None, {f"p{number}": 1.0 for number in range(64)}),
        ),
        (call("publish", "key", "append"), events.PublishAsked(7, "key", "append")),
        (call("publish"), events.PublishAsked(7, None, "")),
        (call("play", "key", -2.0), events.PlayAsked(7, "key")),
        (call("play"), events.PlayAsked(7, None)),
        (call("pause", True, 0.0), events.PauseAsked(True)),
        (call("pauseRaw"), None),
        (call("receiveAudio", False), events.ReceiveAsked(True, False)),
        (call("receiveVideo", True), events.ReceiveAsked(False, True)),
        (call("receiveVideo"), None),
        (call("createStream"), None),
    ],
)
def test_request_is_decoded(command: Command, expected: events.Event | None) -> None:
    assert decode(command, 7) == expected


@pytest.mark.parametrize(
    ("name", "before"), [("publish", ()), ("publish", ("key",)), ("play", ())], ids=["key", "mode", "play"]
)
def test_what_is_kept_of_a_name_is_bounded(name: str, before: tuple[str, ...]) -> None:
    assert decode(call(name, *before, "k" * MAX_NAME), 7) is not None
    with pytest.raises(RemoteProtocolError, match=f"{MAX_NAME + 1} characters"):
        decode(call(name, *before, "k" * (MAX_NAME + 1)), 7)


def test_requests_are_remembered() -> None:
    requests = Requests()
    requests.note(events.ConnectAsked(2.0, "app", {"objectEncoding": 3.0}))
    requests.note(events.PublishAsked(1, "p"))
    requests.note(events.PlayAsked(2, "q"))
    requests.note(events.PauseAsked(True))
    assert requests == Requests("app", 3.0, False, 2.0, 1, 2, "p", "q")
    requests.note(events.ConnectAsked(2.0, "app", {"objectEncoding": "3"}))
    assert requests.object_encoding == 0.0


@pytest.mark.parametrize(
    ("command", "msid", "expected"),
    [
        (call("closeStream"), 1, True),
        (call("closeStream"), 2, False),
        (call("deleteStream", 1.0), 0, True),
        (call("deleteStream", 2.0), 1, False),
        (call("deleteStream", float("nan")), 1, False),
        (call("deleteStream", True), 1, False),
        (call("deleteStream", "key"), 0, True),
        (call("deleteStream", "other"), 1, False),
        (call("deleteStream"), 1, False),
        (call("closeStream", "key"), 2, False),
    ],
)
def test_stream_is_ended_by_number_or_name(command: Command, msid: int, expected: bool) -> None:
    assert Requests(publish_msid=1, publish_name="key").ends_publish(command, msid) == expected
    assert Requests(play_msid=1, play_name="key").ends_play(command, msid) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["key"], True), (["key?b"], True), (["ke"], False), ([], False), ([1.0], False)],
)
def test_fcunpublish_ends_what_is_published_under_its_name(arguments: list[Any], expected: bool) -> None:
    command = call("FCUnpublish", *arguments)
    assert Requests(publish_msid=1, publish_name="key?a").ends_publish(command, 0) == expected
    assert not Requests(publish_msid=1).ends_publish(call("FCUnpublish", "key"), 0)
    assert not Requests(play_msid=1, play_name="key").ends_play(command, 1)
