"""OBS's "use authentication": ffmpeg and GStreamer log in as they do at other servers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtmpsrv.access.login import response
from tests.access_run import AccessServer
from tests.client import Client, Stage, stage
from tests.doubles.hook_backend import wait_until
from tests.media_files import system_tool

USER, PASSWORD, OTHER_PASSWORD = "alice", "Pass-Word_Rt4", "Pass-Word_Wx7"
ENCODER_S = 20.0
RULES = f"""
[[channel]]
name = "studio/*"
users = {{ {USER} = "{PASSWORD}" }}
play_access = "open"

[[channel]]
name = "keys/*"
publish_keys = ["{OTHER_PASSWORD}"]
play_access = "open"
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("login") / "channels.toml"
    path.write_text(RULES)
    return path


@pytest.fixture(scope="module")
def server(rules: Path) -> Iterator[AccessServer]:
    settings = {"URL_LAYOUT": "app-stream", "CHANNELS_FILE": str(rules), "PUBLISH_ACCESS": "login"}
    # One connection at a time: those of a login must not be in each other's way.
    limits = {"CONCURRENT_LIMIT_WHITELIST": "", "MAX_IP_CONCURRENT_CONNECTIONS": "1"}
    with AccessServer(**settings, **limits) as running:
        yield running
        secret = [line for line in running.everything() if PASSWORD in line or OTHER_PASSWORD in line]
        assert secret == []


@pytest.fixture
def on(server: AccessServer) -> Iterator[Stage]:
    with stage(server.port, strangers=True) as opened:
        yield opened


def lines_since(server: AccessServer, count: int, pattern: str) -> list[str]:
    """Return the lines with a pattern but for the first `count`: the log is on standard error."""
    return [line for line in server.everything()[count:] if re.search(pattern, line)]


def ffmpeg(url: str, seconds: int = 1) -> subprocess.CompletedProcess[str]:
    coding = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -f flv"
    source = f"testsrc2=size=160x90:rate=10:duration={seconds}"
    return subprocess.run(
        [
            *(system_tool("ffmpeg"), "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", source),
            *(*coding.split(), url),
        ],
        capture_output=True,
        text=True,
        timeout=ENCODER_S,
        check=False,
    )


def gstreamer(port: int, name: str, user: str, password: str) -> subprocess.CompletedProcess[str]:
    picture = "video/x-raw,width=160,height=90,framerate=10/1"
    coding = "x264enc tune=zerolatency ! flvmux streamable=true"
    pipeline = f"videotestsrc num-buffers=10 ! {picture} ! {coding} ! rtmp2sink"
    where = [f"location=rtmp://127.0.0.1:{port}/studio/{name}", f"username={user}", f"password={password}"]
    return subprocess.run(
        [system_tool("gst-launch-1.0"), "-q", *pipeline.split(), *where],
        capture_output=True,
        text=True,
        timeout=ENCODER_S,
        check=False,
    )


def test_ffmpeg_logs_in(server: AccessServer) -> None:
    mark = len(server.everything())
    done = ffmpeg(f"rtmp://{USER}:{PASSWORD}@127.0.0.1:{server.port}/studio/one")
    assert (done.returncode, done.stderr) == (0, "")
    server.wait_for_line("PUBLISH END: studio/one")
    assert len(lines_since(server, mark, "closed: asked for a login")) == 2
    assert not lines_since(server, mark, "Rejected request|refused"), "its three connections count as one"


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (f"{USER}:{OTHER_PASSWORD}", "Incorrect username/password"),
        (f"nobody:{PASSWORD}", "Incorrect username"),
    ],
)
def test_ffmpeg_is_told_what_is_wrong(server: AccessServer, login: str, said: str) -> None:
    done = ffmpeg(f"rtmp://{login}@127.0.0.1:{server.port}/studio/two")
    assert done.returncode
    assert said in done.stderr


def test_ffmpeg_without_a_login_is_told_that_one_is_wanted(server: AccessServer) -> None:
    done = ffmpeg(f"rtmp://127.0.0.1:{server.port}/studio/two")
    assert done.returncode
    assert "No credentials set" in done.stderr


def test_gstreamer_logs_in(server: AccessServer) -> None:
    mark = len(server.everything())
    done = gstreamer(server.port, "three", USER, PASSWORD)
    assert done.returncode == 0, done.stderr
    server.wait_for_line("PUBLISH END: studio/three")
    assert not lines_since(server, mark, "Rejected request|refused")


@pytest.mark.parametrize(("user", "password"), [(USER, OTHER_PASSWORD), ("nobody", PASSWORD)])
def test_gstreamer_with_a_wrong_login_is_refused(server: AccessServer, user: str, password: str) -> None:
    mark = len(server.everything())
    assert gstreamer(server.port, "four", user, password).returncode
    wait_until(
        lambda: lines_since(
            server,
            mark,
            r"closed: connect refused: .*reason=(authfailed|nosuchuser) \(CHANNELS_FILE\) app=studio,",
        )
    )
    assert not lines_since(server, mark, "PUBLISH ")


def step(client: Client, query: str = "") -> str:
    """Connect as OBS does; return the description of the answer."""
    client.shake_hands()
    client.ask_connect(f"studio{query}", flashVer="FMLE/3.0 (compatible; FMSc/1.0)")
    return str(client.expect_command("_error")[-1]["description"])


def test_the_three_connections_as_obs_makes_them(on: Stage, server: AccessServer) -> None:
    source = "127.0.7.1"
    first = on.client(source=source)
    asked = step(first)
    assert "code=403 need auth" in asked
    assert "authmod=adobe" in asked
    # Before the first connection is gone, and though one address may have no second.
    second = on.client(source=source)
    challenged = step(second, f"?authmod=adobe&user={USER}")
    assert "code=403" not in challenged
    given = dict(pair.split("=", 1) for pair in challenged.partition("?")[2].split("&"))
    assert given["user"] == USER
    answer = response(USER, given["salt"], PASSWORD, given["opaque"], "AAECAw==")
    query = f"?authmod=adobe&user={USER}&challenge=AAECAw==&response={answer}&opaque={given['opaque']}"
    third = on.client(source=source)
    third.shake_hands()
    third.ask_connect(f"studio{query}", flashVer="FMLE/3.0 (compatible; FMSc/1.0)")
    third.expect_command("_result")
    third.ask_publish("obs", third.create_stream())
    third.expect_status("NetStream.Publish.Start")


def test_name_and_password_may_be_shown_as_they_are(on: Stage) -> None:
    client = on.client().connect("studio")
    client.ask_publish(f"plain?user={USER}&pass={PASSWORD}", client.create_stream())
    client.expect_status("NetStream.Publish.Start")
    wrong = on.client().connect("studio")
    wrong.ask_publish(f"plain2?user={USER}&pass={OTHER_PASSWORD}", wrong.create_stream())
    assert "none of the channel's" in wrong.expect_status("NetStream.Publish.BadName")["description"]


def test_channels_with_keys_ask_for_no_login(on: Stage) -> None:
    client = on.client()
    client.shake_hands()
    client.ask_connect("keys", flashVer="FMLE/3.0")
    client.expect_command("_result")
    client.ask_publish(f"one?key={OTHER_PASSWORD}", client.create_stream())
    client.expect_status("NetStream.Publish.Start")
    unknown = on.client().connect("unknown")
    unknown.ask_publish("one", unknown.create_stream())
    assert "has no users" in unknown.expect_status("NetStream.Publish.BadName")["description"]


def test_a_user_who_is_removed_is_ended(on: Stage, rules: Path) -> None:
    client = on.client().connect("studio")
    client.ask_publish(f"removed?user={USER}&pass={PASSWORD}", client.create_stream())
    client.expect_status("NetStream.Publish.Start")
    try:
        rules.write_text(RULES.replace(PASSWORD, OTHER_PASSWORD))
        client.expect_status("NetStream.Unpublish.Success", 5)
        client.expect_closed()
    finally:
        rules.write_text(RULES)
