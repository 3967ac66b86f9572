from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from rtmpsrv import log
from rtmpsrv.access import blocks
from rtmpsrv.errors import AccessDenied
from rtmpsrv.few_lines import AT_ONCE
from rtmpsrv.monitor.actions import BY_THE_API, MAX_BLOCK_S, OPENED_BY_THE_API, Actions, bounded, why
from tests.doubles.no_recordings import NoRecordings
from tests.unit.leading import Logged
from tests.unit.monitor.stage import by_hls, stage
from tests.unit.server.stage import eventually

KEY = "Stream-Key_Zq7"
REASON = "over the\nlimit"
TOLD = f"{BY_THE_API}: over the\\nlimit"


def test_a_publisher_is_told_why_and_stays_out_for_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged = Logged(monkeypatch, caplog)
    with stage(monkeypatch) as on:
        publisher, player = on.clients.publisher("news", KEY), on.clients.player("news", KEY)
        assert on.ask("kick", on.connection("publish")["id"], 60.0, REASON) is True
        assert publisher.expect_status("NetStream.Unpublish.Success")["description"] == TOLD
        publisher.expect_closed()
        eventually(lambda: "unpublish" in on.events())
        again = on.clients.client().connect("news")
        again.ask_publish(KEY, again.create_stream())
        description = again.expect_status("NetStream.Publish.BadName")["description"]
        assert "The channel is closed for 60 s more" in description
        on.clients.publisher("sport", KEY)
        player.fence()
        lines = logged.lines(logging.INFO)
        assert f"kicked: channel=news {TOLD} blocked=60 s" in lines
        ((blocked, until),) = on.ask("blocks")
        assert blocked == "news"
        assert 0 < until - time.time() <= 60
        assert any(line.startswith(f"PUBLISH END: news, reason={TOLD} ") for line in lines)
        assert KEY not in "\n".join(lines)
        events = on.ask("events", {}, "news")["events"]
        assert [(event["what"], event["reason"]) for event in events] == [("unpublish", TOLD)]
        (kicked,) = [one for one in on.ask("events", {})["events"] if one["what"] == "kicked"]
        assert (kicked["channel"], kicked["reason"]) == ("news", TOLD)


def test_without_a_block_it_may_come_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        publisher = on.clients.publisher("news", KEY)
        assert on.ask("kick", on.connection("publish")["id"], 0.0, "") is True
        assert publisher.expect_status("NetStream.Unpublish.Success")["description"] == BY_THE_API
        publisher.expect_closed()
        on.clients.publisher("news", KEY)


def test_of_a_player_its_address_may_not_play_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        player = on.clients.player("news", KEY)
        assert on.ask("kick", on.connection("read")["id"], 60.0, "") is True
        player.expect_closed()
        again = on.clients.client().connect("news")
        again.ask_play(KEY, again.create_stream())
        description = again.expect_status("NetStream.Play.BadName")["description"]
        assert description == "You may not play this channel for 60 s more"
        on.clients.player("sport", KEY)
        elsewhere = on.clients.client(source="127.0.0.9").connect("news")
        elsewhere.ask_play(KEY, elsewhere.create_stream())
        elsewhere.fence()
        eventually(lambda: len(on.ask("channels", ["news"])) == 1)
        on.clients.publisher("news", KEY)


def test_who_does_nothing_yet_is_ended_and_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        client = on.clients.client().connect("news")
        assert on.ask("kick", on.connection("idle")["id"], 60.0, "") is True
        client.expect_closed()
        on.clients.publisher("news", KEY)
        on.clients.player("news", KEY)


def test_nobody_is_ended_twice_or_by_an_id_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        on.clients.publisher("news", KEY)
        one = on.connection("publish")["id"]
        assert on.ask("kick", "none", 60.0, "") is False
        assert on.ask("kick", one, 0.0, "") is True
        assert on.ask("kick", one, 0.0, "") is False
        eventually(lambda: on.ask("channels") == [])
        assert on.ask("stop", "news", 0.0, "") is False


def test_a_channel_is_stopped_and_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        publisher = on.clients.publisher("news", KEY)
        assert on.ask("stop", "news", 60.0, REASON) is True
        assert publisher.expect_status("NetStream.Unpublish.Success")["description"] == TOLD
        again = on.clients.client().connect("news")
        again.ask_publish(KEY, again.create_stream())
        again.expect_status("NetStream.Publish.BadName")


def test_a_channel_without_a_publisher_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged = Logged(monkeypatch, caplog)
    with stage(monkeypatch) as on:
        assert on.ask("stop", "news", None, "") is False
        assert on.ask("stop", "news", 60.0, "") is False
        publisher = on.clients.client().connect("news")
        publisher.ask_publish(KEY, publisher.create_stream())
        publisher.expect_status("NetStream.Publish.BadName")
        lines = [line for line in logged.lines(logging.INFO) if BY_THE_API in line]
        assert lines == [f"channel=news {BY_THE_API} blocked=60 s"]
        assert on.ask("stop", "news", 0.0, "") is False
        on.clients.publisher("news", KEY)
        assert f"channel=news may be published again: {OPENED_BY_THE_API}" in logged.lines(logging.INFO)


def test_players_that_are_kept_for_a_publisher_are_told_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged = Logged(monkeypatch, caplog)
    with stage(monkeypatch, reconnect_seconds=60) as on:
        publisher, player = on.clients.publisher("news", KEY), on.clients.player("news", KEY)
        on.clients.passed(publisher, player)
        publisher.close()
        eventually(lambda: on.ask("channels")[0]["suspended"])
        assert 0 < on.ask("channels")[0]["waits_until_at"] - time.time() <= 60
        assert on.ask("stop", "news", 0.0, "") is True
        player.expect_status("NetStream.Play.UnpublishNotify")
        assert f"channel=news {BY_THE_API}" in logged.lines(logging.INFO)


@pytest.mark.parametrize("count", [1, 3 * AT_ONCE])
def test_blocks_of_channels_that_nobody_publishes_fill_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    logged = Logged(monkeypatch, caplog)
    with stage(monkeypatch) as on:
        for number in range(count):
            on.ask("stop", f"nobody{number}", 60.0, "")
            on.ask("stop", f"nobody{number}", 0.0, "")
        lines = [line for line in logged.lines(logging.INFO) if "channel=nobody" in line]
        assert min(2 * count, AT_ONCE) <= len(lines) < AT_ONCE + 10


def test_no_block_pushes_out_another_and_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_BLOCKS", 2)
    with stage(monkeypatch) as on:
        publisher = on.clients.publisher("news", KEY)
        for channel in ("one", "two"):
            assert on.ask("stop", channel, 60.0, "") is False
        assert on.ask("stop", "news", 60.0, "") is None
        assert on.ask("kick", on.connection("publish")["id"], 60.0, "") is None
        publisher.fence()
        assert on.ask("stop", "one", 30.0, "") is False, "that one is closed already"
        assert on.ask("stop", "two", 0.0, "") is False
        assert on.ask("stop", "news", 60.0, "") is True


def test_blocks_and_reasons_are_bounded() -> None:
    assert bounded(-1.0) == bounded(float("nan")) == 0.0
    assert bounded(float("inf")) == MAX_BLOCK_S
    assert bounded(1e12) == MAX_BLOCK_S
    assert why("  ") == BY_THE_API
    assert len(why("x" * 1000)) < 250


def test_a_viewer_without_a_connection_is_sent_away_and_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        on.clients.publisher("news", KEY)
        peer, held = by_hls(on, f"key={KEY}")
        assert on.ask("kick", peer.client.id, 60.0, REASON) is True
        assert peer.is_unwanted()
        assert on.ask("kick", peer.client.id, 0.0, "") is False
        held.end("sent away")
        assert on.ask("kick", peer.client.id, 0.0, "") is False
        with pytest.raises(AccessDenied):
            by_hls(on, f"key={KEY}")
        (kicked,) = [one for one in on.ask("events", {})["events"] if one["what"] == "kicked"]
        assert (kicked["kind"], kicked["channel"], kicked["reason"]) == ("hlsSession", "news", TOLD)


class Recordings(NoRecordings):
    def start(self, channel: str, form: str = "", /) -> bool:
        return channel == "news" and form == "flv"


def test_who_starts_a_recording_is_told_whether_there_was_anything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged = Logged(monkeypatch, caplog)
    nothing: Any = None
    actions = Actions(nothing, nothing, nothing, nothing, nothing, nothing, Recordings(), log.get("API"))
    assert actions.record("news", True, "flv") is True
    assert actions.record("sport", True, "flv") is False
    assert actions.record("news", False) is False
    assert logged.lines(logging.INFO) == ["channel=news is recorded: asked for by the API"]
