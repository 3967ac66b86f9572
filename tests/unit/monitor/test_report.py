from __future__ import annotations

import errno
import os
import socket
import time
from typing import Any

import pytest

from rtmpsrv import __version__
from rtmpsrv.access.names import APP_STREAM
from rtmpsrv.monitor import report
from rtmpsrv.monitor.values import ChannelValue, ConnectionValue, ProcessValue, VitalsValue
from rtmpsrv.record.recordings import Recordings
from tests.client import keyframe
from tests.server_process import free_port
from tests.unit.monitor.stage import by_hls, stage
from tests.unit.server.stage import eventually

KEY = "Stream-Key_Zq7"


def test_a_publisher_and_its_players_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    with stage(monkeypatch) as on:
        publisher = on.clients.publisher("news", KEY)
        player = on.clients.player("news", KEY)
        publisher.video(0, keyframe(b"x" * 5000))
        on.clients.passed(publisher, player)
        on.clients.client().connect("other")
        reads, publishes, idle = (on.connection(state) for state in ("read", "publish", "idle"))
        (channel,) = on.ask("channels")
        assert set(channel) == set(ChannelValue.__annotations__)
        assert set(channel["vitals"]) >= set(VitalsValue.__annotations__)
        assert began - 1 < channel["started_at"] <= time.time()
        assert on.ask("channels")[0]["started_at"] == channel["started_at"]
        assert min(channel["received_bytes"], channel["sent_bytes"]) > 5000
        assert set(reads) == set(ConnectionValue.__annotations__)
        assert (channel["name"], channel["live"], channel["suspended"]) == ("news", True, False)
        assert (channel["publisher"], channel["publisher_kind"]) == (publishes["id"], "rtmpConn")
        assert channel["readers"] == [(reads["id"], "rtmpConn")]
        assert (channel["players"], channel["waiting"], channel["max_bitrate"]) == (1, 0, None)
        assert channel["cache_bytes"] > 5000
        assert publishes["received_bytes"] > 5000
        assert reads["sent_bytes"] > 5000
        assert publishes["player"] is idle["player"] is None
        assert (reads["player"]["waiting"], reads["player"]["audio"]) == (False, True)
        assert (publishes["channel"], reads["channel"], idle["channel"]) == ("news", "news", "")
        assert (publishes["app"], idle["app"]) == ("news", "other")
        assert {one["remote_ip"] for one in (reads, publishes, idle)} == {"127.0.0.1"}
        assert len({one["id"] for one in (reads, publishes, idle)}) == 3
        assert began - 1 < publishes["created_at"] <= time.time()
        assert on.connection("publish")["created_at"] == publishes["created_at"]


def test_channels_are_named_without_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        assert on.ask("names") == []
        on.clients.publisher("news", KEY)
        on.clients.player("sport", KEY)
        assert sorted(on.ask("names")) == ["news", "sport"]


def test_connections_are_numbered_without_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        on.clients.publisher("news", KEY)
        on.clients.player("news", KEY)
        told = [(one["number"], one["id"], one["kind"]) for one in on.ask("connections")]
        assert sorted(on.ask("ids")) == sorted(told)
        assert len(told) == 2


def test_only_those_are_told_of_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        on.clients.publisher("news")
        on.clients.player("sport")
        reads = on.connection("read")
        assert [one["name"] for one in on.ask("channels", ["sport", "none"])] == ["sport"]
        assert [one["id"] for one in on.ask("connections", [reads["id"], "none"])] == [reads["id"]]
        assert on.ask("channels", []) == on.ask("connections", []) == []
        (waiting,) = on.ask("channels", ["sport"])
        assert (waiting["live"], waiting["waiting"], waiting["started_at"]) == (False, 1, None)
        assert (waiting["publisher"], waiting["vitals"]) == (None, None)


def test_the_process_tells_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        before: ProcessValue = on.ask("process")
        assert set(before) == set(ProcessValue.__annotations__)
        assert (before["worker"], before["pid"], before["version"]) == ("", os.getpid(), __version__)
        assert before["listeners"] == [
            {
                "protocol": "rtmp", "address": "127.0.0.1", "port": on.clients.port, "secure": False,
                "accepting": True, "sessions": 0,
            }
        ]  # fmt: skip
        assert (before["ready"], before["not_ready"]) == (True, [])
        assert before["counters"]["frames_dropped"] == {"audio": 0, "video": 0, "data": 0}
        assert (before["redis_connected"], before["control_connected"]) == (None, None)
        publisher = on.clients.publisher("news")
        publisher.video(0, keyframe(b"x" * 400_000))
        publisher.fence()
        during: ProcessValue = on.ask("process")
        assert during["counters"]["received_bytes"] == on.connection("publish")["received_bytes"] > 3000
        assert during["gop_cache_bytes"] > 0
        assert during["memory_budget_bytes"] > during["memory_held_bytes"] > 0
        publisher.close()
        eventually(lambda: on.ask("connections") == [])
        after: ProcessValue = on.ask("process")
        assert after["counters"]["received_bytes"] >= during["counters"]["received_bytes"]
        assert after["counters"]["sent_bytes"] >= during["counters"]["sent_bytes"] > 3000
        assert after["counters"]["connections_accepted"] == 1
        assert after["counters"]["publishes"]["accepted"] == 1


def test_nothing_that_is_told_holds_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (KEY, "query-Hd6", "password-Tv4")
    with stage(monkeypatch) as on:
        client = on.clients.client()
        client.shake_hands()
        client.ask_connect(
            "news?token=query-Hd6", tcUrl=f"rtmp://h/news/{KEY}?token=query-Hd6", flashVer=f"FMLE/3.0 {KEY}",
            swfUrl=f"rtmp://h/news/{KEY}", pageUrl=f"http://alice:password-Tv4@h/{KEY}?token=query-Hd6",
        )  # fmt: skip
        client.expect_command("_result")
        client.ask_publish(f"{KEY}?user=alice&pass=password-Tv4", client.create_stream())
        client.expect_status("NetStream.Publish.Start")
        stranger = on.clients.client().connect("news")
        stranger.ask_play(f"{KEY}-wrong?pass=password-Tv4", stranger.create_stream())
        stranger.expect_closed()
        broken = on.clients.client()
        broken.shake_hands()
        broken.ask_connect(f"news/{KEY}")
        value: ConnectionValue = on.connection("publish")
        assert (value["user"], value["app"], value["user_agent"]) == ("alice", "news", "")
        assert (value["page_url"], value["swf_url"]) == ("", "rtmp://h/news")
        broken.expect_closed()
        answers = [
            on.app.monitor.answer(what, arguments)
            for what, arguments in (
                ("process", ()), ("channels", ()), ("connections", ()), ("events", ({},)),
                ("events", ({}, "news")),
            )
        ]  # fmt: skip
    for answer in answers:
        assert [secret for secret in secrets if secret.encode() in answer] == []


def test_where_names_are_no_keys_the_whole_app_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch, url_layout=APP_STREAM) as on:
        client = on.clients.client().connect("live/one")
        client.ask_publish("live", client.create_stream())
        client.expect_status("NetStream.Publish.Start")
        value = on.connection("publish")
        assert (value["app"], value["channel"]) == ("live/one", "live/one/live")


def test_others_run_while_there_is_much_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        monkeypatch.setattr(report, "TURN_S", 0.0)
        monkeypatch.setattr(report, "LOOK_EVERY", 1)
        rests: list[Any] = []
        turns = on.app._parts.turns
        monkeypatch.setattr(turns, "rest", lambda *arguments: rests.append(arguments))
        for channel in "aabb":
            on.clients.player(channel)
        rests.clear()
        assert len(on.ask("channels")) == 2
        assert len(rests) == 6  # each channel, each player
        rests.clear()
        assert len(on.ask("connections")) == 4
        assert len(rests) == 4


@pytest.mark.parametrize("what", ["channels", "connections", "process"])
def test_who_leaves_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    with stage(monkeypatch) as on:
        monkeypatch.setattr(report, "TURN_S", 0.0)
        monkeypatch.setattr(report, "LOOK_EVERY", 1)
        turns, (listener,) = on.app._parts.turns, on.app.listeners
        on.clients.player("a")
        on.clients.player("b")
        rest = turns.rest
        ended: list[bool] = []

        def end_all(*arguments: Any) -> None:
            if not ended:  # sessions rest, too
                ended.append(True)
                for session in list(listener.sessions):
                    session.drop("over")
                eventually(lambda: not (listener.sessions or len(on.app.registry)))
            rest(*arguments)

        monkeypatch.setattr(turns, "rest", end_all)
        answer = on.ask(what)
        assert ended
        assert answer["listeners"][0]["sessions"] == 0 if what == "process" else answer == []


def watch_by_http(port: int, path: str) -> socket.socket:
    """Ask for a stream, and return the connection when it comes."""
    client = socket.create_connection(("127.0.0.1", port), 5.0)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\nUser-Agent: mpv\r\n\r\n".encode())
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    return client


def test_viewers_by_http_are_readers_of_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with stage(monkeypatch, http_port=port) as on:
        publisher, player = on.clients.publisher("news", KEY), on.clients.player("news", KEY)
        publisher.video(0, keyframe(b"x" * 5000))
        on.clients.passed(publisher, player)
        with watch_by_http(port, f"/news.flv?key={KEY}"), socket.create_connection(("127.0.0.1", port)):
            peer, held = by_hls(on, f"key={KEY}")
            held.sent(700)
            eventually(lambda: len(on.ask("ids")) == 5)
            (channel,) = on.ask("channels")
            assert (channel["players"], channel["forms"]) == (3, {"rtmp": 1, "flv": 1, "hls": 1})
            assert sorted(kind for _, kind in channel["readers"]) == ["hlsSession", "httpConn", "rtmpConn"]
            values = {one["form"]: one for one in on.ask("connections") if one["state"] != "publish"}
            assert [(form, values[form]["kind"]) for form in sorted(values)] == [
                ("flv", "httpConn"), ("hls", "hlsSession"), ("http", "httpConn"), ("rtmp", "rtmpConn"),
            ]  # fmt: skip
            assert [values[form]["state"] for form in ("flv", "hls", "http")] == ["read", "read", "idle"]
            assert (values["flv"]["user_agent"], values["flv"]["channel"]) == ("mpv", "news")
            hls: ConnectionValue = values["hls"]
            assert set(hls) == set(ConnectionValue.__annotations__)
            assert (hls["id"], hls["remote_ip"], hls["sent_bytes"]) == (peer.client.id, "192.0.2.9", 700)
            assert time.time() - 60 < hls["created_at"] <= time.time()
            assert on.ask("connections", [peer.client.id]) == [hls]
            assert channel["sent_bytes"] > 700
            process: ProcessValue = on.ask("process")
            sent = process["counters"]["sent_bytes_by_form"]
            assert (sent["hls"], sent["flv"] > 5000, sent["rtmp"] > 5000) == (700, True, True)
            assert [one["protocol"] for one in process["listeners"]] == ["rtmp", "http"]
            assert on.events().count("play") == 3
            held.end("it left")
            (left,) = [one for one in on.ask("events", {})["events"] if one["what"] == "stop"]
            assert (left["kind"], left["channel"], left["sent_bytes"]) == ("hlsSession", "news", 700)
            assert on.ask("process")["counters"]["sent_bytes_by_form"]["hls"] == 700
            assert on.ask("channels")[0]["sent_bytes"] >= channel["sent_bytes"]


def test_a_still_is_no_reader_and_who_waits_is_one_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        peer, _ = by_hls(on, f"key={KEY}")
        on.app.relay.watching.channel("news")
        (channel,) = on.ask("channels")
        assert (channel["players"], channel["waiting"], channel["live"]) == (1, 1, False)
        peer.client.form = "jpg"
        (channel,) = on.ask("channels")
        assert (channel["players"], channel["readers"], channel["forms"]) == (0, [], {})


def test_files_of_recordings_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        assert on.ask("files") == on.ask("files", "news") == []
        assert on.ask("record", "news", True) is False


def test_files_that_cannot_be_read_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def entries(recordings: object, channel: str = "") -> list[object]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/secret")

    monkeypatch.setattr(Recordings, "entries", entries)
    with stage(monkeypatch) as on:
        assert on.ask("files") == "the files of recordings cannot be read: Permission denied"
    assert "Traceback" not in caplog.text
