from __future__ import annotations

import pytest

from rtmpsrv.errors import AccessDenied, naming
from rtmpsrv.monitor.observer import Observer
from rtmpsrv.server.host import Client
from tests.unit.monitor.stage import stage
from tests.unit.server.stage import eventually


def test_ends_are_kept_with_reason_time_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        publisher = on.clients.publisher("news")
        player = on.clients.player("news")
        on.clients.passed(publisher, player)
        publishes, reads = on.connection("publish"), on.connection("read")
        player.close()
        eventually(lambda: "stop" in on.events())
        publisher.command("deleteStream", None, 1.0)
        eventually(lambda: "unpublish" in on.events())
        events = {event["what"]: event for event in on.ask("events", {})["events"]}
        assert list(events) == ["publish", "play", "stop", "unpublish"]
        assert events["publish"]["connection"] == events["unpublish"]["connection"] == publishes["id"]
        assert events["play"]["connection"] == events["stop"]["connection"] == reads["id"]
        end = events["unpublish"]
        assert (end["channel"], end["reason"]) == ("news", "unpublished by the peer")
        assert (end["kind"], end["remote_ip"]) == ("rtmpConn", "127.0.0.1")
        assert end["received_bytes"] >= publishes["received_bytes"]
        assert events["stop"]["sent_bytes"] >= reads["sent_bytes"] - 100
        assert events["stop"]["reason"] == "closed by the peer"
        assert end["seconds"] >= 0.0
        assert on.ask("events", {}, "news")["events"] == [end]
        assert on.ask("events", {"": end["serial"]})["events"] == []


def test_refusals_are_kept_with_the_channel_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch, max_ip_concurrent_connections=2) as on:
        on.clients.publisher("news", "key")
        other = on.clients.client().connect("news")
        other.ask_publish("key", other.create_stream())
        on.clients.client().expect_closed()
        other.expect_closed()
        refused = [event for event in on.ask("events", {})["events"] if event["what"] == "refused"]
        assert [(event["channel"], bool(event["connection"])) for event in refused] == [
            ("news", True), ("", False),
        ]  # fmt: skip
        assert refused[0]["reason"] == "publish: Stream already publishing"
        assert "limit of 2 connections from one address" in refused[1]["reason"]
        counters = on.ask("process")["counters"]
        assert counters["connections_rejected"]["limit_address"] == 1
        assert counters["publishes"] == {"accepted": 1, "refused": 1, "failed": 0}


def test_a_refused_connection_has_no_channel_and_a_reason_is_one_line() -> None:
    observer = Observer("w1")
    client = Client(1, "192.0.2.1", 1935, True, channel="from-before")
    observer.refused("connect", client, AccessDenied("code", "no\n\x1b[2J"))
    (event,) = observer.history.since(0)["events"]
    assert (event["channel"], event["kind"], event["worker"]) == ("", "rtmpsConn", "w1")
    assert event["reason"] == "connect: no\\n\\x1b[2J"


def test_a_refusal_that_names_a_channel_is_that_channels() -> None:
    observer = Observer()
    with pytest.raises(AccessDenied) as caught, naming("channel=news"):
        raise AccessDenied("code", "the stream key is empty")
    observer.refused("publish", Client(1, "192.0.2.1", 1935, False), caught.value)
    (event,) = observer.history.since(0)["events"]
    assert event["channel"] == "news"


def test_what_fails_is_counted() -> None:
    observer = Observer()
    observer.failed("play")
    observer.handshake_failed("tls")
    observer.left(1, 2, stalled=True)
    value = observer.counted.value()
    assert (value["plays"]["failed"], value["handshake_failures"]["tls"]) == (1, 1)
    assert (value["received_bytes"], value["sent_bytes"], value["slow_players_disconnected"]) == (1, 2, 1)
