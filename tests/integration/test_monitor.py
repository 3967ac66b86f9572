"""A real server that is asked over a line while it has clients: what it tells and does, and never says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from rtmpsrv.monitor.packing import unpack
from tests.access_run import leaks
from tests.client import Stage, keyframe, stage
from tests.doubles.secrets import KEY
from tests.integration.test_no_secrets_in_log import MORE, QUERY, visit
from tests.monitored_process import MonitoredServer
from tests.waiting import eventually

PATIENCE_S = 10.0
ALL: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("process", ()), ("channels", ()), ("connections", ()), ("events", ({},)), ("events", ({}, "news")),
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[MonitoredServer]:
    with MonitoredServer(LOG_DEBUG="YES", LOG_TRACE="NO") as running:
        yield running


@pytest.fixture
def on(server: MonitoredServer) -> Iterator[Stage]:
    with stage(server.port, strangers=True) as opened:
        yield opened


def test_streams_are_seen_as_they_come_and_go(server: MonitoredServer, on: Stage) -> None:
    publisher, player = on.publisher("seen", KEY), on.player("seen", KEY)
    publisher.video(40, keyframe(b"x" * 20_000))
    on.passed(publisher, player)
    (channel,) = server.ask("channels", ["seen"])
    connections = {one["id"]: one for one in server.ask("connections") if one["channel"] == "seen"}
    assert connections[channel["publisher"]]["state"] == "publish"
    assert connections[channel["publisher"]]["received_bytes"] > 20_000
    ((reader, kind),) = channel["readers"]
    assert (kind, connections[reader]["state"]) == ("rtmpConn", "read")
    assert connections[reader]["sent_bytes"] > 20_000
    before = server.ask("events", {})["last"]
    player.close()
    publisher.close()
    eventually(lambda: not server.ask("channels", ["seen"]), "the end")
    ends = {one["what"]: one for one in server.ask("events", {"": before})["events"]}
    assert ends["unpublish"]["connection"] == channel["publisher"]
    assert ends["stop"]["connection"] == reader
    assert server.ask("events", {}, "seen")["events"] == [ends["unpublish"]]


def test_a_kick_is_told_done_and_lasts(server: MonitoredServer, on: Stage) -> None:
    publisher = on.publisher("kicked", KEY)
    (channel,) = server.ask("channels", ["kicked"])
    assert server.ask("kick", channel["publisher"], 30.0, "too\nloud") is True
    status = publisher.expect_status("NetStream.Unpublish.Success")
    assert status["description"] == "ended by the API: too\\nloud"
    publisher.expect_closed()
    server.wait_for_line(r"PUBLISH END: kicked, reason=ended by the API: too\\nloud ")
    again = on.client().connect("kicked")
    again.ask_publish(KEY, again.create_stream())
    again.expect_status("NetStream.Publish.BadName")
    assert server.ask("kick", channel["publisher"], 30.0, "") is False


def test_no_answer_holds_a_secret_whatever_clients_send(server: MonitoredServer, on: Stage) -> None:
    over = False

    def ask_all() -> None:
        for what, arguments in ALL:
            server.ask(what, *arguments)

    def ask_on() -> None:
        while not over:
            ask_all()
            gevent.sleep(0.01)

    asking = gevent.spawn(ask_on)
    visit(on, "news")
    over = True
    asking.get(timeout=PATIENCE_S)
    publisher = on.publisher("more", KEY)
    ask_all()
    publisher.close()
    counters = server.ask("process")["counters"]
    assert counters["publishes"]["refused"] >= 5
    assert counters["plays"]["refused"] >= 1
    assert len(server.answers) > 2 * len(ALL)
    assert leaks([text_of(answer) for answer in server.answers], MORE) == []


def text_of(answer: bytes) -> str:
    """Return all that is in an answer, but for a name of a client that is made to look like a query."""
    value = unpack(answer)
    for one in value if isinstance(value, list) else ():
        if one.get("user_agent") == QUERY:
            one["user_agent"] = ""
    return json.dumps(value)


def test_no_line_of_the_log_is_wrong(server: MonitoredServer) -> None:
    server.check_log()
    assert leaks(server.everything(), MORE) == []
