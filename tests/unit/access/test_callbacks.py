from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer

from rtmpsrv import log
from rtmpsrv.access import callback_sender, callbacks
from rtmpsrv.access.backoff import Backoff
from rtmpsrv.access.callback_sender import Sender
from rtmpsrv.access.callbacks import CallbackAuthority
from rtmpsrv.access.form_jwt import JwtForm
from rtmpsrv.access.gate import Gate, Grant, PublishRequest
from rtmpsrv.errors import AccessDenied
from rtmpsrv.server.turns import Turns
from tests.doubles.callback_server import Answer, CallbackServer, Received, accept
from tests.doubles.certificates import Certificates
from tests.doubles.secrets import JWT_SECRET, KEY

from .conftest import LogLines

PATIENCE_S = 15.0  # for what happens at once, on a busy machine
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "callback_backend.py"


class QuickBackoff(Backoff):
    def __init__(self) -> None:
        super().__init__(0.01, 0.02)


class SlowBackoff(Backoff):
    def __init__(self) -> None:
        super().__init__(30, 30)


def ignore(reason: str) -> None:
    pass


def request(channel: str = "news") -> PublishRequest:
    return PublishRequest(channel, KEY, "10.0.0.1")


def grant(channel: str = "news", stream_id: str = "abc") -> Grant:
    return Grant(channel, KEY, "10.0.0.1", stream_id)


@pytest.fixture
def server() -> Iterator[CallbackServer]:
    with CallbackServer(JWT_SECRET) as running:
        yield running


Make = Callable[..., CallbackAuthority]


@pytest.fixture
def make(server: CallbackServer) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def build(url: str = "", **options: object) -> CallbackAuthority:
            subject = str(options.pop("subject", ""))
            secret = str(options.pop("jwt_secret", JWT_SECRET))
            form = JwtForm(secret, subject, "rtmp.example", 1936)
            limits: dict[str, Any] = {
                name: options.pop(name)
                for name in ("timeout_s", "connect_timeout_s", "ca")
                if name in options
            }
            sender = Sender(url or server.url, form, log=log.get("CALLBACK"), give_way=Turns(), **limits)
            arguments: dict[str, Any] = {"log": log.get("CALLBACK"), "backoff": QuickBackoff} | options
            authority = CallbackAuthority(sender, **arguments)
            stack.callback(authority.close)
            return authority

        yield build


NO_ANSWER = "the callback did not answer (CALLBACK_URL)"
TOO_LATE = "the callback did not answer (CALLBACK_TIMEOUT_SECONDS)"


def refused(authority: CallbackAuthority) -> str:
    """Return why a publisher is refused, as it is logged; empty if it is not."""
    try:
        authority.authorise(request())
    except AccessDenied as exc:
        beginning, _, why = exc.for_log.partition(": ")
        assert beginning == "Invalid stream key provided"
        return why
    return ""


def test_s81_one_post_with_empty_body_and_all_claims(server: CallbackServer, make: Make) -> None:
    make().authorise(request())
    (start,) = server.received
    assert (start.method, start.path, start.body) == ("POST", "/callback", b"")
    assert start.headers["content-length"] == "0"
    issued = start.claims["iat"]
    assert abs(issued - time.time()) < 5
    assert start.claims == {
        "sub": "rtmp_event",
        "iat": issued,
        "exp": issued + 120,
        "event": "start",
        "channel": "news",
        "key": KEY,
        "client_ip": "10.0.0.1",
        "stream_id": None,
        "rtmp_port": 1936,
        "rtmp_host": "rtmp.example",
    }


def test_s82_custom_subject(server: CallbackServer, make: Make) -> None:
    make(subject="x").authorise(request())
    assert server.received[0].claims["sub"] == "x"


def test_s83_stop_carries_the_stream_id_and_key_of_the_start(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(headers={"Stream-Id": "abc"})
    gate = Gate(make())
    gate.release(gate.admit(request(), ignore))
    assert server.wait_for("stop")
    (stop,) = server.events("stop")
    assert (stop.method, stop.body) == ("POST", b"")
    assert stop.claims["stream_id"] == "abc"
    assert (stop.claims["channel"], stop.claims["key"]) == ("news", KEY)
    assert stop.claims["client_ip"] is None
    assert set(stop.claims) == set(server.received[0].claims)


@pytest.mark.parametrize("status", [201, 204, 206, 302, 307, 400, 401, 403, 404, 500, 503])
def test_s84_any_other_status_refuses(server: CallbackServer, make: Make, status: int) -> None:
    server.answer = lambda received: Answer(status, {"stream-id": "abc", "location": server.url})
    assert refused(make()) == f"refused by the callback (status {status}) (CALLBACK_URL)"
    assert len(server.received) == 1


def test_s84_no_server_refuses_at_once(server: CallbackServer, make: Make, log_lines: LogLines) -> None:
    server.stop()
    assert refused(make()) == NO_ANSWER
    assert log_lines.count("reason=ConnectionError: Connection refused") == 1


@pytest.mark.parametrize(
    ("headers", "stream_id"),
    [({}, ""), ({"stream-id": ""}, ""), ({"stream-id": "\xff\xfe"}, ""), ({"stream-id": " a b "}, "a b")],
)
def test_s85_without_a_readable_stream_id_it_is_empty(
    server: CallbackServer, make: Make, headers: dict[str, str], stream_id: str
) -> None:
    server.answer = lambda received: Answer(headers=headers)
    assert make().authorise(request()) == stream_id


def test_the_first_of_several_stream_ids_counts(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(headers={"stream-id": "first", "Stream-Id": "second"})
    assert make().authorise(request()) == "first"


def test_s86_a_callback_that_never_answers_delays_nobody_else(
    server: CallbackServer, make: Make, log_lines: LogLines
) -> None:
    server.answer = lambda received: Answer(hang=True) if received.claims["channel"] != "good" else Answer()
    authority = make(timeout_s=2.0)
    hanging = [gevent.spawn(refused, authority) for _ in range(50)]
    assert server.wait_for("start", 50)
    authority.authorise(request("good"))
    assert not any(one.ready() for one in hanging)
    gevent.joinall(hanging, timeout=PATIENCE_S)
    assert all(greenlet.value for greenlet in hanging)
    assert log_lines.count("reason=CallbackTimeout") == 50


def test_s86_the_deadline_is_a_total_one(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(endless_body=True)
    with gevent.Timeout(PATIENCE_S):
        assert make(timeout_s=60).authorise(request()) == ""  # the headers decide, the body is nobody's


@pytest.mark.parametrize("pause_s", [0.0, 0.02])
def test_the_deadline_holds_for_an_answer_that_never_begins(
    make: Make, log_lines: LogLines, pause_s: float
) -> None:
    def talk(connection: gevent.socket.socket, address: object) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                gevent.sleep(pause_s)

    peer = StreamServer(("127.0.0.1", 0), talk)
    peer.start()
    try:
        timeout_s = 0.3 if pause_s else PATIENCE_S  # 64 KiB are there at once, but on a busy machine
        authority = make(f"http://127.0.0.1:{peer.server_port}/", timeout_s=timeout_s)
        with gevent.Timeout(2 * PATIENCE_S):
            assert refused(authority) == (TOO_LATE if pause_s else NO_ANSWER)
        reason = "CallbackTimeout" if pause_s else "an answer of more than 65536 bytes"
        assert log_lines.count(reason) == 1
    finally:
        peer.stop()


def test_s87_stop_is_sent_once_for_a_kill_and_the_end_of_the_session(
    server: CallbackServer, make: Make
) -> None:
    authority = make()
    gate = Gate(authority)
    granted = gate.admit(request(), ignore)
    gate.kill("news", None, "killed by redis")
    gate.release(granted)
    gate.release(granted)
    assert authority.wait_idle(2)
    assert len(server.events("stop")) == 1


def test_an_empty_secret_signs(make: Make) -> None:
    with CallbackServer("") as server:
        assert make(server.url, jwt_secret="").authorise(request()) == "id-news"
        assert not server.refused


def test_a_connection_is_used_again(server: CallbackServer, make: Make) -> None:
    authority = make()
    for _ in range(5):
        authority.authorise(request())
    assert server.connections == 1


def test_a_connection_that_the_server_closed_meanwhile_is_no_refusal(
    server: CallbackServer, make: Make
) -> None:
    authority = make()
    authority.authorise(request())
    server.close_idle_connections()
    assert authority.authorise(request()) == "id-news"


def test_a_connection_closed_without_an_answer_is_tried_once_more_and_no_more(
    server: CallbackServer, make: Make
) -> None:
    server.answer = lambda received: Answer(drop=True)
    assert refused(make())
    assert len(server.received) == 2


def test_cookies_are_not_kept(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(headers={"set-cookie": "a=b"})
    authority = make()
    authority.authorise(request())
    authority.authorise(request())
    assert "cookie" not in server.received[1].headers


def test_https_with_a_private_authority(make: Make, certs: Certificates) -> None:
    with CallbackServer(JWT_SECRET, certs) as server:
        assert make(server.url, ca=certs.ca).authorise(request()) == "id-news"


def test_https_with_an_authority_of_the_system(
    make: Make, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with CallbackServer(JWT_SECRET, certs) as server:
        assert make(server.url).authorise(request()) == "id-news"


def test_the_list_of_requests_itself_is_not_asked(
    make: Make, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", certs.ca)
    with CallbackServer(JWT_SECRET, certs) as server:
        assert refused(make(server.url))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certs.ca)
        make(server.url).authorise(request())


def test_https_with_an_unknown_authority_refuses(
    make: Make, certs: Certificates, log_lines: LogLines
) -> None:
    with CallbackServer(JWT_SECRET, certs) as server:
        assert refused(make(server.url))
        assert not server.received
    assert log_lines.count("certificate verify failed") == 1


def test_no_answer_to_the_connect_refuses_at_the_connect_timeout(make: Make, log_lines: LogLines) -> None:
    # Nobody accepts here, and the backlog is full: connecting hangs.
    with gevent.socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(gevent.socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with gevent.Timeout(PATIENCE_S):
            assert refused(make(f"http://127.0.0.1:{listener.getsockname()[1]}/", connect_timeout_s=0.3))
    assert log_lines.count("ConnectTimeout") == 1


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "x"]
)
def test_an_unusable_url_refuses(make: Make, url: str) -> None:
    assert refused(make(url))


def test_user_password_and_query_of_the_url_reach_no_log(
    server: CallbackServer, make: Make, log_lines: LogLines
) -> None:
    server.stop()
    assert refused(make(f"http://bob:hidden@127.0.0.1:{server.port}/cb?token=hidden2"))
    assert log_lines.count(f"http://127.0.0.1:{server.port}/cb ") == 1
    assert log_lines.count("hidden") == 0


def test_200_publishers_that_ask_at_once_do_not_wait_for_each_other(
    server: CallbackServer, make: Make
) -> None:
    asked: list[Received] = []
    all_asked = Event()

    def when_all_have_asked(received: Received) -> Answer:
        asked.append(received)
        if len(asked) == 200:
            all_asked.set()
        return Answer(headers={"stream-id": "x"}) if all_asked.wait(PATIENCE_S) else Answer(503)

    server.answer = when_all_have_asked
    gate = Gate(make(timeout_s=2 * PATIENCE_S))
    asking = [gevent.spawn(gate.admit, request(f"c{number}"), ignore) for number in range(200)]
    gevent.joinall(asking, timeout=2 * PATIENCE_S, raise_error=True)
    assert len({one.value.serial for one in asking if one.value is not None}) == 200


def test_stop_is_sent_again_until_it_arrives(server: CallbackServer, make: Make, log_lines: LogLines) -> None:
    server.stop()
    authority = make()
    authority.ended(grant())
    while not log_lines.count("stop failed"):
        gevent.sleep(0.005)
    assert not authority.wait_idle(0)
    server.start()
    assert server.wait_for("stop")
    assert authority.wait_idle(2)
    assert len(server.received) == 1


@pytest.mark.parametrize(("status", "attempts"), [(200, 1), (204, 1), (302, 1), (404, 1), (429, 3), (503, 3)])
def test_stop_is_sent_again_only_where_that_may_help(
    server: CallbackServer, make: Make, status: int, attempts: int
) -> None:
    def answer(received: Received) -> Answer:
        return Answer(status if len(server.received) < 2 else 200)

    server.answer = answer
    authority = make()
    authority.ended(grant())
    assert authority.wait_idle(3)
    assert len(server.received) == attempts


def test_each_attempt_has_a_fresh_token(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(503 if len(server.received) < 1 else 200)
    authority = make(backoff=lambda: Backoff(1.1, 1.1, jitter=0))
    authority.ended(grant())
    assert server.wait_for("stop", 2)
    first, second = server.received
    assert second.claims["iat"] > first.claims["iat"]


def test_a_stop_given_up_is_logged_with_channel_and_stream_id(
    server: CallbackServer, make: Make, log_lines: LogLines
) -> None:
    server.answer = lambda received: Answer(500)
    authority = make(stop_give_up_s=0.1)
    authority.ended(grant("news", "abc"))
    assert authority.wait_idle(3)
    assert log_lines.count("ERROR stop given up channel=news stream_id=abc reason=status 500") == 1


def test_waiting_stops_are_bounded(server: CallbackServer, make: Make, log_lines: LogLines) -> None:
    server.answer = lambda received: Answer(hang=True)
    authority = make(stop_backlog=3)
    for number in range(4):
        authority.ended(grant(f"c{number}", f"s{number}"))
    assert log_lines.count("given up") == 1
    assert log_lines.count("stop given up channel=c3 stream_id=s3 reason=too many stops are waiting") == 1


def test_what_has_become_of_each_stop_is_told_but_for_those_the_end_cuts_short(
    server: CallbackServer, make: Make
) -> None:
    hung = {"hung"}
    server.answer = lambda received: Answer(hang=received.claims["channel"] in hung)
    authority, reported = make(stop_backlog=2), list[str]()
    authority.on_reported = lambda grant: reported.append(grant.channel)
    authority.ended(grant("fine"))
    assert authority.wait_idle(PATIENCE_S)
    for channel in ("hung", "hung", "too many"):
        authority.ended(grant(channel))
    assert reported == ["fine", "too many"]
    authority.close()
    authority.ended(grant("after the end"))
    assert reported == ["fine", "too many"]


def test_a_hung_stop_of_one_channel_does_not_hold_up_another(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(hang=received.claims["channel"] == "hung")
    authority = make()
    authority.ended(grant("hung"))
    assert server.wait_for("stop", channel="hung")
    authority.ended(grant("fine"))
    assert server.wait_for("stop", channel="fine", timeout_s=1)


def test_ended_never_blocks(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(hang=True)
    authority = make()
    hub_ran: list[int] = []
    gevent.spawn(hub_ran.append, 1)
    for number in range(1000):
        authority.ended(grant(f"c{number}"))
    assert hub_ran == []


def test_the_stop_of_a_channel_goes_before_its_next_start(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(delay_s=0.2) if received.event == "stop" else accept(received)
    authority = make()
    authority.ended(grant())
    authority.authorise(request())
    assert [one.event for one in server.received] == ["stop", "start"]
    assert server.received[1].at - server.received[0].at > 0.15


def test_a_start_wakes_a_stop_that_sits_out_its_back_off(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(503) if len(server.received) < 1 else accept(received)
    authority = make(backoff=SlowBackoff)
    authority.ended(grant())
    assert server.wait_for("stop")
    authority.authorise(request())
    assert [one.event for one in server.received] == ["stop", "stop", "start"]


def test_a_start_does_not_wait_for_ever_for_a_stop(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(hang=True) if received.event == "stop" else accept(received)
    authority = make(stop_first_s=0.1)
    authority.ended(grant())
    assert authority.authorise(request()) == "id-news"
    assert not authority.wait_idle(0)


def test_stops_of_one_channel_keep_their_order(server: CallbackServer, make: Make) -> None:
    authority = make()
    for number in range(20):
        authority.ended(grant("news", str(number)))
    assert authority.wait_idle(3)
    assert [one.claims["stream_id"] for one in server.received] == [str(number) for number in range(20)]


def test_s117_stops_of_20_publishers_are_delivered_at_shutdown(server: CallbackServer, make: Make) -> None:
    gate = Gate(make())
    for number in range(20):
        gate.admit(request(f"c{number}"), ignore)
    assert gate.close(5)
    assert len(server.events("stop")) == 20


def test_s117_shutdown_is_bounded_and_tells_what_it_gives_up(
    server: CallbackServer, make: Make, log_lines: LogLines
) -> None:
    gate = Gate(make())
    gate.admit(request(), ignore)
    gate.admit(request("two"), ignore)
    server.answer = lambda received: Answer(hang=True)
    with gevent.Timeout(PATIENCE_S):
        assert not gate.close(0.4)
    assert log_lines.count("reason=server is shutting down") == 2


def test_after_close_an_end_is_given_up_aloud(make: Make, log_lines: LogLines) -> None:
    authority = make()
    authority.close()
    authority.ended(grant())
    assert log_lines.count("stop given up channel=news stream_id=abc reason=closed") == 1


def test_an_own_timeout_around_the_call_is_not_taken_for_ours(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(hang=True)
    authority = make()
    timer = gevent.Timeout(0.1)
    with pytest.raises(gevent.Timeout) as caught, timer:
        authority.authorise(request())
    assert caught.value is timer


def test_defaults_are_those_of_the_documents() -> None:
    assert (callback_sender.CONNECT_TIMEOUT_S, callback_sender.TOTAL_TIMEOUT_S) == (5, 20)


def test_the_example_backend_accepts_refuses_and_hears_the_end(make: Make) -> None:
    environment = os.environ | {"JWT_SECRET": JWT_SECRET, "STREAM_KEYS": f"news={KEY}", "PORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLE)], env=environment, stdout=subprocess.PIPE, text=True
    ) as backend:
        try:
            assert backend.stdout
            port = re.search(r":(\d+)", backend.stdout.readline())
            assert port
            authority = make(f"http://127.0.0.1:{port[1]}/")
            stream_id = authority.authorise(request())
            assert isinstance(stream_id, str)
            assert stream_id
            assert "start news" in backend.stdout.readline()
            with pytest.raises(AccessDenied):
                authority.authorise(request("other"))
            with pytest.raises(AccessDenied):
                make(f"http://127.0.0.1:{port[1]}/", jwt_secret="forged").authorise(request())
            authority.ended(grant("news", stream_id))
            assert authority.wait_idle(3)
            assert backend.stdout.readline() == f"stop news {stream_id}\n"
        finally:
            backend.kill()


# --- stops that another process is to send ------------------------------------------------------------


def test_a_stop_on_its_way_is_kept_and_those_behind_it_are_given_up(
    server: CallbackServer, make: Make
) -> None:
    goes_on = Event()

    def answer(received: Received) -> Answer:
        goes_on.wait(PATIENCE_S)
        return accept(received)

    server.answer = answer
    authority = make()
    told: list[str] = []
    taken: list[str] = []
    authority.on_reported = lambda grant: told.append(grant.stream_id)
    authority.on_taken = lambda grant: taken.append(grant.stream_id)
    for number in range(3):
        authority.ended(grant("news", str(number)))
    assert authority._stops_waiting == 3
    while not authority._stop_lines["news"].sending:
        gevent.sleep(0.005)
    assert [one.stream_id for one in authority.take_unsent()] == ["1", "2"]
    assert authority.take_unsent() == []
    authority.ended(grant("news", "3"))
    goes_on.set()
    assert authority.wait_idle(PATIENCE_S)
    assert [one.claims["stream_id"] for one in server.received] == ["0", "3"]
    assert (told, taken) == (["0", "3"], ["1", "2"])


def test_a_stop_that_waits_to_be_tried_again_is_given_up_too(server: CallbackServer, make: Make) -> None:
    server.answer = lambda received: Answer(503) if len(server.received) < 1 else accept(received)
    authority = make(backoff=SlowBackoff)
    authority.ended(grant("news", "a"))
    assert server.wait_for("stop")
    while authority._stop_lines["news"].sending:
        gevent.sleep(0.005)
    assert [one.stream_id for one in authority.take_unsent()] == ["a"]
    assert authority.wait_idle(PATIENCE_S)
    authority.ended(grant("news", "b"))
    assert authority.wait_idle(PATIENCE_S)
    assert [one.claims["stream_id"] for one in server.received] == ["a", "b"]


def test_a_stop_that_waits_for_its_turn_among_many_is_given_up(
    server: CallbackServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "STOP_CONCURRENCY", 1)
    goes_on = Event()

    def answer(received: Received) -> Answer:
        goes_on.wait(PATIENCE_S)
        return accept(received)

    server.answer = answer
    authority = make()
    authority.ended(grant("first", "a"))
    authority.ended(grant("second", "b"))
    while not authority._stop_lines["first"].sending:
        gevent.sleep(0.005)
    assert [one.stream_id for one in authority.take_unsent()] == ["b"]
    goes_on.set()
    assert authority.wait_idle(PATIENCE_S)
    while authority._stop_lines:
        gevent.sleep(0.005)
    assert [one.claims["stream_id"] for one in server.received] == ["a"]
