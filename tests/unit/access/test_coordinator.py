from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer

from rtmpsrv import log
from rtmpsrv.access import coordinator as module
from rtmpsrv.access.backoff import Backoff
from rtmpsrv.access.coordinator import Coordinator, resolve_url
from rtmpsrv.access.gate import Gate, Grant, PublishRequest
from rtmpsrv.errors import AccessDenied, ConfigError
from rtmpsrv.server.turns import Turns
from tests.doubles.certificates import Certificates
from tests.doubles.control_server import ControlServer
from tests.doubles.secrets import CONTROL_SECRET, KEY
from tests.doubles.tokens import verify

from .conftest import LogLines

REFUSED = "Invalid stream key provided: refused by the control server (CONTROL_BASE_URL)"
KILLED = "Invalid stream key provided: the stream was ended meanwhile"
NO_LINK = "Invalid stream key provided: the control server is not connected (CONTROL_BASE_URL)"
NO_ANSWER = "Invalid stream key provided: the control server did not answer (CONTROL_REQUEST_TIMEOUT_SECONDS)"


class Near:
    """The RTMP server's side: a gate, wired to a coordinator as app.py does."""

    def __init__(self, url: str, **options: object) -> None:
        arguments: dict[str, object] = {"secret": CONTROL_SECRET, "backoff": Backoff(0.01, 0.05)} | options
        self.coordinator = Coordinator(
            url,
            log=log.get("CONTROL/CLIENT"),
            validation_log=log.get("CONTROL/KEY_VALIDATION"),
            give_way=Turns(),
            **arguments,  # type: ignore[arg-type]
        )
        self.gate = Gate(self.coordinator)
        self.coordinator.on_link_lost = lambda: self.gate.kill_all("control link lost", notify=False)
        self.coordinator.on_stream_kill = lambda channel, stream_id: self.gate.kill(
            channel, stream_id, "killed by the control server"
        )
        self.kills: list[tuple[str, str]] = []
        self.coordinator.start()

    def connected(self) -> Near:
        assert self.coordinator.wait_connected(10)
        return self

    def publish(self, channel: str = "news") -> Grant | str:
        """Return the grant, or the words of the refusal. A killed publication is released."""
        grants: list[Grant] = []

        def on_kill(reason: str) -> None:
            self.kills.append((channel, reason))
            self.gate.release(grants[0])

        try:
            grants.append(self.gate.admit(PublishRequest(channel, KEY, "10.0.0.1"), on_kill))
        except AccessDenied as exc:
            return exc.for_log
        return grants[0]

    def live(self, channel: str = "news") -> Grant:
        grant = self.publish(channel)
        assert isinstance(grant, Grant)
        return grant


Make = Callable[..., Near]


@pytest.fixture
def make() -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def build(url: str, **options: object) -> Near:
            near = Near(url, **options)
            stack.callback(near.coordinator.close)
            return near

        yield build


@pytest.fixture
def server() -> Iterator[ControlServer]:
    with ControlServer(CONTROL_SECRET) as running:
        yield running


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("ws://h:8080", "ws://h:8080/ws/control/rtmp"),
        ("ws://h:8080/", "ws://h:8080/ws/control/rtmp"),
        ("ws://h/base/", "ws://h/base/ws/control/rtmp"),
        ("ws://h/base", "ws://h/ws/control/rtmp"),
        ("wss://h/?a=b", "wss://h/ws/control/rtmp"),
        ("ws://[::1]:80/a/b/c?d#e", "ws://[::1]:80/a/b/ws/control/rtmp"),
    ],
)
def test_s94_url_resolution(base: str, url: str) -> None:
    assert resolve_url(base) == url


@pytest.mark.parametrize("base", ["http://h/", "h:8080", "/ws", "x"])
def test_other_schemes_are_a_configuration_error(base: str) -> None:
    with pytest.raises(ConfigError):
        resolve_url(base)


def test_s94_path_and_token(server: ControlServer, make: Make, log_lines: LogLines) -> None:
    make(f"{server.url}/?query").connected()
    assert server.attempts[0][1:] == ("/ws/control/rtmp", 101)
    claims = verify(server.links[0].headers["x-control-auth-token"], CONTROL_SECRET)
    assert claims == {"sub": "rtmp-control", "iat": claims["iat"], "exp": claims["iat"] + 3600}
    line = f"[CONTROL/CLIENT] INFO Connected: {server.url}/ws/control/rtmp"
    assert log_lines.lines.count(line) == 1


def test_s94_a_token_is_sent_when_the_secret_is_empty(make: Make) -> None:
    with ControlServer("") as server:
        make(server.url, secret="").connected()
        assert verify(server.links[0].headers["x-control-auth-token"], "")["sub"] == "rtmp-control"


def test_s95_external_headers(server: ControlServer, make: Make) -> None:
    make(server.url, external_ip="203.0.113.9", external_port="1936", external_ssl=True).connected()
    headers = server.links[0].headers
    assert headers["x-external-ip"] == "203.0.113.9"
    assert headers["x-custom-port"] == "1936"
    assert headers["x-ssl-use"] == "true"
    assert server.links[0].external == ("203.0.113.9", 1936, True)


def test_s95_unset_external_headers_are_absent(server: ControlServer, make: Make) -> None:
    make(server.url).connected()
    assert not {"x-external-ip", "x-custom-port", "x-ssl-use"} & set(server.links[0].headers)
    assert server.links[0].external == ("127.0.0.1", 1935, False)


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "é", "a\0"])
def test_s95_a_value_that_is_no_header_is_a_configuration_error(value: str) -> None:
    logger = log.get()
    with pytest.raises(ConfigError):
        Coordinator(
            "ws://h", secret="", log=logger, validation_log=logger, give_way=Turns(), external_ip=value
        )


def test_s96_heartbeats_come_at_their_interval(server: ControlServer, make: Make) -> None:
    began = time.monotonic()
    make(server.url, heartbeat_s=0.2).connected()
    for number, heartbeat in enumerate(server.wait_for("HEARTBEAT", 3), 1):
        assert heartbeat.at - began > 0.2 * number - 0.05


def test_s96_heartbeats_come_although_much_is_written(server: ControlServer, make: Make) -> None:
    near = make(server.url, heartbeat_s=0.1).connected()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        near.coordinator.ended(Grant("news", KEY, "::1", "abc"))
        gevent.sleep(0.001)
    assert len(server.wait_for("HEARTBEAT", 3)) >= 3


def test_s96_the_interval_of_the_documents_is_20_s_and_silence_60_s() -> None:
    assert (module.HEARTBEAT_S, module.SILENCE_S, module.REQUEST_TIMEOUT_S) == (20, 60, 20)


def test_s97_a_request_carries_four_parameters(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    near.publish("one")
    near.publish("two")
    first, second = server.wait_for("PUBLISH-REQUEST", 2)
    assert first.parameters == {
        "Request-ID": "1",
        "Stream-Channel": "one",
        "Stream-Key": KEY,
        "User-IP": "10.0.0.1",
    }
    assert first.text.startswith("PUBLISH-REQUEST\nRequest-ID: 1\n")
    assert second["Request-ID"] == "2"


def test_s98_accept_and_deny(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    assert near.live("news").stream_id == server.links[0].channels["news"]
    assert near.publish("deny") == REFUSED
    assert near.publish("news") == REFUSED  # open already


def test_s98_an_accept_without_stream_id_is_an_empty_one(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    server.answer = lambda link, request: server.send_text(link, "PUBLISH-ACCEPT\nRequest-ID: 1")
    assert near.live().stream_id == ""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", [True, False])
def test_s99_both_spellings_of_answers_work(
    server: ControlServer, make: Make, blank: bool, newline: str
) -> None:
    server.blank, server.newline = blank, newline
    near = make(server.url).connected()
    stream_id = near.live("news").stream_id
    assert near.publish("deny") == REFUSED
    server.kill("news", stream_id)
    assert server.wait_for("PUBLISH-END", where={"Stream-Channel": "news", "Stream-ID": stream_id})


def test_s100_publish_end_goes_out_once(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    grant = near.live()
    near.gate.release(grant)
    near.gate.release(grant)
    near.live("last")  # what was queued before it has arrived when this is answered
    (end,) = server.messages("PUBLISH-END")
    assert end.parameters == {"Stream-Channel": "news", "Stream-ID": grant.stream_id}


def test_publish_end_goes_before_the_next_request_of_the_channel(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    for _ in range(20):
        near.gate.release(near.live())
    kinds = [one.kind for one in server.links[0].received]
    assert kinds[:39] == ["PUBLISH-REQUEST", "PUBLISH-END"] * 19 + ["PUBLISH-REQUEST"]


@pytest.mark.parametrize("stream_id", ["right", "*", "", None])
def test_s101_stream_kill(server: ControlServer, make: Make, stream_id: str | None) -> None:
    near = make(server.url).connected()
    grant = near.live()
    near.live("other")
    server.kill("news", grant.stream_id if stream_id == "right" else stream_id)
    ends = server.wait_for("PUBLISH-END")
    assert [end["Stream-ID"] for end in ends] == [grant.stream_id]
    assert near.kills == [("news", "killed by the control server")]


@pytest.mark.parametrize("stream_id", ["wrong", KEY, "**"])
def test_s101_stream_kill_with_another_id_does_nothing(
    server: ControlServer, make: Make, stream_id: str
) -> None:
    near = make(server.url).connected()
    near.live()
    server.kill("news", stream_id)
    server.kill("nobody")
    near.live("later")  # answered after the kills were read
    assert near.kills == []
    assert not server.messages("PUBLISH-END")


def test_s101_a_kill_right_behind_the_accept_is_not_lost(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    stream_ids: list[str] = []

    def accept_and_kill(link: object, request: object) -> None:
        stream_ids.append(server.accept(link, request, "abc"))  # type: ignore[arg-type]
        server.kill("news", "abc")

    server.answer = accept_and_kill
    outcome = near.publish()
    if isinstance(outcome, str):  # both were read before the publisher's greenlet ran
        assert outcome == KILLED
    assert server.wait_for("PUBLISH-END", where={"Stream-ID": "abc"})


@pytest.mark.parametrize("how", ["drop", "stop", "close"])
def test_s102_a_lost_link_ends_publishers_and_refuses_requests_and_reports_nothing(
    server: ControlServer, make: Make, how: str
) -> None:
    near = make(server.url).connected()
    grants = [near.live(f"c{number}") for number in range(3)]
    pending = gevent.spawn(near.publish, "mute")
    assert server.wait_for("PUBLISH-REQUEST", 4)
    first = server.links[0]
    {"drop": server.drop, "stop": server.stop, "close": first.connection.close}[how]()
    assert pending.get(timeout=4) == NO_LINK
    assert how != "stop" or not near.coordinator.connected
    assert sorted(near.kills) == [(f"c{number}", "control link lost") for number in range(3)]
    if how == "stop":
        server.start()
    server.wait_for_link(2)
    near.connected()
    for grant in grants:
        near.gate.release(grant)
    near.live("c0")  # the channel is free again, and the encoder's retry is accepted
    assert not server.messages("PUBLISH-END")


def test_s103_s104_refused_at_once_while_unreachable_and_accepted_afterwards(
    server: ControlServer, make: Make
) -> None:
    server.stop()
    near = make(server.url)
    for _ in range(3):
        with gevent.Timeout(4):
            assert near.publish() == NO_LINK
    server.start()
    near.connected()
    near.live()


def test_who_asks_while_the_process_starts_waits_for_the_first_attempt(
    server: ControlServer, make: Make
) -> None:
    near = make(server.url)
    assert not near.coordinator.wait_connected(0)
    assert isinstance(near.publish(), Grant)


def test_who_asks_while_the_first_attempt_fails_is_refused_with_it(make: Make, log_lines: LogLines) -> None:
    stopped = ControlServer(CONTROL_SECRET)
    stopped.start()
    stopped.stop()
    near = make(stopped.url)
    assert near.publish() == NO_LINK
    assert log_lines.count("Cannot connect") == 1


def test_a_first_attempt_that_hangs_is_not_waited_for_longer_than_for_an_answer(make: Make) -> None:
    with contextlib.closing(gevent.socket.create_server(("127.0.0.1", 0))) as mute:
        near = make(f"ws://127.0.0.1:{mute.getsockname()[1]}", request_timeout_s=0.1)
        assert near.publish() == NO_LINK


def test_headers_without_end_do_not_hold_up_others_and_end_at_the_deadline(
    make: Make, log_lines: LogLines
) -> None:
    def talk(connection: gevent.socket.socket, address: object) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
            while True:
                connection.sendall(b"x: y\r\n" * 1000)

    peer = StreamServer(("127.0.0.1", 0), talk)
    peer.start()
    try:
        near = make(f"ws://127.0.0.1:{peer.server_port}", connect_timeout_s=0.2)
        with gevent.Timeout(4):
            assert near.publish() == NO_LINK
        assert log_lines.count("Cannot connect: ") == 1
        assert log_lines.count("not connected within 0.2 s") == 1
    finally:
        peer.stop()


def test_s105_no_answer_refuses_and_a_late_accept_is_taken_back(server: ControlServer, make: Make) -> None:
    near = make(server.url, request_timeout_s=0.1).connected()
    assert near.publish("mute") == NO_ANSWER
    (request,) = server.wait_for("PUBLISH-REQUEST")
    stream_id = server.accept(server.links[0], request)
    (end,) = server.wait_for("PUBLISH-END")
    assert end.parameters == {"Stream-Channel": "mute", "Stream-ID": stream_id}
    assert not server.links[0].channels
    server.accept(server.links[0], request)  # a second one is nobody's
    server.deny(server.links[0], request)
    near.live()
    assert len(server.messages("PUBLISH-END")) == 1


def test_s105_an_accept_for_a_session_that_died_while_asking_is_taken_back(
    server: ControlServer, make: Make
) -> None:
    near = make(server.url).connected()
    pending = gevent.spawn(near.publish, "mute")
    (request,) = server.wait_for("PUBLISH-REQUEST")
    pending.kill()
    stream_id = server.accept(server.links[0], request)
    assert server.wait_for("PUBLISH-END", where={"Stream-ID": stream_id})


def test_s106_wss_with_a_private_authority(make: Make, certs: Certificates) -> None:
    with ControlServer(CONTROL_SECRET, certs) as server:
        near = make(server.url, ca=certs.ca).connected()
        near.gate.release(near.live())
        assert server.wait_for("PUBLISH-END")


def test_s106_wss_with_an_authority_of_the_system(
    make: Make, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)
    with ControlServer(CONTROL_SECRET, certs) as server:
        make(server.url).connected()


def test_s106_wss_with_an_unknown_authority_is_refused(
    make: Make, certs: Certificates, log_lines: LogLines
) -> None:
    with ControlServer(CONTROL_SECRET, certs) as server:
        near = make(server.url)
        with gevent.Timeout(4):
            while not log_lines.count("certificate verify failed"):
                gevent.sleep(0.01)
        assert near.publish() == NO_LINK
        assert not server.links


def test_s107_attempts_follow_each_other_after_one_to_ten_seconds(server: ControlServer, make: Make) -> None:
    server.refuse_status = 503
    make(server.url, backoff=Backoff())
    with gevent.Timeout(4):
        while len(server.attempts) < 2:
            gevent.sleep(0.01)
    assert 0.7 < server.attempts[1][0] - server.attempts[0][0] < 1.5


def test_s107_a_wrong_secret_is_refused_and_tried_again(
    server: ControlServer, make: Make, log_lines: LogLines
) -> None:
    make(server.url, secret="another secret")
    with gevent.Timeout(4):
        while len(server.attempts) < 3:
            gevent.sleep(0.01)
    assert {status for _, _, status in server.attempts} == {403}
    assert log_lines.count("Cannot connect: WebSocketBadStatusException: status 403") >= 2


def test_redirects_are_not_followed(server: ControlServer, make: Make, log_lines: LogLines) -> None:
    server.refuse_status = 302
    make(server.url)
    with gevent.Timeout(4):
        while len(server.attempts) < 2:
            gevent.sleep(0.01)
    assert not server.links


def test_a_server_that_accepts_and_closes_at_once_makes_no_tight_loop(
    server: ControlServer, make: Make
) -> None:
    server.close_at_once = True
    make(server.url, backoff=Backoff(0.2, 0.4, jitter=0))
    gevent.sleep(1.0)
    assert 2 <= len(server.attempts) <= 4


def test_a_server_that_accepts_tcp_and_says_nothing_is_left(make: Make, log_lines: LogLines) -> None:
    with gevent.socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        near = make(f"ws://127.0.0.1:{listener.getsockname()[1]}", connect_timeout_s=0.1)
        with gevent.Timeout(4):
            while log_lines.count("Cannot connect") < 2:
                gevent.sleep(0.01)
        assert near.publish() == NO_LINK


def test_silence_ends_the_link_and_another_follows(
    server: ControlServer, make: Make, log_lines: LogLines
) -> None:
    near = make(server.url, silence_s=0.3).connected()
    near.live()
    server.wait_for_link(2)
    assert near.kills == [("news", "control link lost")]
    assert log_lines.count("Disconnected: silent for 0.3 s") >= 1


def test_heartbeats_of_the_server_keep_the_link(make: Make) -> None:
    with ControlServer(CONTROL_SECRET, heartbeat_s=0.1) as server:
        make(server.url, silence_s=0.4).connected()
        gevent.sleep(1.0)  # about what must not happen meanwhile
        assert len(server.links) == 1


def test_the_double_leaves_a_silent_link_too(make: Make) -> None:
    with ControlServer(CONTROL_SECRET, silence_s=0.2) as server:
        make(server.url).connected()
        assert server.wait_for_loss(server.links[0])
        server.wait_for_link(2)


@pytest.mark.parametrize(
    "frame",
    [
        "PUBLISH-ACCEPT",
        "PUBLISH-ACCEPT\nStream-Id: abc",
        "PUBLISH-ACCEPT\nRequest-Id: x",
        "PUBLISH-ACCEPT\nRequest-Id: 99",
        "PUBLISH-DENY",
        "PUBLISH-DENY\nRequest-Id: 1.5",
        "PUBLISH-DENY\nRequest-Id: 99",
        "STREAM-KILL",
        "STREAM-KILL\nStream-Id: *",
        "HEARTBEAT\r\n\r\nbody: of nobody",
        "HELLO\nA: b",
        "",
        b"\x00\x01binary",
        b"",
        f"ERROR\nError-Code: INVALID\nError-Message: {'x' * 1000}",
    ],
)
def test_odd_frames_are_survived(
    server: ControlServer, make: Make, log_lines: LogLines, frame: str | bytes
) -> None:
    near = make(server.url).connected()
    near.live()
    server.send_text(server.links[0], frame)
    near.live("later")
    assert near.kills == []
    assert len(server.links) == 1
    assert log_lines.count("Disconnected") == 0
    assert max(map(len, log_lines.lines)) < 600


def test_a_remote_error_is_logged(server: ControlServer, make: Make, log_lines: LogLines) -> None:
    near = make(server.url).connected()
    server.send(server.links[0], "ERROR", {"Error-Code": "E1", "Error-Message": "no\x1b[0m way"})
    near.live()
    assert log_lines.count("ERROR Remote error code='E1' message='no\\x1b[0m way'") == 1


def test_many_ask_at_once(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    asking = [gevent.spawn(near.publish, f"c{number}") for number in range(200)]
    gevent.joinall(asking, timeout=5, raise_error=True)
    grants = [one.value for one in asking if isinstance(one.value, Grant)]
    by_channel = {grant.channel: grant.stream_id for grant in grants}
    assert len(by_channel) == 200
    assert by_channel == server.links[0].channels


def test_s117_shutdown_writes_the_ends_before_it_hangs_up(server: ControlServer, make: Make) -> None:
    near = make(server.url).connected()
    for number in range(20):
        near.live(f"c{number}")
    assert near.gate.close(5)
    assert len(server.wait_for("PUBLISH-END", 20)) == 20
    assert server.wait_for_loss(server.links[0])
    gevent.sleep(0.1)
    assert len(server.links) == 1


def test_without_a_base_url_everybody_is_refused(make: Make, log_lines: LogLines) -> None:
    near = make("")
    assert near.publish() == NO_LINK
    assert log_lines.count("CONTROL_BASE_URL is not set") == 1
    assert near.coordinator.wait_idle(0)
    near.coordinator.ended(Grant("news", KEY, "::1", "abc"))


def test_user_and_password_of_the_url_reach_no_log(
    server: ControlServer, make: Make, log_lines: LogLines
) -> None:
    make(f"ws://bob:hidden@127.0.0.1:{server.port}/").connected()
    assert log_lines.count("hidden") == 0
    assert log_lines.count("bob") == 0
