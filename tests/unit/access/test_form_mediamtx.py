from __future__ import annotations

import json

import pytest

from rtmpsrv.access.facts import Answer, Decision, Event, Facts
from rtmpsrv.access.form_mediamtx import MediaMtxForm
from tests.doubles.secrets import KEY

FACTS = Facts(
    id="4711", app="live", app_query="s=1", name="alice", query="user=u&pass=p", user="u", password="p",
    token="t", flash_ver="FMLE/3.0",
)  # fmt: skip


@pytest.mark.parametrize(("kind", "action"), [("start", "publish"), ("play", "read")])
def test_fields_are_those_of_mediamtx(kind: str, action: str) -> None:
    message = MediaMtxForm().message(Event(kind, "live/alice", KEY, "192.0.2.1", None, FACTS, id="e1"))
    assert message.body is not None
    assert json.loads(message.body) == {
        "ip": "192.0.2.1",
        "user": "u",
        "password": "p",
        "token": "t",
        "action": action,
        "path": "live/alice",
        "protocol": "rtmp",
        "id": "4711",
        "query": "user=u&pass=p",
        "userAgent": "FMLE/3.0",
    }
    assert message.headers == {"content-type": "application/json", "x-event-id": "e1"}
    assert message.name == action


@pytest.mark.parametrize(
    ("query", "token"), [("jwt=abc", "abc"), ("x=1", ""), ("&".join(["a=1"] * 33) + "&jwt=abc", ""), ("", "")]
)
def test_a_token_may_be_called_jwt(query: str, token: str) -> None:
    facts = Facts(app="live", name="/alice/", app_query=query)
    body = MediaMtxForm().message(Event("play", "live", KEY, "192.0.2.1", None, facts)).body
    assert body is not None
    said = json.loads(body)
    assert (said["token"], said["query"], said["path"]) == (token, query, "live/alice")


@pytest.mark.parametrize(
    ("status", "allowed"), [(200, True), (204, True), (299, True), (302, False), (401, False)]
)
def test_the_status_decides(status: int, allowed: bool) -> None:
    event = Event("start", "live", KEY, "192.0.2.1")
    answer = Answer(status, {})
    assert not MediaMtxForm().wants_body(answer)
    assert MediaMtxForm().judge(event, answer) == Decision(allowed)


def test_a_json_answer_may_say_more() -> None:
    answer = Answer(200, {"content-type": "application/json"}, b'{"lifetime": 1000, "channel": "x"}')
    decision = MediaMtxForm().judge(Event("start", "live", KEY, "192.0.2.1"), answer)
    assert decision == Decision(True, channel="x", lifetime_s=1.0)
