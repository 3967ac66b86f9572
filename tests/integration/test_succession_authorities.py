"""Succession while others decide: callbacks in flight, stops not sent yet, Redis, a control server."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from tests.access_run import ask
from tests.client import media_of, names_of, stage
from tests.doubles.callback_server import Answer, CallbackServer, Received, accept
from tests.doubles.control_server import ControlServer
from tests.doubles.redis_server import RedisServer
from tests.doubles.secrets import CONTROL_SECRET, JWT_SECRET
from tests.integration.lineage import Lineage, alive
from tests.integration.test_succession import some
from tests.server_process import START_S

COMMANDS = "rtmp_commands"


@pytest.fixture
def backend() -> Iterator[CallbackServer]:
    with CallbackServer(JWT_SECRET) as running:
        yield running


def with_callback(backend: CallbackServer) -> Lineage:
    return Lineage(CALLBACK_URL=backend.url, JWT_SECRET=JWT_SECRET)


def test_each_publication_is_told_to_have_started_and_ended_once(backend: CallbackServer) -> None:
    with with_callback(backend) as line, stage(line.port) as on:
        publishers = [on.publisher(f"app{number}") for number in range(3)]
        line.succeed()
        publishers[0].close()
        assert backend.wait_for("stop")
        line.succeed()
        for publisher in publishers:
            publisher.close()
        assert backend.wait_for("stop", 3)
        line.end()
        line.check_log()
    started = {one.claims["channel"]: one.claims["stream_id"] for one in backend.events("start")}
    stopped = [(one.claims["channel"], one.claims["stream_id"]) for one in backend.events("stop")]
    assert len(started) == len(backend.events("start")) == 3
    assert sorted(channel for channel, _id in stopped) == sorted(started)
    assert {stream_id for _channel, stream_id in stopped} == {f"id-app{number}" for number in range(3)}


def test_who_waits_for_an_answer_is_let_in_and_moves_then(backend: CallbackServer) -> None:
    asked, goes_on = Event(), Event()

    def answer(received: Received) -> Answer:
        asked.set()
        goes_on.wait(START_S)
        return accept(received)

    backend.answer = answer
    with with_callback(backend) as line, stage(line.port) as on:
        player = on.player("app")
        publisher = ask(on, "app", "k")
        assert asked.wait(START_S)
        line.succeed()
        assert alive(line.process.pid)
        goes_on.set()
        publisher.expect_status("NetStream.Publish.Start")
        assert line.process.wait(START_S) == 0
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 10
        line.succeed()
        some(publisher, 10)
        assert len(media_of(on.passed(publisher, player))) == 10
        publisher.close()
        assert backend.wait_for("stop")
        line.end()
        line.check_log()
    assert [one.event for one in backend.received] == ["start", "stop"]


def test_who_is_let_in_too_late_loses_against_another(backend: CallbackServer) -> None:
    goes_on, first = Event(), Event()

    def answer(received: Received) -> Answer:
        if not first.is_set():
            first.set()
            goes_on.wait(START_S)
        return accept(received)

    backend.answer = answer
    with with_callback(backend) as line, stage(line.port) as on:
        late = ask(on, "app", "k")
        assert first.wait(START_S)
        line.succeed()
        other = on.publisher("app")
        player = on.player("app")
        goes_on.set()
        late.expect_closed()
        some(other, 0)
        assert len(media_of(on.passed(other, player))) >= 10
        assert line.process.wait(START_S) == 0
        other.close()
        assert backend.wait_for("stop", 2)
        line.end()
    assert len(backend.events("start")) == len(backend.events("stop")) == 2


def test_stops_that_nobody_takes_are_sent_by_the_next_process(backend: CallbackServer) -> None:
    with with_callback(backend) as line, stage(line.port) as on:
        publishers = [on.publisher(f"app{number}") for number in range(3)]
        backend.answer = lambda received: Answer(503) if received.event == "stop" else accept(received)
        for publisher in publishers:
            publisher.close()
        line.wait_for_line("stop failed, will be tried again", count=3)
        line.succeed()
        assert line.process.wait(START_S) == 0, "it has given them away"
        since = len(backend.events("stop"))
        backend.answer = accept
        assert backend.wait_for("stop", since + 3, timeout_s=START_S)
        line.end()
    taken = [one.claims["channel"] for one in backend.events("stop")[since:]]
    assert sorted(taken) == ["app0", "app1", "app2"]


def test_commands_of_redis_reach_streams_in_whichever_process(backend: CallbackServer) -> None:
    with (
        RedisServer() as redis,
        Lineage(REDIS_USE="YES", REDIS_PORT=str(redis.port)) as line,
        stage(line.port) as on,
    ):
        assert redis.wait_for_subscriber(COMMANDS)
        publishers = [on.publisher(name) for name in ("one", "two")]
        since = line.signal()
        line.wait_for_line("Subscribed", since, timeout_s=START_S)
        redis.publish(COMMANDS, "kill-session>one")  # both hear it, or the new one alone
        publishers[0].expect_closed()
        line.wait_for_line("succession: took over", since, timeout_s=START_S)
        (line.pid,) = line.successors
        assert line.process.wait(START_S) == 0
        redis.publish(COMMANDS, "kill-session>two")
        publishers[1].expect_closed()
        again = on.publisher("one")
        assert again.fence() == []
        line.end()
        line.check_log()


def test_a_control_link_outlives_its_process_s_service(backend: CallbackServer) -> None:
    settings = {"CONTROL_USE": "YES", "CONTROL_SECRET": CONTROL_SECRET}
    with (
        ControlServer(CONTROL_SECRET) as control,
        Lineage(CONTROL_BASE_URL=control.url, **settings) as line,
        stage(line.port) as on,
    ):
        first = control.wait_for_link()
        ended, killed, lost, stays = (on.publisher(name) for name in ("ended", "killed", "lost", "stays"))
        line.succeed()
        second = control.wait_for_link(2)
        new = on.publisher("new")
        line.succeed()
        control.wait_for_link(3)
        assert first.alive
        assert second.alive
        assert [set(link.channels) for link in control.links] == [
            {"ended", "killed", "lost", "stays"}, {"new"}, set(),
        ]  # fmt: skip
        ended.close()
        (end,) = control.wait_for("PUBLISH-END", where={"Stream-Channel": "ended"})
        assert end in first.received
        control.kill("killed")
        killed.expect_closed()
        assert control.wait_for("PUBLISH-END", where={"Stream-Channel": "killed"})
        player = on.player("stays")
        some(stays, 0)
        assert len(media_of(on.passed(stays, player))) >= 10
        control.kill("new")
        new.expect_closed()
        assert first.alive
        first.connection.socket.shutdown(2)
        lost.expect_closed()
        assert "NetStream.Play.UnpublishNotify" in names_of(
            player.read_until(lambda one: "StreamEOF" in names_of([one]))[0]
        )
        assert line.process.wait(START_S) == 0
        assert control.wait_for_loss(second, 10), "its holder has nothing left to hold it for"
        last = on.publisher("last")
        assert last.fence() == []
        line.end()
    assert len(control.messages("PUBLISH-REQUEST")) == 6
