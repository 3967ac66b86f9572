from __future__ import annotations

import json
from typing import Any

import pytest

from rtmpsrv.access.facts import Answer, Decision, Event, Facts, RecordedFile
from rtmpsrv.access.form_srs import SrsForm
from tests.doubles.secrets import KEY

FACTS = Facts(
    id="4711abcd-e", app="live", app_query="s=1", name="alice", query="token=x", tc_url="t", page_url="p"
)
ALWAYS = {
    "server_id": "one",
    "service_id": "one",
    "client_id": "4711abcd-e",
    "ip": "192.0.2.1",
    "vhost": "__defaultVhost__",
    "app": "live",
    "tcUrl": "t",
}
STREAM = ALWAYS | {"stream": "alice", "param": "?token=x", "stream_url": "/live/alice"}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("connect", ALWAYS | {"action": "on_connect", "param": "?s=1", "pageUrl": "p"}),
    ("start", STREAM | {"action": "on_publish", "stream_id": "vid-4711abcd"}),
    ("play", STREAM | {"action": "on_play", "stream_id": "vid-4711abcd", "pageUrl": "p"}),
]


@pytest.mark.parametrize(("kind", "expected"), CASES)
def test_fields_are_those_of_srs(kind: str, expected: dict[str, Any]) -> None:
    message = SrsForm("one").message(Event(kind, "live", KEY, "192.0.2.1", None, FACTS, id="e1"))
    assert message.body is not None
    assert json.loads(message.body) == expected
    assert message.headers == {"content-type": "application/json", "x-event-id": "e1"}
    assert message.name == expected["action"]


@pytest.mark.parametrize(("kind", "action"), [("stop", "on_unpublish"), ("play_stop", "on_stop")])
def test_ends_carry_the_id_of_their_beginning(kind: str, action: str) -> None:
    facts = Facts(id="4711", app="live", app_query="s=1", name="alice")
    body = SrsForm("one").message(Event(kind, "live", KEY, "192.0.2.1", "s1", facts)).body
    assert body is not None
    said = json.loads(body)
    assert (said["action"], said["stream_id"], said["param"]) == (action, "s1", "?s=1")


def test_recording_is_told_with_its_folder() -> None:
    facts = Facts(id="4711", app="live", name="alice")
    file = RecordedFile("/r", "live/a.flv")
    body = SrsForm("one").message(Event("record_done", "live", KEY, "192.0.2.1", "s1", facts, file=file)).body
    assert body is not None
    said = json.loads(body)
    assert (said["action"], said["cwd"], said["file"]) == ("on_dvr", "/r", "./live/a.flv")


def test_what_was_not_sent_is_empty() -> None:
    body = SrsForm("one").message(Event("connect", "live", "", "192.0.2.1", None, Facts(app="live"))).body
    assert body is not None
    assert json.loads(body)["param"] == ""


@pytest.mark.parametrize(
    ("status", "body", "decision"),
    [
        (200, b"0", Decision(True)),
        (200, b" 0\n", Decision(True)),
        (200, b'{"code": 0}', Decision(True)),
        (200, b'{"code": 0, "data": null, "stream_id": "s1"}', Decision(True, stream_id="s1")),
        (200, b'{"code": 403, "msg": "no plan"}', Decision(False, "no plan")),
        (200, b'{"code": 403, "reason": "full", "msg": "m"}', Decision(False, "full")),
        (200, b'{"code": false}', Decision(False)),
        (200, b'{"code": "0"}', Decision(False)),
        (200, b"{}", Decision(False)),
        (200, b"1", Decision(False)),
        (200, b"", Decision(False)),
        (200, b"ok", Decision(False)),
        (201, b"0", Decision(False)),
        (500, b'{"code": 0}', Decision(False)),
    ],
)
def test_yes_is_200_with_code_0(status: int, body: bytes, decision: Decision) -> None:
    form = SrsForm("one")
    answer = Answer(status, {}, body)
    assert form.wants_body(answer)
    assert form.judge(Event("start", "live", KEY, "192.0.2.1"), answer) == decision
