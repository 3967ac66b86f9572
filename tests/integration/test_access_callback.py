"""Who may publish, asked of a real HTTP or HTTPS server. Numbers in names: docs/compliance.md."""

from __future__ import annotations

import itertools
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import gevent
import pytest
from gevent.event import Event

from tests.access_run import REFUSED, TAKEN, AccessServer, Encoder, ask, gaps, pictures, refusal, refusal_of
from tests.client import Stage, keyframe, media_of, names_of, stage
from tests.doubles import certificates
from tests.doubles.callback_server import Answer, CallbackServer, Received, accept
from tests.doubles.secrets import JWT_SECRET, KEY, OTHER_KEY

HUNG = 50
CROWD = 200
CROWD_BOUND_S = 30.0  # far above the 3 s that are wanted: a busy machine fails no test
RESTART_S = 15.0  # the longest wait between two attempts is 10 s


@pytest.fixture(scope="module")
def backend() -> Iterator[CallbackServer]:
    with CallbackServer(JWT_SECRET) as server:
        yield server


@pytest.fixture(scope="module")
def server(backend: CallbackServer) -> Iterator[AccessServer]:
    with AccessServer(CALLBACK_URL=backend.url, JWT_SECRET=JWT_SECRET, RTMP_HOST="media.example") as running:
        yield running


@pytest.fixture
def on(server: AccessServer, backend: CallbackServer) -> Iterator[Stage]:
    backend.answer = accept
    with stage(server.port) as opened:
        yield opened


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^0-9A-Za-z_-]", "-", request.node.name)[:100]


def numbered() -> Iterator[str]:
    return (f"id-{number}" for number in itertools.count(1))


def test_s81_s83_start_and_stop_carry_all_claims_once(
    on: Stage, backend: CallbackServer, server: AccessServer, channel: str
) -> None:
    publisher, player = on.publisher(channel, KEY), on.player(channel, KEY)
    on.passed(publisher, player)
    publisher.close()
    assert backend.wait_for("stop", channel=channel)
    player.expect_status("NetStream.Play.UnpublishNotify")
    start, stop = (one for one in backend.received if one.claims["channel"] == channel)
    for one in (start, stop):
        assert (one.method, one.path, one.body) == ("POST", "/callback", b"")
        assert "rtmp-event" in one.headers
        issued = one.claims.pop("iat")
        assert one.claims.pop("exp") == issued + 120
    same = {
        "sub": "rtmp_event",
        "channel": channel,
        "key": KEY,
        "rtmp_host": "media.example",
        "rtmp_port": server.port,
    }
    assert start.claims == same | {"event": "start", "client_ip": "127.0.0.1", "stream_id": None}
    assert stop.claims == same | {"event": "stop", "client_ip": None, "stream_id": f"id-{channel}"}


def test_s82_https_with_a_private_authority_and_a_custom_subject(tmp_path: Path) -> None:
    certs = certificates.make(tmp_path)
    with CallbackServer(JWT_SECRET, certs) as backend:
        settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET, "CUSTOM_JWT_SUBJECT": "x"}
        with AccessServer(**settings, REQUESTS_CA_BUNDLE=certs.ca) as server, stage(server.port) as on:
            on.publisher("secure", KEY).close()
            assert backend.wait_for("stop")
            assert [one.claims["sub"] for one in backend.received] == ["x", "x"]
        with AccessServer(**settings) as server, stage(server.port) as on:
            assert refusal(on, "secure") == REFUSED
            server.wait_for_line("start failed channel=secure")
            assert len(backend.received) == 2


@pytest.mark.parametrize("status", [201, 204, 302, 403, 500])
def test_s84_any_other_status_refuses_and_closes(
    on: Stage, backend: CallbackServer, channel: str, status: int
) -> None:
    elsewhere = {"stream-id": "x", "location": backend.url.replace("callback", "elsewhere")}
    backend.answer = lambda received: Answer(status, elsewhere)
    assert refusal(on, channel) == REFUSED
    backend.answer = accept
    on.publisher(channel, OTHER_KEY).close()
    assert backend.wait_for("stop", channel=channel)
    assert [one.event for one in backend.received if one.claims["channel"] == channel] == [
        *("start", "start", "stop")  # a refused one has no stop
    ]
    assert {one.path for one in backend.received} == {"/callback"}


def test_s84_ffmpeg_is_accepted_or_refused(
    on: Stage, backend: CallbackServer, server: AccessServer, channel: str
) -> None:
    backend.answer = lambda got: accept(got) if got.claims["key"] == KEY else Answer(403)
    with Encoder(server.port, channel, OTHER_KEY) as refused:
        code, _said = refused.ended()
        assert code != 0
    with Encoder(server.port, channel) as encoder:
        assert backend.wait_for("start", 2, channel, timeout_s=15)
        assert gaps(pictures(on.player(channel, KEY), 12)) == {100}
        encoder.leave()
    assert backend.wait_for("stop", channel=channel)
    assert len(backend.events("stop", channel)) == 1


def test_s85_without_a_stream_id_it_is_empty(on: Stage, backend: CallbackServer, channel: str) -> None:
    backend.answer = lambda received: Answer()
    on.publisher(channel, KEY).close()
    assert backend.wait_for("stop", channel=channel)
    assert backend.events("stop", channel)[0].claims["stream_id"] == ""


def test_s86_fifty_hung_callbacks_delay_nobody_and_end_in_refusals() -> None:
    with CallbackServer(JWT_SECRET) as backend:
        backend.answer = lambda got: Answer(hang=True) if "hung" in got.claims["channel"] else accept(got)
        settings = {"CALLBACK_TIMEOUT_SECONDS": "4", "JWT_SECRET": JWT_SECRET}
        with AccessServer(CALLBACK_URL=backend.url, **settings) as server, stage(server.port) as on:
            publisher = on.publisher("free", KEY)
            player = on.player("free", KEY)
            on.passed(publisher, player)
            with Encoder(server.port, "hung-ffmpeg") as encoder:
                hung = [ask(on, f"hung{number}") for number in range(HUNG)]
                assert backend.wait_for("start", HUNG + 2, timeout_s=10)
                for number in range(100):
                    publisher.video(number * 10, keyframe(b"%d" % number))
                    (shown,) = media_of(on.passed(publisher, player))
                    assert shown.payload == keyframe(b"%d" % number)
                newcomer = on.publisher("free2", KEY)  # a start of its own gets through as well
                on.passed(newcomer, on.player("free2", KEY))
                assert [refusal_of(one, timeout_s=10) for one in hung] == [REFUSED] * HUNG
                assert encoder.ended()[0] != 0
            on.passed(publisher, player)
            server.wait_for_line("start failed channel=hung", count=HUNG + 1)
            assert backend.events("stop") == []


def test_s84_a_callback_server_that_is_killed_and_comes_back() -> None:
    with CallbackServer(JWT_SECRET) as backend:
        settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET}
        with (
            AccessServer(**settings) as server,
            stage(server.port) as on,
            Encoder(server.port, "news"),
            Encoder(server.port, "gone") as leaving,
        ):
            server.wait_for_line("publish accepted", count=2, timeout_s=15)
            player = on.player("news", KEY)
            before = pictures(player, 3)
            backend.stop()
            assert refusal(on, "other") == REFUSED
            leaving.leave()
            server.wait_for_line("stop failed, will be tried again channel=gone")
            backend.start()
            assert backend.wait_for("stop", channel="gone", timeout_s=RESTART_S)
            on.publisher("other", KEY)
            assert gaps(before + pictures(player, 12)) == {100}
            assert server.stop() == 0
        assert sorted(one.claims["channel"] for one in backend.events("stop")) == ["gone", "news", "other"]


def test_a_publisher_that_lost_the_race_gets_one_stop_and_so_does_the_winner(
    on: Stage, backend: CallbackServer, channel: str
) -> None:
    ids, both_ask = numbered(), Event()

    def hold(got: Received) -> Answer:
        if got.event == "stop":
            return Answer()
        answer = Answer(headers={"stream-id": next(ids)})
        asked.append(got)
        if len(asked) == 2:
            both_ask.set()
        both_ask.wait(5)
        return answer

    asked: list[Received] = []
    backend.answer = hold
    first, second = ask(on, channel), ask(on, channel)
    assert both_ask.wait(5)
    codes = {}
    for one in (first, second):
        _, message = one.read_until(lambda got: b"onStatus" in got.payload)
        codes[names_of([message])[0]] = one
    loser, winner = codes["NetStream.Publish.BadName"], codes["NetStream.Publish.Start"]
    loser.expect_closed()
    assert backend.wait_for("stop", channel=channel)
    on.passed(winner, on.player(channel, KEY))  # the winner is live, and hears nothing of it
    assert len(backend.events("stop", channel)) == 1
    winner.close()
    assert backend.wait_for("stop", 2, channel)
    assert {one.claims["stream_id"] for one in backend.events("stop", channel)} == {"id-1", "id-2"}


def test_second_publisher_of_a_live_channel_is_refused_without_a_callback(
    on: Stage, backend: CallbackServer, channel: str
) -> None:
    on.publisher(channel, KEY)
    assert refusal(on, channel) == TAKEN
    assert len(backend.events("start", channel)) == 1


def test_a_publisher_that_left_while_the_callback_was_asked_gets_its_stop(
    on: Stage, backend: CallbackServer, channel: str
) -> None:
    asked, answer = Event(), Event()

    def hold(got: Received) -> Answer:
        if got.event == "start":
            asked.set()
            answer.wait(5)
        return accept(got)

    backend.answer = hold
    client = ask(on, channel)
    assert asked.wait(5)
    client.close()
    answer.set()
    assert backend.wait_for("stop", channel=channel)
    on.publisher(channel, KEY).close()  # the channel is free
    assert backend.wait_for("stop", 2, channel)
    events = [one.event for one in backend.received if one.claims["channel"] == channel]
    assert events == ["start", "stop", "start", "stop"]


@pytest.mark.parametrize("command", ["deleteStream", "closeStream"])
def test_s83_unpublishing_and_publishing_again_reports_in_order(
    on: Stage, backend: CallbackServer, channel: str, command: str
) -> None:
    ids = numbered()
    backend.answer = lambda got: Answer(headers={"stream-id": next(ids)} if got.event == "start" else {})
    publisher = on.publisher(channel, KEY)
    publisher.command(command, None, 1.0, msid=1)
    publisher.expect_status("NetStream.Unpublish.Success")
    publisher.ask_publish(KEY, publisher.create_stream())
    publisher.expect_status("NetStream.Publish.Start")
    publisher.close()
    assert backend.wait_for("stop", 2, channel)
    told = [
        (one.event, one.claims["stream_id"]) for one in backend.received if one.claims["channel"] == channel
    ]
    assert told == [("start", None), ("stop", "id-1"), ("start", None), ("stop", "id-2")]


def test_200_publishers_at_once_against_a_slow_callback_all_get_live(
    on: Stage, backend: CallbackServer, server: AccessServer
) -> None:
    def slow(got: Received) -> Answer:
        answer = accept(got)
        return Answer(headers=answer.headers, delay_s=0.3 if got.event == "start" else 0)

    backend.answer = slow
    began = monotonic()
    crowd = [gevent.spawn(on.client().publish, f"crowd{number}", KEY) for number in range(CROWD)]
    gevent.joinall(crowd, timeout=CROWD_BOUND_S, raise_error=True)
    assert all(one.successful() for one in crowd)
    sys.stdout.write(f"{CROWD} publishers live after {monotonic() - began:.2f} s\n")
    on.passed(on.publisher("crowded", KEY), on.player("crowded", KEY))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_s117_a_signal_with_20_live_publishers_sends_20_stops(number: signal.Signals) -> None:
    with CallbackServer(JWT_SECRET) as backend:
        settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET}
        with AccessServer(**settings) as server, stage(server.port) as on:
            for channel in range(20):
                on.publisher(f"live{channel}", KEY)
            player = on.player("live7", KEY)
            player.expect_status("NetStream.Play.Reset")
            player.expect_status("NetStream.Play.Start")
            began = monotonic()
            assert server.stop(number) == 0
            sys.stdout.write(f"{number.name}: exit after {monotonic() - began:.2f} s\n")
            player.expect_status("NetStream.Play.UnpublishNotify")
        stopped = sorted(one.claims["channel"] for one in backend.events("stop"))
        assert stopped == sorted(f"live{channel}" for channel in range(20))


def test_s117_a_start_that_is_answered_during_the_shutdown_gets_its_stop() -> None:
    asked, answer = Event(), Event()

    def hold(got: Received) -> Answer:
        if got.event == "start":
            asked.set()
            answer.wait(5)
        return accept(got)

    with CallbackServer(JWT_SECRET) as backend:
        backend.answer = hold
        settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET}
        with AccessServer(**settings) as server, stage(server.port) as on:
            ask(on, "late")
            assert asked.wait(5)
            server.process.send_signal(signal.SIGTERM)
            server.wait_for_line("Shutting down")
            answer.set()
            assert server.wait() == 0
        assert [one.event for one in backend.received] == ["start", "stop"]


def test_s117_a_callback_server_that_is_gone_does_not_hold_up_the_end() -> None:
    with CallbackServer(JWT_SECRET) as backend:
        settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET, "DRAIN_TIMEOUT_SECONDS": "2"}
        with AccessServer(**settings) as server, stage(server.port) as on:
            on.publisher("lost", KEY)
            backend.stop()
            assert server.stop() == 0
            server_lines = "\n".join(server.everything())
            assert re.search(r"\[ERROR\] stop given up channel=lost stream_id=id-lost", server_lines)


def test_an_empty_secret_warns_and_works() -> None:
    with CallbackServer("") as backend:
        with AccessServer(CALLBACK_URL=backend.url) as server, stage(server.port) as on:
            server.wait_for_line(r"\[WARNING\] JWT_SECRET is empty")
            on.publisher("unsigned", KEY).close()
            assert backend.wait_for("stop")
        assert backend.refused == []


def test_stops_survive_a_crash_where_there_is_a_directory_for_them(
    backend: CallbackServer, tmp_path: Path
) -> None:
    backend.answer = accept
    settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET, "RUN_DIR": str(tmp_path / "run")}
    with AccessServer(**settings) as first, stage(first.port) as on:
        on.publisher("crashed", KEY)
        on.publisher("ended", KEY).close()
        first.wait_for_line("stop sent channel=ended")
        on.publisher("another", KEY)  # so that the stop has been noted, too
        first.process.kill()
        first.wait()
    with AccessServer(**settings) as second, stage(second.port) as on:
        assert backend.wait_for("stop", channel="crashed")
        second.wait_for_line("stops that a crash left behind: 2")
        assert backend.wait_for("stop", channel="another")
        on.publisher("crashed", KEY).close()
        assert backend.wait_for("stop", channel="crashed", count=2)
        assert second.stop() == 0
    assert len(backend.events("stop", "ended")) == 1
    assert list((tmp_path / "run").iterdir()) == []
