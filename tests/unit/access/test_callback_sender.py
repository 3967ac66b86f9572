"""What belongs to the sending alone; how answers of `start` and `stop` are taken is in test_callbacks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rtmpsrv import log
from rtmpsrv.access.callback_http import MAX_BODY_BYTES
from rtmpsrv.access.callback_sender import MAX_TOLD, CallbackTimeout, Form, Sender, without_secrets
from rtmpsrv.access.facts import Answer, Event, Facts, Message
from rtmpsrv.access.form_jwt import JwtForm
from rtmpsrv.access.form_nginx import NginxForm
from rtmpsrv.access.form_srs import SrsForm
from rtmpsrv.server.turns import Turns
from tests.doubles.callback_server import Answer as Reply
from tests.doubles.callback_server import CallbackServer
from tests.doubles.hook_backend import HookBackend, NginxBackend, Said, SrsBackend
from tests.doubles.secrets import JWT_SECRET, KEY

PATIENCE_S = 15.0
EVENT = Event("start", "live", KEY, "192.0.2.1", None, Facts(app="live", name="alice"), id="e1")


def sender(url: str, form: Form) -> Sender:
    return Sender(url, form, log=log.get("CALLBACK"), give_way=Turns(), timeout_s=PATIENCE_S)


@pytest.fixture
def backend() -> Iterator[HookBackend]:
    with SrsBackend() as running:
        yield running


def test_a_body_that_counts_is_read_whole(backend: HookBackend) -> None:
    reason = "x" * 20_000
    backend.says = lambda fields: backend.no(reason)
    answer, decision = sender(backend.url, SrsForm("one")).post(EVENT, PATIENCE_S)
    assert reason.encode() in answer.body
    assert decision.reason == "x" * 200


def test_a_body_that_counts_may_not_be_too_long(backend: HookBackend) -> None:
    backend.says = lambda fields: Said(200, b" " * (2 * MAX_BODY_BYTES))
    with pytest.raises(OSError, match="more than 65536 bytes"):
        sender(backend.url, SrsForm("one")).post(EVENT, PATIENCE_S)


def test_a_body_that_counts_and_never_ends_meets_the_deadline() -> None:
    with CallbackServer(JWT_SECRET) as server:
        server.answer = lambda received: Reply(headers={"rtmp-answer": "json"}, endless_body=True)
        with pytest.raises(CallbackTimeout):
            sender(server.url, JwtForm(JWT_SECRET, "", "", 1935)).post(EVENT, 0.3)


def test_an_address_for_each_event_is_possible() -> None:
    with NginxBackend() as backend:
        sender(f"{backend.url}/{{event}}.php?x=1", NginxForm()).post(EVENT, PATIENCE_S)
        assert backend.paths == ["/hooks/publish.php?x=1"]


def test_of_each_header_the_first_counts_and_redirects_are_not_followed() -> None:
    with NginxBackend() as backend:
        backend.says = lambda fields: Said(302, b"", {"Location": "bob"})
        answer, decision = sender(backend.url, NginxForm()).post(EVENT, PATIENCE_S)
        assert (answer.status, answer.headers["location"], decision.channel) == (302, "bob", "bob")
        assert len(backend.received) == 1
    assert Answer(200, {"x": KEY}).__repr__().count(KEY) == 0


def test_of_each_limit_that_limits_nothing_one_line_tells(caplog: pytest.LogCaptureFixture) -> None:
    given: dict[str, object] = {"max_viewers": 5, "max_bitrate": "8M", "max_players": 5}
    with NginxBackend() as backend:
        backend.says = lambda fields: Said(
            200, json.dumps({"limits": given}).encode(), {"content-type": "application/json"}
        )
        one = sender(backend.url, NginxForm())
        for _ in range(2):
            _, decision = one.post(EVENT, PATIENCE_S)
            assert (decision.max_bitrate, decision.max_players) == (0, 5)
        told = "a limit of the callback is not known or no number, and ignored: "
        lines = [record.getMessage().partition(told)[2] for record in caplog.records]
        assert [line for line in lines if line] == ["max_bitrate", "max_viewers"]
        for number in range(2 * MAX_TOLD):
            given.clear()
            given[f"unknown{number}"] = 1
            one.post(EVENT, PATIENCE_S)
        assert sum(told in record.getMessage() for record in caplog.records) == MAX_TOLD


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pass@host:80/path?token=x", "http://host:80/path"),
        ("http://[::1", "(not a URL)"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_each_request_is_told_with_its_result(backend: HookBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    spans: list[float] = []

    def note(kind: str, result: str, seconds: float) -> None:
        told.append((kind, result))
        spans.append(seconds)

    sending = sender(backend.url, SrsForm("one"))
    sending.on_post = note
    sending.post(EVENT, PATIENCE_S)
    backend.says = lambda fields: backend.no("why")
    sending.post(EVENT, PATIENCE_S)
    backend.says = lambda fields: Said(503, b"")
    sending.post(EVENT, PATIENCE_S)

    def hang(message: Message) -> Answer:
        raise CallbackTimeout("no answer")

    monkeypatch.setattr(sending, "_exchange", hang)
    with pytest.raises(CallbackTimeout):
        sending.post(EVENT, PATIENCE_S)
    sending.close()
    assert [result for _, result in told] == ["accepted", "refused", "failed", "failed"]
    assert {kind for kind, _ in told} == {"start"}
    assert min(spans) >= 0.0
