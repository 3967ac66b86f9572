from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl

import pytest

from rtmpsrv.access.facts import Answer, Decision, Event, Facts, RecordedFile
from rtmpsrv.access.form_nginx import ELSEWHERE, NginxForm, renamed
from tests.doubles.secrets import KEY

FACTS = Facts(
    id="4711", number=7, app="live", app_query="server=1", name="alice & co", query="token=x%20y&b=2",
    tc_url="rtmp://h/live?server=1", page_url="http://p/", swf_url="s", flash_ver="FMLE/3.0 (compatible)",
    mode="live", asked_at=1_700_000_000.7,
)  # fmt: skip
SESSION = {
    "app": "live",
    "flashver": "FMLE/3.0 (compatible)",
    "swfurl": "s",
    "tcurl": "rtmp://h/live?server=1",
    "pageurl": "http://p/",
    "addr": "192.0.2.1",
}
ARGUMENTS = {"token": "x y", "b": "2"}
LIVE = {"start": "4294965296", "duration": "0", "reset": "0"}
TYPED = {"name": "alice & co", "type": "live"}
CASES = [
    ("connect", SESSION | {"epoch": "1700000000", "call": "connect", "server": "1"}),
    ("start", SESSION | {"clientid": "7", "call": "publish"} | TYPED | ARGUMENTS),
    ("stop", SESSION | {"clientid": "7", "call": "publish_done", "name": "alice & co"} | ARGUMENTS),
    ("play", SESSION | {"clientid": "7", "call": "play", "name": "alice & co"} | LIVE | ARGUMENTS),
    ("play_stop", SESSION | {"clientid": "7", "call": "play_done", "name": "alice & co"} | ARGUMENTS),
    ("record_done", SESSION | {"clientid": "7", "call": "record_done", "recorder": "", "name": "alice & co",
        "path": "/r/live/a.flv"} | ARGUMENTS),
]  # fmt: skip


def event(kind: str, facts: Facts = FACTS, publishes: bool = True) -> Event:
    file = RecordedFile("/r", "live/a.flv") if kind == "record_done" else None
    return Event(kind, "live/alice", KEY, "192.0.2.1", None, facts, publishes, 31, "e1", file)


def test_clients_cannot_say_where_a_recording_is() -> None:
    facts = replace(FACTS, query="path=/etc&x=1")
    for kind, paths in (("record_done", ["/r/live/a.flv"]), ("stop", ["/etc"])):
        body = NginxForm().message(event(kind, facts)).body
        assert body is not None
        assert parse_qs(body.decode())["path"] == paths


@pytest.mark.parametrize(("kind", "fields"), CASES)
def test_fields_and_their_order_are_those_of_nginx_rtmp(kind: str, fields: dict[str, str]) -> None:
    message = NginxForm().message(event(kind))
    assert message.body is not None
    assert parse_qsl(message.body.decode(), keep_blank_values=True) == list(fields.items())
    assert message.headers == {
        "content-type": "application/x-www-form-urlencoded",
        "x-event-id": "e1",
    }
    assert message.name == fields["call"]


@pytest.mark.parametrize(("publishes", "call"), [(True, "update_publish"), (False, "update_play")])
def test_an_update_says_for_how_long(publishes: bool, call: str) -> None:
    body = NginxForm().message(event("update", publishes=publishes)).body
    assert body is not None
    fields = parse_qs(body.decode())
    assert (fields["call"], fields["time"], fields["timestamp"]) == ([call], ["31"], ["31000"])


@pytest.mark.parametrize(
    "argument", ["addr=10.0.0.1", "name=bob", "%61ddr=10.0.0.1", "ADDR=1", "call", "+app=x"]
)
def test_a_clients_arguments_cannot_pass_for_ours(argument: str) -> None:
    body = NginxForm().message(event("start", Facts(name="a", query=f"{argument}&ok=1"))).body
    assert body is not None
    assert body.endswith(b"&type=&ok=1")


def test_whatever_a_client_sends_can_be_sent_on() -> None:
    odd = "\udcff\u00e9 =&?\r\n"
    body = NginxForm().message(event("start", Facts(name=odd, query=odd))).body
    assert body is not None
    assert body.count(b"&name=") == 1


@pytest.mark.parametrize(
    ("status", "location", "decision"),
    [
        (200, "", Decision(True)),
        (204, "ignored", Decision(True)),
        (302, "bob", Decision(True, channel="live/bob")),
        (301, "/bob/", Decision(True, channel="live/bob")),
        (307, "", Decision(True)),
        (302, "rtmp://elsewhere/app/x", Decision(False, ELSEWHERE)),
        (400, "bob", Decision(False)),
        (404, "", Decision(False)),
        (500, "", Decision(False)),
    ],
)
def test_answers_to_publish(status: int, location: str, decision: Decision) -> None:
    asked = event("start", Facts(app="live", name="alice"))
    assert NginxForm().judge(asked, Answer(status, {"location": location})) == decision


def test_connect_is_redirected_to_an_app_and_an_update_to_nowhere() -> None:
    answer = Answer(302, {"location": "other"})
    assert NginxForm().judge(event("connect"), answer) == Decision(True, channel="other")
    assert NginxForm().judge(event("update"), answer) == Decision(True)


def test_a_json_answer_may_give_the_reason() -> None:
    answer = Answer(403, {"content-type": "application/json"}, b'{"reason": "no plan"}')
    assert NginxForm().wants_body(answer)
    assert not NginxForm().wants_body(Answer(403, {}))
    assert NginxForm().judge(event("start"), answer) == Decision(False, "no plan")


@pytest.mark.parametrize(
    ("channel", "name", "expected"),
    [
        ("live/alice", "alice", "live/bob"),
        ("a/b/alice", "alice", "a/b/bob"),
        ("a/b/alice", "b/alice", "a/b/bob"),
        ("live", "secret", "bob"),
    ],
)
def test_a_new_name_takes_the_place_of_the_old_one(channel: str, name: str, expected: str) -> None:
    assert renamed(channel, Facts(name=name), "bob") == expected
