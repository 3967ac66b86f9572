"""Backends as people have them for nginx-rtmp, SRS and MediaMTX: ffmpeg publishes and plays through each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access_run import AccessServer, leaks
from tests.client import Stage, audio, describe, stage, values_of
from tests.doubles.callback_server import Answer, CallbackServer, Received
from tests.doubles.hook_backend import (
    Fields,
    HookBackend,
    MediaMtxBackend,
    NginxBackend,
    Said,
    SrsBackend,
    wait_until,
)
from tests.doubles.secrets import JWT_SECRET, KEY
from tests.integration.lineage import Lineage
from tests.media_files import system_tool

FORMATS = {"nginx": NginxBackend, "srs": SrsBackend, "mediamtx": MediaMtxBackend}
START = {"nginx": "publish", "srs": "on_publish", "mediamtx": "publish"}
PLAY = {"nginx": "play", "srs": "on_play", "mediamtx": "read"}
ENDS = {"nginx": ("publish_done", "play_done"), "srs": ("on_unpublish", "on_stop")}
EVENTS = {
    "nginx": "connect,start,stop,play,play_stop,update",
    "srs": "connect,start,stop,play,play_stop",
    "mediamtx": "start,play",
}
FFMPEG_S = 20.0


class Run:
    """A backend of one format, and a server that asks it."""

    def __init__(self, name: str, **settings: str) -> None:
        self.name = name
        self.backend: HookBackend = FORMATS[name]()
        self.backend.__enter__()
        self.server = AccessServer(
            CALLBACK_URL=self.backend.url,
            CALLBACK_FORMAT=name,
            URL_LAYOUT="app-stream",
            **({"CALLBACK_EVENTS": EVENTS[name]} | settings),
        )

    def close(self) -> None:
        self.server.__exit__(None, None, None)
        self.backend.__exit__()

    def url(self, path: str) -> str:
        return f"rtmp://127.0.0.1:{self.server.port}/{path}"

    def stream_of(self, fields: Fields) -> str:
        """Return the stream that an event is about, as this backend reads it."""
        return str(
            fields["path"] if self.name == "mediamtx" else fields.get("name", fields.get("stream", ""))
        )


@pytest.fixture(scope="module", params=sorted(FORMATS))
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    made = Run(request.param)
    yield made
    made.close()


@pytest.fixture
def on(run: Run) -> Iterator[Stage]:
    run.backend.says = lambda fields: run.backend.yes()
    with stage(run.server.port) as opened:
        yield opened


def ffmpeg(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [system_tool("ffmpeg"), "-v", "error", "-nostdin", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def publisher(url: str) -> subprocess.Popen[str]:
    coding = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -f flv"
    return ffmpeg("-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10", *coding.split(), url)


def played(url: str) -> tuple[int, str]:
    """Play ten pictures by ffmpeg; return its exit code and what it said."""
    player = ffmpeg("-i", url, "-frames:v", "10", "-f", "null", "-")
    _, said = player.communicate(timeout=FFMPEG_S)
    return player.returncode, said


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=FFMPEG_S)


def test_ffmpeg_publishes_and_plays(run: Run, on: Stage) -> None:
    encoder = publisher(run.url(f"live/alice?token={KEY}"))
    start = run.backend.wait_for(START[run.name])[-1]
    assert run.stream_of(start).rpartition("/")[2] == "alice"
    assert KEY in json.dumps(start), "the query reaches the backend"
    code, said = played(run.url("live/alice?user=u&pass=p"))
    assert (code, said) == (0, "")
    play = run.backend.wait_for(PLAY[run.name])[-1]
    assert play.get("addr", play.get("ip")) == "127.0.0.1"
    if run.name == "mediamtx":
        assert (start["token"], play["user"], play["password"]) == (KEY, "u", "p")
        assert (start["path"], play["path"]) == ("live/alice", "live/alice")
    end(encoder)
    if run.name in ENDS:
        unpublished, left = ENDS[run.name]
        assert run.backend.wait_for(unpublished)[-1]["app"] == "live"
        run.backend.wait_for(left)
        identity = "clientid" if run.name == "nginx" else "client_id"
        assert run.backend.events(left)[-1][identity] == play[identity]
        assert run.backend.events(unpublished)[-1][identity] == start[identity]
        assert len(run.backend.events(unpublished)) == len(run.backend.events(START[run.name]))
    assert leaks(run.server.everything()) == []


def test_ffmpeg_is_refused_with_the_reason(run: Run, on: Stage) -> None:
    run.backend.says = lambda fields: (
        run.backend.no("no plan for this") if "conn" not in str(fields) else run.backend.yes()
    )
    encoder = publisher(run.url("live/refused"))
    _, said = encoder.communicate(timeout=FFMPEG_S)
    assert encoder.returncode
    assert "no plan for this" in said
    code, said = played(run.url("live/refused"))
    assert code
    assert "no plan for this" in said


def test_a_plain_no_is_enough(run: Run, on: Stage) -> None:
    run.backend.says = lambda fields: run.backend.no() if "conn" not in str(fields) else run.backend.yes()
    client = on.client().connect("live")
    client.ask_publish("plain", client.create_stream())
    assert "refused by the callback" in client.expect_status("NetStream.Publish.BadName")["description"]
    client.expect_closed()
    viewer = on.client().connect("live")
    viewer.ask_play("plain", viewer.create_stream())
    assert "refused by the callback" in viewer.expect_status("NetStream.Play.BadName")["description"]
    viewer.expect_closed()


def test_a_stream_may_get_another_name(run: Run, on: Stage) -> None:
    name = "public" if run.name == "nginx" else "live/public"

    def says(fields: Fields) -> Said:
        return run.backend.rename(name) if "secret" in run.stream_of(fields) else run.backend.yes()

    run.backend.says = says
    encoder = publisher(run.url("live/secret"))
    run.server.wait_for_line("publish accepted channel=live/public", timeout_s=FFMPEG_S)
    assert played(run.url("live/public")) == (0, "")
    assert played(run.url("live/secret")) == (0, ""), "players are given the other name too"
    end(encoder)
    run.server.wait_for_line("PUBLISH END: live/public", timeout_s=FFMPEG_S)


def test_a_publication_may_have_an_end(run: Run, on: Stage) -> None:
    more: dict[str, Any] = {"lifetime": 300, "code": 0}
    said = Said(200, json.dumps(more).encode(), {"content-type": "application/json"})
    run.backend.says = lambda fields: said if "short" in run.stream_of(fields) else run.backend.yes()
    client = on.client().publish("live", "short")
    status = client.expect_status("NetStream.Unpublish.Success", 10)
    assert status["description"] == "the time that the callback allowed is over"
    client.expect_closed()
    viewer = on.client().play("live", "short")
    status = viewer.expect_status("NetStream.Play.Stop", 10)
    assert status["description"] == "the time that the callback allowed is over"
    viewer.expect_closed()


@pytest.mark.parametrize("name", ["nginx", "srs"])
def test_connections_are_asked_about(name: str) -> None:
    run = Run(name, CALLBACK_EVENTS="connect")
    backend = run.backend
    backend.says = lambda fields: backend.no("closed today") if fields["app"] == "no" else backend.yes()
    with stage(run.server.port) as on:
        on.client().publish("live", "alice")
        refused = on.client()
        refused.shake_hands()
        refused.ask_connect("no")
        assert "closed today" in refused.expect_command("_error")[-1]["description"]
        refused.expect_closed()
    assert len(backend.received) == 2, "only what is wanted is told"
    run.close()


def test_updates_may_end_publisher_and_player() -> None:
    run = Run("nginx", CALLBACK_EVENTS="start,stop,update,play", CALLBACK_UPDATE_SECONDS="1")
    with stage(run.server.port) as on:
        publisher = on.publisher("live", "alice")
        player = on.client().play("live", "alice")
        run.backend.wait_for("update_publish")
        run.backend.wait_for("update_play")
        run.backend.says = lambda fields: Said(403) if fields["call"] == "update_play" else run.backend.yes()
        _, message = player.read_until(lambda one: "NetStream.Play.Stop" in str(values_of(one)), 10)
        assert values_of(message)[3]["description"] == "ended by the callback: status 403"
        run.backend.says = lambda fields: Said(403) if "update" in fields["call"] else run.backend.yes()
        status = publisher.expect_status("NetStream.Unpublish.Success", 10)
        assert status["description"] == "ended by the callback: status 403"
        run.backend.wait_for("publish_done")
    assert len(run.backend.events("publish_done")) == 1
    run.close()


def test_the_end_of_the_server_tells_of_players_too() -> None:
    run = Run("nginx", CALLBACK_EVENTS="play,play_stop")
    with stage(run.server.port) as on:
        on.client().play("live", "alice")
        run.backend.wait_for("play")
        assert run.server.stop() == 0
        wait_until(lambda: run.backend.events("play_done"))
    run.close()


def test_tokens_tell_of_players_and_their_queries_where_that_is_wanted() -> None:
    def answer(received: Received) -> Answer:
        refused = json.dumps({"allow": False, "reason": "no plan"}).encode()
        said = {"stream-id": f"id-{received.event}", "rtmp-answer": "json"}
        return Answer(200, said, refused if "bad=1" in received.claims["query"] else b"")

    with CallbackServer(JWT_SECRET) as backend:
        backend.answer = answer
        settings = {"CALLBACK_EVENTS": "start,stop,play,play_stop", "JWT_SECRET": JWT_SECRET}
        with AccessServer(CALLBACK_URL=backend.url, **settings) as server, stage(server.port) as on:
            publisher = on.publisher("news", f"{KEY}?a=1")
            player = on.client().play("news", f"{KEY}?b=2")
            refused = on.client().connect("news")
            refused.ask_play(f"{KEY}?bad=1", refused.create_stream())
            status = refused.expect_status("NetStream.Play.BadName")
            assert status["description"] == "You may not play: no plan"
            player.close()
            assert backend.wait_for("play_stop")
            publisher.close()
            assert backend.wait_for("stop")
        start, play, _, left, stop = (one.claims for one in backend.received)
        assert (start["query"], play["query"]) == ("a=1", "b=2")
        assert (left["stream_id"], left["client_id"]) == ("id-play", play["client_id"])
        assert (stop["stream_id"], stop["client_id"]) == ("id-start", start["client_id"])
        assert play["client_id"] != start["client_id"]
        assert backend.refused == []


def limited(**limits: int) -> Said:
    """Return a yes with limits."""
    return Said(200, json.dumps({"limits": limits}).encode(), {"content-type": "application/json"})


def full(on: Stage, name: str) -> str:
    """Let one more player come, which is refused; return why."""
    viewer = on.client().connect("live")
    viewer.ask_play(name, viewer.create_stream())
    _, message = viewer.read_until(lambda one: describe(one) == "NetStream.Play.BadName", timeout_s=10)
    viewer.expect_closed()
    return str(values_of(message)[3]["description"])


def test_a_bitrate_that_was_given_ends_a_publisher_that_sends_more(run: Run, on: Stage) -> None:
    if run.name == "srs":
        body = json.dumps({"code": 0, "limits": {"max_bitrate": 1000}}).encode()
        said = Said(200, body)
    else:
        said = limited(max_bitrate=1000)
    run.backend.says = lambda fields: said if "fast" in run.stream_of(fields) else run.backend.yes()
    client = on.publisher("live", "fast")
    for number in range(10):
        client.audio(20 * number, audio(bytes(1000)))
    status = client.expect_status("NetStream.Unpublish.Success", 10)
    assert status["description"] == "more than 1000 bits per second"
    client.expect_closed()


def test_players_that_a_backend_allows_are_counted_also_in_the_next_process() -> None:
    settings = {"CALLBACK_FORMAT": "nginx", "CALLBACK_EVENTS": "start,stop", "URL_LAYOUT": "app-stream"}
    with NginxBackend() as backend:
        backend.says = lambda fields: limited(max_players=2, max_bitrate=1_000_000)
        with Lineage(CALLBACK_URL=backend.url, **settings) as line, stage(line.port) as on:
            publisher, player = on.publisher("live", "alice"), on.client().play("live", "alice")
            line.succeed()
            second = on.client().play("live", "alice")
            assert full(on, "alice") == "The channel is full (2)"
            on.passed(publisher, player)
            second.close()
            line.wait_for_line("PLAY STOP: live/alice")
            on.client().play("live", "alice")
            for number in range(20):
                publisher.audio(1000 + 20 * number, audio(bytes(100_000)))
            status = publisher.expect_status("NetStream.Unpublish.Success", 10)
            assert status["description"] == "more than 1000000 bits per second"
            line.check_log()


def test_of_two_workers_one_asks_for_both_and_names_and_limits_are_right_in_either(tmp_path: Path) -> None:
    settings = {"CALLBACK_FORMAT": "nginx", "CALLBACK_EVENTS": EVENTS["nginx"], "URL_LAYOUT": "app-stream"}
    with NginxBackend() as backend:
        backend.says = lambda fields: (
            backend.rename("public") if fields.get("name") == "secret" else limited(max_players=3)
        )
        crew = AccessServer(WORKERS="2", RUN_DIR=str(tmp_path / "run"), CALLBACK_URL=backend.url, **settings)
        with crew as server, stage(server.port) as on:
            publisher = on.publisher("live", f"secret?token={KEY}")
            start = backend.wait_for("publish")[0]
            assert (start["name"], start["token"]) == ("secret", KEY)
            server.wait_for_line("publish accepted channel=live/public")
            players = [on.client().play("live", "public") for _ in range(3)]
            backend.wait_for("play", 3)
            for player in players:
                on.passed(publisher, player)
            assert {full(on, "public") for _ in range(6)} == {"The channel is full (3)"}
            for client in (*players, publisher):
                client.close()
            assert backend.wait_for("publish_done")[0]["clientid"] == start["clientid"]
            backend.wait_for("play_done", len(backend.events("play")))
        assert len(backend.events("publish")) == len(backend.events("publish_done")) == 1
        assert leaks(server.everything()) == []
