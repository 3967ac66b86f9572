"""The watch page in a browser: what it plays, how late, and what it says when there is nothing to play."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser import NARROW, WIDE, Browser
from tests.watch_stage import HLS, WatchStage
from tests.watched_clock import shown, watch

PLAYED_S = 4.0
REFUSED = "Failed to load resource"  # what a browser notes of each answer that is no 200

NOTE_GIVEN_UP = """
const ask = window.fetch;
window.fetch = (path, how) => {
  how.signal.addEventListener("abort", () => (sessionStorage.givenUp = path));
  return ask(path, how);
};
"""


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    """One browser for all tests of this file: a start takes seconds."""
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    with window.for_a_test():
        yield window


@pytest.fixture
def stage(browser: Browser) -> Iterator[WatchStage]:
    with WatchStage() as made:
        yield made
        browser.driver.get("about:blank")  # else the page notes that its server goes


@pytest.fixture
def keyed(browser: Browser) -> Iterator[WatchStage]:
    with WatchStage(key="s3cret") as made:
        yield made
        browser.driver.get("about:blank")


def opened(browser: Browser, stage: WatchStage, channel: str = "live", query: str = "") -> None:
    browser.driver.get("about:blank")
    browser.driver.get(stage.url(channel, query))


def state(browser: Browser, wanted: str) -> None:
    """Wait until the page says so."""
    browser.until(lambda: browser.run("return document.body.dataset.state") == wanted)


def moves(browser: Browser) -> None:
    """Wait until time goes on."""
    at = browser.run("return document.getElementById('video').currentTime")
    browser.until(lambda: browser.run("return document.getElementById('video').currentTime") > at + 0.5)


def is_muted(browser: Browser) -> bool:
    return bool(browser.run("return document.getElementById('video').muted"))


def look_again(browser: Browser) -> None:
    """Let the list look without waiting for its time."""
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")


def behind(browser: Browser) -> float:
    """Return how many seconds lie between what is played and the newest that came."""
    return float(
        browser.run(
            "const video = document.getElementById('video');"
            "const { buffered, currentTime } = video;"
            "return buffered.length === 0 ? 0 : buffered.end(buffered.length - 1) - currentTime"
        )
    )


def evaluated(browser: Browser, module: str, script: str) -> Any:
    """Return what a script returns that has a module of the page as `m`."""
    return browser.driver.execute_async_script(
        f"const done = arguments[arguments.length - 1];"
        f"import('/static/{module}').then((m) => {{ {script} }}).then(done, (error) => done(String(error)))"
    )


def test_it_plays_what_is_published_now_and_says_how_late_it_is(browser: Browser, stage: WatchStage) -> None:
    stage.publish()
    opened(browser, stage)
    watch(browser)
    state(browser, "live")
    browser.until(lambda: browser.run("return window.shown.length > 0"))
    until_s = shown(browser)[0].media_s + PLAYED_S
    browser.until(lambda: browser.run("return window.shown.at(-1)[2] > arguments[0]", until_s))
    made = [one.made for one in shown(browser)]
    assert made == sorted(made)  # no picture after a later one
    assert made[-1] > made[0]
    browser.until(lambda: not browser.one("#message").is_displayed())
    assert browser.shows("#delay", "Live,", "behind")


def test_there_is_no_sound_before_a_click_and_then_there_is(browser: Browser, stage: WatchStage) -> None:
    stage.publish()
    opened(browser, stage)
    state(browser, "live")
    browser.until(browser.one("#sound").is_displayed)
    assert is_muted(browser)
    stage.unpublish()
    state(browser, "offline")
    assert not browser.one("#sound").is_displayed()
    stage.publish()
    state(browser, "live")
    browser.one("#sound").click()
    browser.until(lambda: not is_muted(browser))
    moves(browser)
    browser.until(lambda: not browser.one("#sound").is_displayed())
    opened(browser, stage, query="?muted")
    state(browser, "live")
    assert is_muted(browser)
    assert not browser.one("#sound").is_displayed()


def test_it_waits_for_a_publisher_and_starts_by_itself_each_time(browser: Browser, stage: WatchStage) -> None:
    opened(browser, stage)
    state(browser, "offline")
    browser.shows("#sentence", "Nobody is broadcasting here right now. It starts by itself.")
    stage.publish()
    state(browser, "live")
    assert not browser.one("#message").is_displayed()
    stage.unpublish()
    state(browser, "offline")
    assert browser.run("return document.getElementById('video').readyState") >= 2  # the last picture stays
    stage.publish("vp9", "opus")  # whatever it is now
    state(browser, "live")
    moves(browser)
    browser.until(lambda: not browser.one("#still").is_displayed())


def test_a_page_that_is_left_waits_no_more_and_does_again_when_one_goes_back(
    browser: Browser, stage: WatchStage
) -> None:
    # The browser keeps the page with all it has asked for; what is given up by then is noted in the tab.
    note = {"source": NOTE_GIVEN_UP}
    script = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", note)
    try:
        opened(browser, stage)
        browser.until(lambda: stage.asked["/live.mp4"] == 1)
        browser.driver.get(stage.url("other"))
        browser.until(lambda: browser.run("return sessionStorage.givenUp") == "/live.mp4")
        browser.driver.back()
        browser.until(lambda: stage.asked["/live.mp4"] == 2)
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.parametrize(
    ("status", "sentence", "wanted", "shown"),
    [
        ("503 Unavailable", "Nobody publishes this channel.\n", "offline", "Nobody is broadcasting here"),
        ("503 Unavailable", "The channel is full (5)\n", "busy", "no room for one more"),
        ("503 Unavailable", "There is nothing yet.\n", "connecting", ""),
        ("502 Bad Gateway", "", "lost", "does not answer"),
        ("403 Forbidden", "Your address may not play", "denied", "Your address may not play"),
        ("403 Forbidden", "Invalid channel name: it is empty", "name", "cannot have this name. It is empty."),
        ("415 Unsupported", "the codec VVC is in no MP4", "codec", "The codec VVC is in no MP4."),
    ],
)
def test_a_refusal_is_told_in_words_and_most_are_no_end(
    browser: Browser, stage: WatchStage, status: str, sentence: str, wanted: str, shown: str
) -> None:
    browser.expected = [REFUSED]
    stage.refusal = (status, sentence)
    opened(browser, stage)
    asks_again = status.startswith("50")
    browser.until(lambda: stage.asked["/live.mp4"] == (2 if asks_again else 1))  # those before were told
    state(browser, wanted)
    browser.shows("#sentence", shown)
    if asks_again:
        stage.refusal = None
        browser.until(lambda: stage.asked["/live.mp4"] > 2)  # and waits for a publisher


def test_it_goes_on_when_the_server_was_away(browser: Browser, stage: WatchStage) -> None:
    browser.expected = [REFUSED, "ERR_"]
    stage.publish()
    opened(browser, stage)
    state(browser, "live")
    stage.away()
    state(browser, "lost")
    browser.shows("#title", "No connection")
    stage.back()
    state(browser, "live")
    moves(browser)


def test_av1_plays(browser: Browser, stage: WatchStage) -> None:
    stage.publish("av1", "opus")
    opened(browser, stage)
    state(browser, "live")
    moves(browser)


def test_a_codec_that_the_browser_cannot_play_is_named(browser: Browser, stage: WatchStage) -> None:
    stage.publish("hevc", "aac")
    opened(browser, stage)
    state(browser, "codec")
    browser.shows("#sentence", "The picture is HEVC (H.265), which this browser cannot play.")
    assert browser.one("#sound-only").is_displayed()
    browser.one("#sound-only").click()
    browser.until(lambda: any("video=no" in one for one in stage.queries))


def test_a_picture_is_played_without_a_sound_that_cannot_be(browser: Browser, stage: WatchStage) -> None:
    stage.publish("h264", "mp3", silent=True)
    opened(browser, stage)
    state(browser, "live")
    moves(browser)
    browser.shows("#note", "The sound is MP3, which this browser cannot play. Picture only.")
    assert not browser.one("#sound").is_displayed()  # there is none to be had by a click
    stage.unpublish()
    state(browser, "offline")


def test_what_the_browsers_own_hls_cannot_play_either_is_asked_for_once(
    browser: Browser, stage: WatchStage
) -> None:
    browser.expected = [REFUSED]
    stage.canned = {
        "/live.mp4": ('audio/mp4; codecs="mp3"', b"?"),
        "/live/index.m3u8": (HLS, b'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp3"\nl.m3u8?s=00aa\n'),
        "/live/l.m3u8": (HLS, b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n1.mp3\n#EXTINF:2,\n2.mp3\n"),
        "/live/1.mp3": ("audio/mpeg", b"no sound at all"),
    }
    opened(browser, stage)
    state(browser, "codec")
    browser.shows("#sentence", "The sound is MP3, which this browser cannot play.")
    assert stage.asked["/live/index.m3u8"] <= 2  # by the page, and by the video
    assert "ll=no&s=00aa" in stage.queries  # which are one viewer


def test_hls_plays_in_the_same_page(browser: Browser, stage: WatchStage) -> None:
    browser.expected = [REFUSED]  # no playlist yet
    stage.publish(hls=True)
    opened(browser, stage, query="?hls")
    state(browser, "live")
    moves(browser)
    assert stage.asked["/live.mp4"] == 0


def test_a_key_is_asked_for_and_leaves_no_trace(browser: Browser, keyed: WatchStage) -> None:
    browser.expected = [REFUSED]
    keyed.publish()
    browser.resize(NARROW)
    opened(browser, keyed)
    state(browser, "key")
    browser.shows("#title", "A key is needed")
    assert browser.cut_off("#message") == []
    browser.resize(WIDE)
    browser.one("#key").send_keys("wrong", Keys.ENTER)
    browser.shows("#title", "The key does not fit")
    browser.one("#key").send_keys("s3cret", Keys.ENTER)
    state(browser, "live")
    assert browser.driver.current_url == keyed.url()
    links = browser.run("return [...document.querySelectorAll('#links input')].map((one) => one.value)")
    assert len(links) == 4
    assert not any("s3cret" in one for one in links)
    browser.driver.refresh()  # the tab remembers it
    state(browser, "live")


def test_a_key_in_the_address_is_used_and_taken_out_of_it(browser: Browser, keyed: WatchStage) -> None:
    keyed.publish()
    opened(browser, keyed, query="?key=s3cret&embed")
    state(browser, "live")
    assert browser.driver.current_url == keyed.url(query="?embed")
    assert not browser.one("header").is_displayed()


def test_keys_of_the_keyboard(browser: Browser, stage: WatchStage) -> None:
    stage.publish()
    opened(browser, stage)
    state(browser, "live")
    was_muted = is_muted(browser)
    browser.press("m")
    assert is_muted(browser) is not was_muted
    browser.press("k")
    browser.until(lambda: browser.run("return document.getElementById('video').paused"))
    browser.until(lambda: browser.one("#play").get_attribute("aria-label") == "Play")
    browser.until(lambda: behind(browser) > 1.5)
    browser.press(" ")
    moves(browser)
    browser.until(lambda: behind(browser) < 1)
    browser.press("?")
    browser.shows("#help h2", "Keys")
    browser.press(Keys.ESCAPE)
    browser.one("#share").click()
    links = browser.run("return [...document.querySelectorAll('#links input')].map((one) => one.value)")
    browser.shows("#only-here", "These work on this machine alone")
    assert links[:3] == [stage.url(), stage.url("live.flv"), stage.url("live/index.m3u8")]
    assert f'<iframe src="{stage.url()}?embed"' in links[3]
    browser.press(Keys.ESCAPE)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_it_is_readable_for_all(
    browser: Browser, stage: WatchStage, dark: bool, size: tuple[int, int]
) -> None:
    browser.resize(size)
    browser.scheme(dark=dark)
    opened(browser, stage, "a-channel-with-a-name-that-is-longer-than-phones-are-wide-by-far")
    state(browser, "offline")
    assert browser.overflow() <= 0
    assert browser.too_faint() == []
    assert browser.nameless() == []


def test_what_is_on_the_air_is_listed(browser: Browser, stage: WatchStage) -> None:
    browser.expected = [REFUSED]  # pictures that the stage has none of
    opened(browser, stage, "")
    browser.shows("#empty-title", "Channels are not listed here")
    stage.listed = []
    look_again(browser)
    browser.shows("#empty-title", "Nothing is live")
    stage.listed = ["live/<b>two", "one"]
    look_again(browser)
    browser.until(lambda: browser.texts("#channels .title") == ["live/<b>two", "one"])
    links = browser.run(
        "return [...document.querySelectorAll('#channels a')].map((one) => one.getAttribute('href'))"
    )
    assert links == ["/live/%3Cb%3Etwo", "/one"]
    assert browser.too_faint() == []
    assert browser.nameless() == []
    browser.resize(NARROW)
    assert browser.overflow() <= 0
    assert browser.cut_off("h1, #go") == []
    assert browser.nameless() == []
    browser.one("#channel").send_keys("my channel", Keys.ENTER)
    browser.until(lambda: browser.driver.current_url == stage.url("my%20channel"))
    browser.shows("#name", "my channel")


def test_the_pace_keeps_to_its_target_and_learns_from_stalls(browser: Browser, stage: WatchStage) -> None:
    opened(browser, stage)
    steps = evaluated(
        browser,
        "pace.js",
        """
        const pace = new m.Pace(0);
        const lags = [0.15, 0.19, 0.25, 0.19, 0.16, 0.14, 0.19, 0.4, 0.15, 0.05, 0.14, 0.16];
        const rates = lags.map((lag) => pace.at(lag, 1).rate);
        const jumps = [1.6, 1.7].map((lag) => pace.at(lag, 1).jump);
        pace.stalled(2);
        const raised = pace.targetS;
        for (let i = 0; i < 100; i += 1) pace.stalled(2);
        const most = pace.targetS;
        pace.at(1, 60003);
        const after = pace.targetS;
        for (let i = 2; i < 200; i += 1) pace.at(1, 60003 * i);
        return { rates, jumps, raised, most, after, least: pace.targetS };
        """,
    )
    assert steps["rates"] == [1, 1, 1.05, 1.05, 1.05, 1, 1, 1.1, 1, 0.95, 0.95, 1]
    assert steps["jumps"] == [False, True]
    assert [round(steps[name], 3) for name in ("raised", "most", "after", "least")] == [0.2, 1, 0.99, 0.1]


def test_holes_are_stepped_over(browser: Browser, stage: WatchStage) -> None:
    opened(browser, stage)
    places = evaluated(
        browser,
        "pace.js",
        """
        const two = [[2, 4], [4.5, 6]];
        return [m.placeToPlay([], 0, true), m.placeToPlay(two, 0, false), m.placeToPlay(two, 3, true),
          m.placeToPlay(two, 3.95, false), m.placeToPlay(two, 3.95, true), m.placeToPlay(two, 4.2, false),
          m.placeToPlay(two, 5.95, true), m.placeToPlay(two, 7, true)];
        """,
    )
    assert places == [None, 2, None, None, 4.5, 4.5, None, None]


def test_states_and_codecs_have_words(browser: Browser, stage: WatchStage) -> None:
    opened(browser, stage)
    words = evaluated(
        browser,
        "words.js",
        """
        return [
          m.cannotPlay(["hvc1.1.6.L93.B0", "ac-3"]),
          m.codecName("mp4a.40.34"),
          m.codecName("mp4a.40.2"),
          m.codecName("xyz1"),
          m.codecsOf('video/mp4; codecs="avc1.64001f, mp4a.40.2"'),
          m.codecsOf("text/plain"),
          m.inWords("busy")[0],
          m.inWords("codec", { sentence: "x".repeat(999) })[1].length,
          m.delayInWords(12.4),
          m.inWords("codec", { sentence: "H263 and SPEEX cannot be in MP4" })[1],
        ];
        """,
    )
    assert words == [
        "The picture is HEVC (H.265) and the sound is AC-3, which this browser cannot play.",
        "MP3",
        "AAC",
        "xyz1",
        ["avc1.64001f", "mp4a.40.2"],
        [],
        "Please wait",
        200,
        "12 s",
        "The stream is H263 and SPEEX, which no browser plays.",
    ]
