"""Channels of two parts, and what must be shown for them, with ffmpeg as encoder and player."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.access_run import AccessServer, Encoder
from tests.client import Stage, stage
from tests.doubles.secrets import KEY, OTHER_KEY
from tests.media_files import system_tool

PLAY_S = 20.0
BAD_NAME = "NetStream.Play.BadName"


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
