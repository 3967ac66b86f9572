"""The watch page of the real server, with a stream that comes in by RTMP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from gevent.pywsgi import WSGIServer

from tests.browser import Browser
from tests.doubles.pairs import issue
from tests.media_files import system_tool
from tests.server_process import PROJECT, ServerProcess, environment, free_port
from tests.watched_clock import shown, watch

KEY = "key-of-the-watched"
PLAYED_S = 2.0
VIDEO = "document.getElementById('video')"


@contextmanager
def publisher(server: ServerProcess, codec: str = "h264", audio: str = "aac") -> Iterator[None]:
    """Publish the clock, until the context is left; begins when the server has taken it."""
    since = server.mark()
    url = f"rtmp://127.0.0.1:{server.port}/live/{KEY}"
    command = [sys.executable, "-m", "tests.clock_publisher", url, "--codec", codec, "--audio", audio]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=PROJECT, env=environment({}))
    assert process.stdin is not None
    try:
        server.wait_for_line("publish accepted channel=live", since, timeout_s=60.0)
        yield
    finally:
        process.stdin.close()  # it ends with that
        process.wait(20)


@contextmanager
def sorenson(server: ServerProcess, audio: str) -> Iterator[None]:
    """Publish a picture of old FLV, which is in no MP4, with a sound."""
    since = server.mark()
    video = "testsrc2=size=160x120:rate=15"
    command = [
        system_tool("ffmpeg"), "-v", "error", "-re", "-f", "lavfi", "-i", video,
        "-f", "lavfi", "-i", "sine=440", "-t", "60", "-c:v", "flv", "-c:a", audio,
        "-ar", "44100", "-f", "flv",
        f"rtmp://127.0.0.1:{server.port}/live/{KEY}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server.wait_for_line("publish accepted channel=live", since, timeout_s=60.0)
        yield
    finally:
        process.terminate()
        process.wait(20)


def state(browser: Browser, wanted: str) -> None:
    browser.until(lambda: browser.run("return document.body.dataset.state") == wanted)


def moves(browser: Browser) -> None:
    """Wait until time goes on."""
    at = browser.run(f"return {VIDEO}.currentTime")
    browser.until(lambda: browser.run(f"return {VIDEO}.currentTime") > at + 0.5)


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with Browser() as made:
        made.expected = ["Failed to load resource"]  # refusals that a test provokes
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(
        HTTP_PORT=str(free_port()), PLAY_ACCESS="key", CONCURRENT_LIMIT_WHITELIST="127.0.0.1"
    ) as running:
        yield running
        running.check_log()
        assert not any(KEY in line for line in running.everything())


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    yield window
    errors = window.errors()
    window.driver.get("about:blank")
    window.errors()
    assert errors == []


def url_of(server: ServerProcess) -> str:
    """Return the page's address, as the log names it for its example."""
    (line,) = server.matching("Watch it in a browser")
    return line.rpartition(" ")[2].replace("?key=key", f"?key={KEY}")


def test_it_plays_and_goes_on_with_the_next_publisher(browser: Browser, server: ServerProcess) -> None:
    with publisher(server):
        browser.driver.get(url_of(server))
        watch(browser)
        browser.until(lambda: browser.run("return window.shown.length > 0"))
        until_s = shown(browser)[0].media_s + PLAYED_S
        browser.until(lambda: browser.run("return window.shown.at(-1)[2] > arguments[0]", until_s))
        made = [one.made for one in shown(browser)]
        assert made == sorted(made)
        state(browser, "live")
        assert KEY not in browser.driver.current_url
    state(browser, "offline")
    with publisher(server, "av1", "opus"):
        state(browser, "live")
        moves(browser)


def test_it_plays_by_https(browser: Browser, tmp_path: Path) -> None:
    issued = issue()
    (tmp_path / "chain.pem").write_bytes(issued.chain)
    (tmp_path / "key.pem").write_bytes(issued.key)
    with (
        ServerProcess(
            HTTP_PORT=str(free_port()),
            HTTP_TLS="YES",
            SSL_PORT=str(free_port()),
            SSL_CERT=str(tmp_path / "chain.pem"),
            SSL_KEY=str(tmp_path / "key.pem"),
        ) as server,
        publisher(server),
    ):
        server.wait_for_line(r"\[SERVER:HTTPS?\] \[INFO\] Listening on ", timeout_s=20.0)
        assert url_of(server).startswith("https://")
        browser.driver.get(url_of(server))
        state(browser, "live")
        moves(browser)
        assert browser.run("return document.getElementById('link-page').value").startswith("https://")
        browser.driver.get("about:blank")


def test_hls_plays_in_the_same_page(browser: Browser, server: ServerProcess) -> None:
    with publisher(server):
        browser.driver.get(f"{url_of(server)}&hls")
        state(browser, "live")
        moves(browser)
        asked = browser.run("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert not any(".mp4" in one for one in asked)


def test_a_page_of_another_site_embeds_it(browser: Browser, server: ServerProcess) -> None:
    frame = f'<!doctype html><iframe src="{url_of(server)}&embed" width="640" height="360"></iframe>'

    def answer(_environ: object, start: object) -> list[bytes]:
        assert callable(start)
        start("200 OK", [("Content-Type", "text/html")])
        return [frame.encode()]

    listener = gevent.socket.create_server(("127.0.0.1", free_port()))
    site = WSGIServer(listener, answer, log=None)
    site.start()
    try:
        with publisher(server):
            browser.driver.get(f"http://localhost:{site.server_port}/")
            browser.driver.switch_to.frame(browser.one("iframe"))
            state(browser, "live")
            moves(browser)
            assert not browser.one("header").is_displayed()
    finally:
        browser.driver.switch_to.default_content()
        site.stop()


def test_a_codec_that_the_browser_cannot_play_is_named(browser: Browser, server: ServerProcess) -> None:
    with publisher(server, "hevc"):
        browser.driver.get(url_of(server))
        state(browser, "codec")
        browser.shows("#sentence", "The picture is HEVC (H.265), which this browser cannot play.")


def test_old_codecs_are_no_silence_and_no_darkness(browser: Browser, server: ServerProcess) -> None:
    with sorenson(server, "libmp3lame"):
        browser.driver.get(url_of(server))
        state(browser, "codec")
        browser.shows("#sentence", "The sound is MP3, which this browser cannot play.")
        asked = browser.run("return performance.getEntriesByType('resource').map((one) => one.name)")
        # By the page, by the video of the page; and by both where it was another's codec at that moment.
        assert sum("index.m3u8" in one for one in asked) <= 4
    with sorenson(server, "aac"):
        browser.driver.get(url_of(server))
        state(browser, "live")
        browser.shows("#title", "Sound only")
        browser.shows("#sentence", "No picture comes that a browser could play.")


def test_a_name_that_no_channel_can_have_is_no_question_of_a_key(
    browser: Browser, server: ServerProcess
) -> None:
    browser.driver.get(url_of(server).partition("?")[0] + "%21")
    state(browser, "name")
    browser.shows("#sentence", "A channel cannot have this name. Only letters, digits, - and _ are allowed")
    assert not browser.one("#key-form").is_displayed()
    assert browser.too_faint() == []


def test_a_key_is_asked_for(browser: Browser, server: ServerProcess) -> None:
    with publisher(server, audio="none"):
        browser.driver.get(url_of(server).partition("?")[0])
        state(browser, "key")
        browser.one("#key").send_keys(KEY, "\ue007")
        state(browser, "live")
