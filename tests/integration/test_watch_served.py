"""The watch page of the real server, with a stream that comes in by RTMP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.browser import Browser
from tests.server_process import PROJECT, ServerProcess, environment, free_port
from tests.watched_clock import percentile, shown, stalls, watch

KEY = "key-of-the-watched"
PLAYED_S = 30.0
START_MS = 1500.0
LATE_MS = 400.0


@contextmanager
def publisher(server: ServerProcess, codec: str = "h264", audio: str = "aac") -> Iterator[None]:
    """Publish the clock, until the context is left; begins when the server has taken it."""
    since = server.mark()
    url = f"rtmp://127.0.0.1:{server.port}/live/{KEY}"
    command = [sys.executable, "-m", "tests.clock_publisher", url, "--codec", codec, "--audio", audio]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=PROJECT, env=environment({}))
    assert process.stdin is not None
    try:
        server.wait_for_line("publish accepted channel=live", since, timeout_s=20.0)
        yield
    finally:
        process.stdin.close()  # it ends with that
        process.wait(20)


def state(browser: Browser, wanted: str) -> None:
    browser.until(lambda: browser.run("return document.body.dataset.state") == wanted)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as made:
        made.expected = ["Failed to load resource"]  # refusals that a test provokes
        yield made


@pytest.fixture
def server(browser: Browser) -> Iterator[ServerProcess]:
    with ServerProcess(HTTP_PORT=str(free_port()), PLAY_ACCESS="key") as running:
        yield running
        browser.driver.get("about:blank")
        running.check_log()


def url_of(server: ServerProcess) -> str:
    """Return the page's address, as the log names it for its example."""
    (line,) = server.matching("Watch it in a browser: ")
    return line.rpartition(" ")[2].replace("?key=key", f"?key={KEY}")


@pytest.mark.alone
def test_it_plays_soon_and_close_to_live_and_goes_on_with_the_next_publisher(
    browser: Browser, server: ServerProcess
) -> None:
    with publisher(server):
        browser.driver.get(url_of(server))
        watch(browser)
        browser.until(lambda: browser.run("return window.shown.length > 0"))
        first = shown(browser)[0]
        assert first.at - browser.run("return performance.timeOrigin") < START_MS
        before = stalls(browser)
        until_s = first.media_s + PLAYED_S
        browser.until(
            lambda: browser.run("return window.shown.at(-1)[2] > arguments[0]", until_s), PLAYED_S * 2
        )
        assert percentile([one.late_ms for one in shown(browser)], 0.95) < LATE_MS
        assert stalls(browser) == before
    state(browser, "offline")
    with publisher(server, "av1", "opus"):
        state(browser, "live")
    assert not any(KEY in line for line in server.everything())


def test_a_codec_that_the_browser_cannot_play_is_named(browser: Browser, server: ServerProcess) -> None:
    with publisher(server, "hevc"):
        browser.driver.get(url_of(server))
        browser.shows("#sentence", "The picture is HEVC (H.265), which this browser cannot play.")


def test_a_key_is_asked_for(browser: Browser, server: ServerProcess) -> None:
    with publisher(server, audio="none"):
        browser.driver.get(url_of(server).partition("?")[0])
        state(browser, "key")
        browser.one("#key").send_keys(KEY, "\ue007")
        state(browser, "live")
