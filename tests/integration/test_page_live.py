"""The page over a real server: encoder and players appear, are stopped and kept away; logins; odd names."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.access_run import AccessServer, Encoder, refusal
from tests.browser import Browser
from tests.client import stage
from tests.doubles.secrets import KEY
from tests.media_files import system_tool
from tests.server_process import free_port
from tests.succession_process import Family

SOON_S = 2.0  # from the server's line in the log to the page
ODD_NAME = "<img src=x onerror=harmed=1 x='&quot;`"
LOGIN = ("anna", "a-password-Lq7")


@contextmanager
def watched(**settings: str) -> Iterator[tuple[AccessServer, str]]:
    """Run a server with its page; yield it, and the page's address."""
    port = free_port()
    with AccessServer(API_PORT=str(port), **settings) as server:
        yield server, f"http://127.0.0.1:{port}/"


@contextmanager
def watching(server: AccessServer, channel: str, count: int) -> Iterator[None]:
    """Let so many ffmpegs watch a channel."""
    url = f"rtmp://127.0.0.1:{server.port}/{channel}/{KEY}"
    command = [
        system_tool("ffmpeg"),
        *("-v", "quiet", "-nostdin", "-i", url, "-c", "copy", "-f", "null", "-"),
    ]
    players = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for one in players:
            one.kill()
            one.wait(10)


@pytest.mark.alone  # measures times
def test_an_encoder_and_its_players_appear_soon_and_the_chart_moves() -> None:
    with watched() as (server, url), Browser() as browser:
        browser.driver.get(url)
        browser.shows("#view-welcome .card code", f"rtmp://127.0.0.1:{server.port}/my-channel")
        with Encoder(server.port, "studio"):
            server.wait_for_line(r"PUBLISH.*studio|publish.*studio", timeout_s=15)
            published = monotonic()
            browser.shows("#channels .title", "studio")
            assert monotonic() - published < SOON_S
            mark = server.mark()
            with watching(server, "studio", 2):
                server.wait_for_line(r"(?i)\bplay\b", since=mark, count=2, timeout_s=15)
                joined = monotonic()
                browser.shows("#channels .row", "2 viewers")
                assert monotonic() - joined < SOON_S
                browser.shows("#channels .row", "H264 160", "b/s")
                line = "return document.querySelector('#channels .spark .line').getAttribute('d')"
                first = browser.run(line)
                browser.until(lambda: browser.run(line) not in ("", first))
                browser.run("location.hash = 'channel=studio'")
                browser.until(lambda: len(browser.texts("#view-channel .rows > .player-row")) == 2)
                browser.shows("[aria-label=Publisher] .facts", "127.0.0.1", "RTMP")
                assert KEY not in browser.run("return document.documentElement.outerHTML")
            browser.until(lambda: browser.texts("#view-channel .rows > .player-row") == [])
        browser.run("location.hash = 'events'")
        browser.shows("#events .row", "studio", "Publisher left")


def test_a_publisher_that_is_stopped_and_blocked_is_refused_and_the_page_tells_it() -> None:
    with watched() as (server, url), Browser() as browser, stage(server.port) as on:
        with Encoder(server.port, "studio") as encoder:
            browser.driver.get(f"{url}#channel=studio")
            browser.shows("#view-channel [aria-label=Publisher] .facts", "127.0.0.1")
            browser.one("#stop-channel").click()
            browser.run("document.querySelector('#block').value = '60'")
            browser.one("#reason").send_keys("too loud")
            browser.one("#confirm-yes").click()
            browser.shows("#toast", "studio was stopped")
            code, _ = encoder.ended()
            assert code != 0
        server.wait_for_line("too loud")
        assert refusal(on, "studio")
        assert refusal(on, "studio")
        browser.run("location.hash = 'events'")
        browser.shows("#events .row", "studio", "Refused")
        browser.shows("#events .row", "studio", "too loud")


def test_a_channel_whose_name_is_markup_harms_nothing() -> None:
    with (
        watched(ID_ALLOW_SPECIAL_CHARACTERS="YES") as (server, url),
        Browser() as browser,
        stage(server.port) as on,
    ):
        browser.driver.get(url)
        publisher = on.publisher(ODD_NAME, KEY)
        browser.shows("#channels .title", ODD_NAME)
        browser.run("location.hash = 'channel=' + encodeURIComponent(arguments[0])", ODD_NAME)
        browser.shows("#channel-name", ODD_NAME)
        browser.shows("#view-channel .facts", "127.0.0.1")
        browser.one("#stop-channel").click()
        browser.shows("#confirm-title", ODD_NAME)
        browser.one("#confirm-yes").click()
        publisher.expect_closed()
        browser.run("location.hash = 'events'")
        browser.shows("#events .row", ODD_NAME)
        assert browser.run("return document.querySelectorAll('main img').length") == 0
        assert browser.run("return typeof harmed") == "undefined"


def test_a_login_is_enough_for_everything_the_page_does() -> None:
    with (
        watched(API_USERS=":".join(LOGIN)) as (server, url),
        Browser() as browser,
        stage(server.port) as on,
    ):
        with pytest.raises(HTTPError) as refused, urlopen(url, timeout=10):
            pass
        assert refused.value.code == 401
        assert 'Basic realm="rtmpsrv"' in str(refused.value.headers["WWW-Authenticate"])  # a browser asks
        refused.value.close()
        browser.driver.get(url.replace("//", "//{}:{}@".format(*LOGIN)))
        publisher = on.publisher("studio", KEY)
        browser.shows("#channels .title", "studio")
        browser.run("location.hash = 'channel=studio'")
        browser.shows("#view-channel .facts", "127.0.0.1")
        browser.one("#stop-channel").click()
        browser.one("#confirm-yes").click()
        publisher.expect_closed()
        browser.shows("#toast", "studio was stopped")
        assert not [line for line in server.everything() if LOGIN[1] in line]


@pytest.mark.parametrize("workers", ["1", "2"], ids=["one process", "two workers"])
def test_a_page_that_is_open_sees_the_next_process_and_all_workers(workers: str) -> None:
    port = free_port()
    with (
        Family(API_PORT=str(port), WORKERS=workers, CONCURRENT_LIMIT_WHITELIST="*") as family,
        Browser() as browser,
        stage(family.port) as on,
    ):
        browser.expected = ["ERR_"]
        browser.driver.get(f"http://127.0.0.1:{port}/")
        browser.shows("#link", "Live")
        names = [f"studio-{number}" for number in range(4)]
        publishers = [on.publisher(name, KEY) for name in names]
        browser.until(lambda: sorted(browser.texts("#channels .title")) == names)
        browser.run("window.same = true")
        if workers == "1":
            family.succeed()
        else:
            family.reload()
        later = on.publisher("studio-later", KEY)
        browser.until(lambda: sorted(browser.texts("#channels .title")) == [*names, "studio-later"])
        browser.shows("#link", "Live")
        assert browser.run("return window.same")
        assert not browser.one("#notice").is_displayed()
        for publisher in (*publishers, later):
            publisher.fence()
