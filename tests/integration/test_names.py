"""Channels of two parts, and what must be shown for them, with ffmpeg as encoder and player."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtmpsrv.access.channel_rules import ChannelRule, read_rules
from rtmpsrv.access.stream_tokens import make_token
from tests.access_run import AccessServer, Encoder
from tests.client import Client, Stage, describe, stage, values_of
from tests.doubles.secrets import KEY, OTHER_KEY
from tests.media_files import system_tool
from tests.pages import fenced, page
from tests.server_process import run

PLAY_S = 20.0
BAD_NAME = "NetStream.Play.BadName"


def status(client: Client, code: str) -> str:
    """Wait for a status among media and others; return its description."""
    _, message = client.read_until(lambda one: describe(one) == code)
    return str(values_of(message)[3]["description"])


TOKEN_SECRET = "jwt-secret-Kp3-and-some-more-letters"
TOKENS = {"PUBLISH_ACCESS": "token", "PLAY_ACCESS": "token", "TOKEN_SECRET": TOKEN_SECRET}


def plays(port: int, path: str) -> tuple[bool, str]:
    """Tell whether ffmpeg gets three pictures, and what it says."""
    ended = subprocess.run(
        [
            *(system_tool("ffmpeg"), "-v", "verbose", "-nostdin", "-analyzeduration", "500000"),
            *("-i", f"rtmp://127.0.0.1:{port}/{path}"),
            *("-frames:v", "3", "-f", "null", "-"),
        ],
        capture_output=True,
        text=True,
        timeout=PLAY_S,
        check=False,
    )
    return ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[AccessServer]:
    with AccessServer(URL_LAYOUT="app-stream") as running:
        yield running


@pytest.fixture
def on(server: AccessServer) -> Iterator[Stage]:
    with stage(server.port) as opened:
        yield opened


def test_ffmpeg_publishes_and_plays_channels_of_two_and_three_parts(server: AccessServer) -> None:
    with (
        Encoder(server.port, "live", f"alice?key={KEY}"),
        Encoder(server.port, "live", f"bob?key={OTHER_KEY}"),
        Encoder(server.port, "live/room", "carol"),
    ):
        server.wait_for_line("publish accepted", count=3)
        for channel in ("live/alice", "live/bob", "live/room/carol"):
            assert server.matching(rf"publish accepted channel={channel}$")
        assert plays(server.port, f"live/alice?key={KEY}")[0]
        assert plays(server.port, f"live/bob?key={OTHER_KEY}")[0]
        assert plays(server.port, "live/room/carol")[0]
        right, said = plays(server.port, f"live/alice?key={OTHER_KEY}")
        assert not right
        assert "the publisher has another one" in said


def test_the_log_names_the_pattern_of_urls(server: AccessServer) -> None:
    (line,) = server.matching("Publish to ")
    assert f"rtmp://127.0.0.1:{server.port}/APP/NAME" in line
    assert line.endswith(f"rtmp://127.0.0.1:{server.port}/live/stream")


def test_a_key_may_stand_behind_the_app_or_in_the_tc_url(on: Stage) -> None:
    behind_app = on.client().connect(f"live?key={KEY}")
    behind_app.ask_publish("dave", behind_app.create_stream())
    behind_app.expect_status("NetStream.Publish.Start")
    in_tc_url = on.client()
    in_tc_url.shake_hands()
    in_tc_url.ask_connect("live", tcUrl=f"rtmp://h/live?key={KEY}")
    in_tc_url.expect_command("_result")
    in_tc_url.ask_play("dave", in_tc_url.create_stream())
    in_tc_url.expect_status("NetStream.Play.Reset")
    without = on.client().connect("live")
    without.ask_play("dave", without.create_stream())
    without.expect_status(BAD_NAME)


# --- tokens -------------------------------------------------------------------------------------------------


def token(action: str, lifetime_s: float = 60, **claims: Any) -> str:
    claims = {"exp": int(time.time() + lifetime_s), "channel": "live/*", "action": action} | claims
    return make_token(claims, TOKEN_SECRET)


@pytest.fixture(scope="module")
def locked() -> Iterator[AccessServer]:
    with AccessServer(URL_LAYOUT="app-stream", **TOKENS) as running:
        yield running


def test_ffmpeg_publishes_and_plays_by_tokens(locked: AccessServer) -> None:
    with Encoder(locked.port, "live", f"alice?token={token('publish')}"):
        locked.wait_for_line("publish accepted channel=live/alice")
        assert plays(locked.port, f"live/alice?token={token('play')}")[0]
        for wrong, why in (
            ("live/alice", "no token was given"),
            (f"live/alice?token={token('publish')}", "the token is not for play"),
            (f"live/alice?token={token('play', channel='live/bob')}", "the token is for another channel"),
            (f"live/alice?token={token('play', -1)}", "the token has run out"),
            (f"live/alice?token={token('play')[:-2]}AA", "the token is not genuine"),
        ):
            right, said = plays(locked.port, wrong)
            assert not right
            assert why in said


def test_ffmpeg_is_refused_with_a_token_of_others(locked: AccessServer) -> None:
    for wrong, why in (
        ("carol", "no token was given"),
        (f"carol?token={token('play')}", "the token is not for publish"),
        (f"carol?token={token('publish', nbf=time.time() + 100)}", "the token is not valid yet"),
    ):
        with Encoder(locked.port, "live", wrong) as encoder:
            assert encoder.ended()[0] != 0
        locked.wait_for_line(rf"publish refused: Invalid stream key provided: {why} \(PUBLISH_ACCESS\)")


def test_a_token_that_runs_out_ends_its_stream_within_a_second(locked: AccessServer) -> None:
    with stage(locked.port) as on:
        player = on.client().connect("live")
        ends_at = int(time.time()) + 3
        player.ask_play(f"bob?token={token('play')}", player.create_stream())
        short = on.client().connect("live")
        short.ask_play(f"bob?token={token('play', exp=ends_at)}", short.create_stream())
        with Encoder(locked.port, "live", f"bob?token={token('publish', exp=ends_at)}") as encoder:
            assert status(short, "NetStream.Play.Stop") == "the token has run out"
            short.expect_closed()
            status(player, "NetStream.Play.UnpublishNotify")
            assert ends_at <= time.time(), "not before"
            assert encoder.ended()[0] != 0
    assert len(locked.wait_for_line("closed: the token has run out", count=2)) == 2


def test_limits_of_a_token_end_its_stream(locked: AccessServer) -> None:
    limits = {"max_seconds": 1}
    with Encoder(locked.port, "live", f"dave?token={token('publish', limits=limits)}") as encoder:
        assert encoder.ended()[0] != 0
    limits = {"max_bitrate": 100}
    with Encoder(locked.port, "live", f"dave?token={token('publish', limits=limits)}") as encoder:
        assert encoder.ended()[0] != 0
    locked.wait_for_line("closed: the time of 1 s is over")
    locked.wait_for_line("closed: more than 100 bits per second")


# --- the file of channels -----------------------------------------------------------------------------------

CHANNELS = f"""
[[channel]]
name = "live/alice"
publish_keys = ["{KEY}", "{OTHER_KEY}"]
play_access = "key"
play_keys = ["viewers", "friends"]
max_players = 2
"""


class Edited:
    """A server with a file of channels, which the test changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(CHANNELS)
        settings = {"URL_LAYOUT": "app-stream", "PUBLISH_ACCESS": "key", "CHANNELS_FILE": str(path)}
        self.server = AccessServer(**settings)

    def save(self, text: str, said: str) -> None:
        """Write the file, and wait until the server says so."""
        since = self.server.mark()
        self.path.write_text(text)
        self.server.wait_for_line(said, since=since)


@pytest.fixture
def edited(tmp_path: Path) -> Iterator[Edited]:
    made = Edited(tmp_path / "channels.toml")
    with made.server:
        yield made


def asked(on: Stage, name: str, *, to_play: bool) -> Client:
    """Return a client that has asked to publish or play a name of `live`."""
    client = on.client().connect("live")
    ask = client.ask_play if to_play else client.ask_publish
    ask(name, client.create_stream())
    return client


def test_a_key_that_is_taken_away_ends_publisher_and_players(edited: Edited) -> None:
    server = edited.server
    with Encoder(server.port, "live", f"alice?key={KEY}") as encoder, stage(server.port) as on:
        server.wait_for_line("publish accepted channel=live/alice")
        viewer, friend = (asked(on, f"alice?key={key}", to_play=True) for key in ("viewers", "friends"))
        status(viewer, "NetStream.Play.Start")
        status(friend, "NetStream.Play.Start")
        third = asked(on, "alice?key=viewers", to_play=True)
        assert status(third, BAD_NAME) == "The channel is full (2)"
        edited.save(CHANNELS.replace(', "friends"', ""), "CHANNELS_FILE read again")
        assert "it is none of the channel's" in status(friend, "NetStream.Play.Stop")
        friend.expect_closed()
        assert "it is none of the channel's" in status(asked(on, f"alice?key={KEY}", to_play=True), BAD_NAME)
        edited.save(CHANNELS.replace(f'"{KEY}", ', ""), "CHANNELS_FILE read again")
        assert encoder.ended()[0] != 0
        status(viewer, "NetStream.Play.UnpublishNotify")
        server.wait_for_line("closed: Invalid stream key provided: it is none of the channel's")
    with Encoder(server.port, "live", f"alice?key={KEY}") as encoder:
        assert encoder.ended()[0] != 0
    with Encoder(server.port, "live", f"alice?key={OTHER_KEY}"):
        server.wait_for_line("publish accepted channel=live/alice", count=2)
        assert plays(server.port, "live/alice?key=viewers")[0]


def test_a_bad_file_changes_nothing_and_is_told_once(edited: Edited) -> None:
    server = edited.server
    with Encoder(server.port, "live", f"alice?key={KEY}"), stage(server.port) as on:
        server.wait_for_line("publish accepted channel=live/alice")
        edited.save(CHANNELS.replace("max_players", "max_player"), "what was read before stays in use")
        assert len(server.matching("CHANNELS_FILE: line 7: unknown key; the nearest is max_players")) == 1
        edited.save("", "there is no")
        edited.path.unlink()
        server.wait_for_line("cannot be read: No such file")
        status(asked(on, "alice?key=viewers", to_play=True), "NetStream.Play.Start")
        assert "the channel has no keys" in status(
            asked(on, "bob?key=x", to_play=False), "NetStream.Publish.BadName"
        )
        assert server.matching("unpublished|PUBLISH END") == []
        edited.save(CHANNELS, "CHANNELS_FILE read again")
        since = server.mark()
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_line("CHANNELS_FILE has not changed", since=since)


def test_a_server_does_not_start_with_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    path.write_text(CHANNELS.replace("= 2", "= two"))
    ended = run(CHANNELS_FILE=str(path))
    assert ended.returncode == 1
    assert "CHANNELS_FILE: line 7: invalid value" in ended.stdout
    assert run("--check-config", CHANNELS_FILE=str(path)).returncode == 1


def test_the_example_of_the_page_is_right() -> None:
    (text,) = fenced(page("names.md"), "toml")
    rules = read_rules(text.encode(), has_tokens=True)
    assert rules.find("live/alice").max_players == 500
    assert set(re.findall(r"^(\w+) =", text, re.MULTILINE)) == set(ChannelRule.__slots__)
