from __future__ import annotations

from rtmpsrv.access.facts import Answer, Decision, Event, Facts, RecordedFile
from rtmpsrv.access.form_jwt import JwtForm
from tests.doubles import tokens
from tests.doubles.secrets import JWT_SECRET, KEY

FACTS = Facts(id="4711", query="a=1", app_query="b=2")
TEN = 10


def claims(wide: bool, event: Event) -> dict[str, object]:
    message = JwtForm(JWT_SECRET, "", "h", 1935, wide=wide).message(event)
    assert message.body is None
    assert ("x-event-id" in message.headers) == wide
    found: dict[str, object] = tokens.verify(message.headers["rtmp-event"], JWT_SECRET)
    return found


def test_start_and_stop_alone_have_the_ten_claims_of_the_reference() -> None:
    assert len(claims(False, Event("start", "news", KEY, "192.0.2.1", None, FACTS))) == TEN
    stop = claims(False, Event("stop", "news", KEY, "192.0.2.1", "s1", FACTS))
    assert (len(stop), stop["client_ip"], stop["stream_id"]) == (TEN, None, "s1")


def test_with_more_events_the_query_and_the_connection_are_told() -> None:
    play = claims(True, Event("play", "news", KEY, "192.0.2.1", None, FACTS))
    assert (play["event"], play["query"], play["client_id"]) == ("play", "a=1&b=2", "4711")
    assert (len(play), play["client_ip"]) == (TEN + 2, "192.0.2.1")
    file = RecordedFile("/r", "a.flv", 7.9004, 10, "time")
    done = claims(True, Event("record_done", "news", KEY, "192.0.2.1", "s1", FACTS, file=file))
    assert [done[one] for one in ("file", "seconds", "bytes", "reason")] == ["a.flv", 7.9, 10, "time"]
    update = claims(True, Event("update", "news", KEY, "192.0.2.1", "s1", FACTS, True, 31))
    assert update["seconds"] == 31
    assert claims(True, Event("stop", "news", KEY, "192.0.2.1", "s1"))["query"] == ""


def test_the_body_counts_only_where_the_backend_says_so() -> None:
    form = JwtForm("", "", "", 1935)
    event = Event("start", "news", KEY, "192.0.2.1")
    body = b'{"reason": "full", "allow": false}'
    plain = Answer(200, {"content-type": "application/json", "stream-id": " s1 "}, body)
    assert not form.wants_body(plain)
    assert form.judge(event, plain) == Decision(True, stream_id="s1")
    said = Answer(200, {"rtmp-answer": "JSON", "stream-id": "\xe9"}, body)
    assert form.wants_body(said)
    assert form.judge(event, said) == Decision(False, "full")
    assert form.judge(event, Answer(201, {})) == Decision(False)
