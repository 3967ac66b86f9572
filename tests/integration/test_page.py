"""The page in a browser, over facts that the tests make: what it shows, keys, colours, names, crowds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from rtmpsrv.monitor.values import ChannelValue
from rtmpsrv.web import poller
from rtmpsrv.web.poller import LISTENERS
from tests.browser import NARROW, WIDE, Browser
from tests.doubles.monitor_source import HTML_NAME, FakeSource, crowd
from tests.doubles.monitor_values import event, on_air, player, process
from tests.page_stage import PageStage

UNKNOWN = "\N{EN DASH}"
MOST_ROWS = 60  # in the document, whatever there is
SIZES = [NARROW, (390, 844), (768, 1024), WIDE]
VIEWS = {
    "list": ("", "#channels .row", "live/bad"),
    "channel": ("#channel=live%2Fbad", "#view-channel .player-row", "198.51.100.1"),
    "events": ("#events", "#events .row", "Refused"),
}


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
def stage() -> Iterator[PageStage]:
    with PageStage(FakeSource()) as made:
        yield made


def channel_of(stage: PageStage, name: str) -> ChannelValue:
    return next(one for one in stage.source.values_of_channels if one["name"] == name)


def go(browser: Browser, stage: PageStage, view: str = "list") -> None:
    where, selector, text = VIEWS[view]
    browser.driver.get("about:blank")
    browser.driver.get(stage.url + where)
    if view == "channel":
        browser.shows("#channel-name", "live/bad")
        browser.scroll("[aria-label=Players]")
    browser.shows(selector, text)


def test_a_newcomer_is_told_how_to_publish(browser: Browser) -> None:
    with PageStage(FakeSource([], [], [])) as stage:
        browser.driver.get(stage.url)
        browser.shows("#view-welcome h1", "Nothing is live yet")
        assert browser.texts(".card code")[:2] == [
            "rtmp://127.0.0.1/my-channel",
            "ffmpeg -re -i film.mp4 -c copy -f flv rtmp://127.0.0.1/my-channel/my-secret-key",
        ]
        stage.source.values_of_channels.append(on_air("live/first"))
        browser.shows("#channels .title", "live/first")
        assert not browser.one("#view-welcome").is_displayed()


def test_a_newcomer_in_the_other_layout_is_told_its_form_and_port(browser: Browser) -> None:
    other = process()
    other["listeners"][0]["port"] = 1936
    with PageStage(FakeSource([], [], [], [other]), "app-stream") as stage:
        browser.driver.get(stage.url)
        browser.shows(".card code", "rtmp://127.0.0.1:1936/live")
        assert "my-channel" in browser.texts(".card code")


def test_the_list_has_verdict_name_rate_and_viewers_of_each_the_worst_first(
    browser: Browser, stage: PageStage
) -> None:
    go(browser, stage)
    names = browser.texts("#channels .title")
    assert sorted(names) == sorted(one["name"] for one in stage.source.values_of_channels)
    assert names[:3] == ["live/suspended", "live/bad", "live/sound-only"]
    row = browser.shows("#channels .row", "live/good")
    assert all(
        piece in row for piece in ("Good", "4.50 Mb/s", "5 viewers", "H264 1920", "AAC 48 kHz", "10 min")
    )
    assert browser.shows("#channels .row", "live/bad", "Keyframes come every 12 s")
    assert browser.shows("#total-live") == str(sum(one["live"] for one in stage.source.values_of_channels))
    watched = [one["players"] for one in stage.source.values_of_channels if one["live"] or one["suspended"]]
    assert browser.shows("#total-viewers") == str(sum(watched))


def test_a_rate_of_the_server_that_is_not_known_yet_is_a_dash(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "EVERY_S", 600.0)  # the first look is the only one
    with PageStage(FakeSource()) as stage:
        go(browser, stage)
        assert browser.texts("#total-in, #total-out") == [UNKNOWN, UNKNOWN]
        monkeypatch.undo()
        stage.poller.close()  # the page comes again by itself
        browser.until(lambda: browser.texts("#total-in, #total-out") == ["0 b/s", "0 b/s"])


def test_a_stream_that_fell_off_is_the_worst_and_says_so(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    browser.shows(
        "#channels .row", "Fell off", "live/suspended", "wait for it to come back. 49 min", "waits 50 min"
    )
    browser.one("#verdicts [data-state=suspended]").click()
    browser.until(lambda: browser.texts("#channels .title") == ["live/suspended"])
    browser.run("location.hash = 'channel=live%2Fsuspended'")
    browser.shows(".state", "Waits 49 min", "more for its publisher to come back")
    browser.scroll("[aria-label=Players]")
    browser.shows("#view-channel .player-row .plays", "waits")


def test_players_of_nobody_are_no_viewers_and_there_is_nothing_to_stop(
    browser: Browser, stage: PageStage
) -> None:
    go(browser, stage)
    browser.one("#filter").send_keys("live/waited", Keys.ENTER)
    row = browser.shows("#channels .rows > .row", "Off air", "1 player waits for somebody who does.")
    assert "viewer" not in row
    assert not browser.one("#channels .rows > .row button").is_displayed()
    browser.press("k")
    browser.shows("#toast", "Nobody publishes live/waited-for")
    assert not browser.one("#confirm").is_displayed()


def test_what_changes_is_seen_without_reloading(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    browser.run("window.same = true")
    channel_of(stage, "live/good")["players"] = 1234
    browser.shows("#channels .row", "live/good", "1,234 viewers")
    stage.source.values_of_channels.remove(channel_of(stage, "live/good"))
    browser.until(lambda: "live/good" not in browser.texts("#channels .title"))
    assert browser.run("return window.same")


def test_the_chart_moves(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    first = "return document.querySelectorAll('#channels .spark .line')[1].getAttribute('d')"
    before = browser.run(first)
    vitals = channel_of(stage, "live/bad")["vitals"]
    assert vitals is not None
    vitals = {**vitals, "bitrates": [*vitals["bitrates"][1:], 100]}
    channel_of(stage, "live/bad")["vitals"] = vitals
    browser.until(lambda: browser.run(first) != before)


def test_a_name_that_is_markup_is_only_text(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    browser.run("window.alert = () => { window.harmed = true; }")
    browser.shows("#channels .title", HTML_NAME)
    browser.run("location.hash = 'channel=' + encodeURIComponent(arguments[0])", HTML_NAME)
    browser.shows("#channel-name", HTML_NAME)
    browser.one("#stop-channel").click()
    browser.shows("#confirm-title", HTML_NAME)
    browser.one("#confirm-no").click()
    browser.run("location.hash = 'events'")
    browser.shows("#events .row", "<b>enough</b>")
    assert browser.run("return document.querySelectorAll('main img, main b:not(.chip b)').length") == 0
    assert not browser.run("return window.harmed")


def test_filter_verdicts_and_order_choose_what_is_shown(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    browser.one("#filter").send_keys("live OPUS")
    browser.until(lambda: browser.texts("#channels .title") == ["live/sound-only"])
    browser.one("#filter").clear()
    browser.one("#filter").send_keys("no such")
    browser.shows("#none-found", "No channel matches")
    browser.one("#show-all").click()
    browser.one("#verdicts [data-state=bad]").click()
    browser.until(lambda: browser.texts("#channels .title") == ["live/bad"])
    browser.one("#verdicts [data-state='']").click()
    browser.one("#channels .viewers .sort").click()
    browser.until(lambda: browser.texts("#channels .title")[0] == "live/good")
    browser.one("#channels .viewers .sort").click()
    browser.until(lambda: browser.texts("#channels .viewers span:first-child")[0] == "0")
    assert browser.one("#channels [aria-sort]").get_attribute("aria-sort") == "descending"


def test_one_channel_in_depth(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    row = next(
        one
        for one in browser.driver.find_elements("css selector", "#channels .row")
        if "live/bad" in one.text
    )
    row.click()
    browser.shows("#channel-name", "live/bad")
    browser.shows(".findings", "Keyframes come every 12 s", "announces sound")
    facts = browser.shows(".deep .facts", "6.00 Mb/s")
    assert all(piece in facts for piece in ("1.4 s behind", "5, last 12 s back", "80 % of real time"))
    browser.shows(".panel table", "H264 High 4.1", "17.0 fps of 30", "AAC LC")
    browser.scroll("[aria-label=Players]")
    browser.shows("#view-channel .player-row", "#2", "198.51.100.1", "RTMP", "5.3 s", "410 in 4 skips")
    browser.shows("[aria-label=Publisher] .facts", "192.0.2.10", "RTMPS", "FMLE/3.0")
    stage.source.values_of_events.append(event(7, "refused", channel="live/bad", reason="wrong key"))
    browser.scroll("#view-channel .panel:last-of-type")
    browser.shows("#view-channel .of-one", "Refused", "wrong key")
    browser.driver.back()
    browser.shows("#channels .row", "live/bad")


def test_a_channel_that_is_gone_is_said_to_be(browser: Browser, stage: PageStage) -> None:
    go(browser, stage, "channel")
    stage.source.values_of_channels.remove(channel_of(stage, "live/bad"))
    browser.shows("#view-channel .none", "not on the air")
    assert not browser.one("#stop-channel").is_displayed()


def test_the_keyboard_alone_is_enough(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    browser.press("?")
    browser.until(lambda: browser.one("#help").is_displayed())
    browser.press(Keys.ESCAPE)
    browser.until(lambda: not browser.one("#help").is_displayed())
    browser.press("/", *"live/bad", Keys.ENTER)
    browser.until(lambda: browser.focused() == "grid")
    browser.press(Keys.END, Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)
    browser.shows("#channel-name", "live/bad")
    assert browser.focused() == "channel-name"
    browser.press(Keys.ESCAPE)
    browser.until(lambda: browser.focused() == "grid")
    assert browser.one("#filter").get_attribute("value") == "live/bad"
    browser.press("k")
    browser.until(lambda: browser.focused() == "block")
    reached = set()
    for _ in range(8):
        browser.press(Keys.TAB)
        reached.add(browser.focused())
    assert {"block", "reason", "confirm-no", "confirm-yes"} <= reached
    assert reached <= {"block", "reason", "confirm-no", "confirm-yes", "confirm", "BODY"}
    browser.press(Keys.ESCAPE)
    browser.until(lambda: browser.focused() == "grid")
    assert stage.source.done == []
    browser.press("k")
    browser.until(lambda: browser.focused() == "block")
    browser.press(Keys.ARROW_DOWN, Keys.TAB, *"too loud", Keys.ENTER)
    browser.shows("#toast", "live/bad was stopped")
    publisher = channel_of(stage, "live/bad")["publisher"]
    assert stage.source.done == [("kick", publisher, 60.0, "too loud")]
    browser.press(Keys.ESCAPE)
    browser.until(lambda: browser.one("#filter").get_attribute("value") == "")


def test_keys_of_the_list_work_wherever_the_focus_is(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    selected = "#channels [aria-selected=true] .title"
    assert browser.focused() == "BODY"
    browser.press(Keys.ARROW_DOWN)
    browser.until(lambda: browser.texts(selected) == ["live/suspended"])
    browser.run("document.activeElement.blur()")
    browser.press(Keys.ARROW_DOWN)
    browser.until(lambda: browser.texts(selected) == ["live/bad"])
    browser.run("document.activeElement.blur()")
    browser.press("k")
    browser.shows("#confirm-title", "Stop live/bad?")
    browser.press(Keys.ESCAPE)
    browser.run("document.activeElement.blur()")
    browser.press(Keys.ENTER)
    browser.shows("#channel-name", "live/bad")
    browser.run("location.hash = 'events'")
    browser.shows("#events .row", "Refused")
    browser.press(Keys.END)
    browser.until(lambda: browser.focused() == "grid")


def test_beginnings_are_shown_when_they_are_wanted(browser: Browser, stage: PageStage) -> None:
    go(browser, stage, "events")
    what = "#events .rows .what"
    assert browser.texts(what) == ["Publisher left", "Disconnected", "Refused", "Viewer left"]
    browser.one("#kinds button:last-child").click()
    browser.until(lambda: browser.texts(what) == ["Joined", "Published"])


def test_a_block_is_seen_and_can_be_lifted(browser: Browser, stage: PageStage) -> None:
    go(browser, stage, "channel")
    assert not browser.one("#blocked").is_displayed()
    browser.one("#stop-channel").click()
    browser.press(Keys.ARROW_DOWN, Keys.ENTER)
    browser.one("#confirm-yes").click()
    browser.shows("#toast", "live/bad was stopped. Nobody may publish it until")
    browser.shows("#blocked", "Blocked until", "POST v3/channels/live%2Fbad/stop?block=0")
    assert browser.too_faint() == []
    stage.source.values_of_channels.remove(channel_of(stage, "live/bad"))
    browser.shows("#view-channel .none", "not on the air")
    browser.run("location.hash = ''")
    browser.shows("#blocks a", "live/bad")
    browser.one("#blocks a").click()
    browser.shows("#blocked", "Blocked until")
    browser.one("#lift-block").click()
    browser.shows("#toast", "live/bad may be published again.")
    assert stage.source.done[-1] == ("stop", "live/bad", 0.0, "")
    assert not browser.one("#blocked").is_displayed()


def test_a_player_is_disconnected_by_its_button(browser: Browser, stage: PageStage) -> None:
    go(browser, stage, "channel")
    readers = [one for one, _ in channel_of(stage, "live/bad")["readers"]]
    browser.one("#view-channel .player-row button:not(.sort)").click()
    browser.shows("#confirm-title", "Disconnect 198.51.100.1 (#2)?")
    browser.one("#confirm-yes").click()
    browser.shows("#toast", "198.51.100.1 (#2) was disconnected")
    assert stage.source.done == [("kick", readers[0], 0.0, "")]


def test_a_channel_is_recorded_and_no_more_by_its_button(browser: Browser, stage: PageStage) -> None:
    go(browser, stage, "channel")
    assert not browser.one("#records").is_displayed()
    browser.one("#record-channel").click()
    browser.shows("#records", "REC")
    browser.shows("[aria-label=Recording] .facts", "live/bad/now.mp4", "337 MB")
    assert browser.too_faint() == []
    browser.shows("#record-channel", "Stop recording")
    browser.one("#record-channel").click()
    browser.until(lambda: not browser.one("#records").is_displayed())
    assert [what for what, *_ in stage.source.done] == ["record", "record no more"]


def test_a_channel_that_waits_for_its_publisher_is_stopped_by_its_name(
    browser: Browser, stage: PageStage
) -> None:
    go(browser, stage)
    browser.run("location.hash = 'channel=live%2Fsuspended'")
    browser.shows("#channel-name", "live/suspended")
    browser.one("#stop-channel").click()
    browser.one("#confirm-yes").click()
    browser.until(lambda: stage.source.done)
    assert stage.source.done == [("stop", "live/suspended", None, "")]
    browser.expected = ["404"]  # nobody published it: the API says so, and the dialog too
    browser.press(Keys.ESCAPE)


def test_what_the_server_refuses_is_said_in_the_dialog(browser: Browser, stage: PageStage) -> None:
    browser.expected = ["404"]
    go(browser, stage)
    browser.run("location.hash = 'channel=live%2Fbad'")
    browser.shows("#view-channel .player-row", "198.51.100.1")
    browser.one("#view-channel .player-row button:not(.sort)").click()
    stage.source.values_of_connections.clear()
    browser.one("#confirm-yes").click()
    browser.until(lambda: browser.one("#confirm-fault").is_displayed())
    assert browser.one("#confirm").is_displayed()
    assert browser.one("#confirm-fault").text
    browser.press(Keys.ESCAPE)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=[str(width) for width, _ in SIZES])
def test_all_text_can_be_read_and_nothing_is_wider_than_the_window(
    browser: Browser, stage: PageStage, view: str, dark: bool, size: tuple[int, int]
) -> None:
    browser.resize(size)
    browser.scheme(dark=dark)
    stage.source.missing = ["w9"]  # so that there is a notice, too
    go(browser, stage, view)
    assert browser.too_faint() == []
    assert browser.overflow() <= 0
    assert browser.cut_off("main button") == []


@pytest.mark.parametrize("size", SIZES, ids=[str(width) for width, _ in SIZES])
def test_what_to_do_about_a_stream_can_be_read_in_the_list(
    browser: Browser, stage: PageStage, size: tuple[int, int]
) -> None:
    browser.resize(size)
    go(browser, stage)
    browser.shows("#channels .sentence", "Keyframes come every 12 s", "Streaming).")
    assert browser.cut_off("#channels .sentence") == browser.cut_off("#channels .uptime") == []
    row = browser.one("#channels .rows > .row .sentence").find_element("xpath", "ancestor::*[@role='row']")
    assert browser.run("return arguments[0].scrollHeight <= arguments[0].clientHeight", row)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_dialogs_and_the_empty_state_can_be_read(browser: Browser, stage: PageStage, dark: bool) -> None:
    browser.scheme(dark=dark)
    go(browser, stage, "channel")
    browser.one("#stop-channel").click()
    assert browser.too_faint() == []
    browser.press(Keys.ESCAPE)
    browser.one("#show-help").click()
    assert browser.too_faint() == []
    browser.press(Keys.ESCAPE)
    stage.source.values_of_channels.clear()
    browser.run("location.hash = ''")
    browser.shows("#view-welcome h1", "Nothing is live yet")
    assert browser.too_faint() == []
    assert browser.nameless() == []


def test_the_check_of_contrast_sees_what_is_faint(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    browser.run("document.querySelector('#version').style.color = '#999'")
    assert len(browser.too_faint()) == 1


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_control_has_a_name(
    browser: Browser, stage: PageStage, view: str, size: tuple[int, int]
) -> None:
    browser.resize(size)
    go(browser, stage, view)
    assert browser.nameless() == []


def test_names_of_controls_in_the_dialogs(browser: Browser, stage: PageStage) -> None:
    go(browser, stage, "channel")
    browser.one("#stop-channel").click()
    assert browser.nameless() == []
    browser.run("document.querySelector('#confirm-yes').textContent = ''")
    assert browser.nameless() == ["button"]
    browser.press(Keys.ESCAPE)


def test_of_500_channels_only_those_in_sight_are_in_the_document(browser: Browser) -> None:
    with PageStage(crowd(500, 10)) as stage:
        browser.driver.get(stage.url)
        browser.shows("#total-live", "500")
        assert browser.shows("#total-viewers", "5,000")
        browser.shows("#channels .title", "live/channel-0000")
        assert len(browser.texts("#channels .rows > .row")) <= MOST_ROWS
        browser.run("window.scrollTo(0, document.body.scrollHeight)")
        browser.shows("#channels .title", "live/channel-0499")
        assert len(browser.texts("#channels .rows > .row")) <= MOST_ROWS
        browser.one("#channels [role=grid]").send_keys(Keys.HOME)
        browser.shows("#channels .title", "live/channel-0000")
        grid = browser.one("#channels [role=grid]")
        assert grid.get_attribute("aria-rowcount") == "501"


def test_of_5000_players_those_in_sight_are_told_in_any_order(browser: Browser) -> None:
    source = crowd(1, 5000)
    source.values_of_connections[3001]["player"] = player(lag_s=9.0)
    source.values_of_connections[3001]["remote_ip"] = "203.0.113.77"
    source.values_of_connections[-1]["remote_ip"] = "203.0.113.99"
    with PageStage(source) as stage:
        browser.driver.get(f"{stage.url}#channel=live%2Fchannel-0000")
        browser.shows(".count", "5,000 players")
        assert len(browser.texts("#view-channel .rows > .row")) <= MOST_ROWS
        browser.one("#view-channel .lag .sort").click()
        browser.until(lambda: "9.0 s" in browser.texts("#view-channel .rows > .player-row")[0])
        browser.one("#view-channel .since .sort").click()
        browser.one("#view-channel .player-row .address .sort").click()
        browser.one("#view-channel .player-row .address .sort").click()
        browser.until(lambda: "203.0.113.99" in browser.texts("#view-channel .rows > .player-row")[0])
        browser.one("#view-channel [role=grid]").send_keys(Keys.END)
        browser.until(
            lambda: any(
                "198.51.100.1" in one for one in browser.texts(".rows > .player-row:not(.pending)")[-3:]
            )
        )
        assert len(browser.texts("#view-channel .rows > .row")) <= MOST_ROWS
        browser.one("#filter-players").send_keys("203.0.113")
        browser.shows(".count", "2 players found")
        browser.one("#filter-players").clear()
        browser.one("#filter-players").send_keys("#3003")
        browser.shows(".count", "1 player found")


def test_a_lost_connection_is_said_and_comes_back(browser: Browser, stage: PageStage) -> None:
    browser.expected = ["ERR_"]
    go(browser, stage)
    browser.shows("#link", "Live")
    stage.away()
    browser.until(lambda: browser.one("#link").get_attribute("data-state") == "lost")
    browser.shows("#notice", "No connection to the server: what is shown is as of")
    word = "document.querySelector('#channels .badge span:last-child')"
    assert browser.run(f"return getComputedStyle({word}, '::after').content") == '"?"'
    assert browser.driver.title == "rtmpsrv: no connection"
    assert not any(
        one.is_enabled() for one in browser.driver.find_elements("css selector", "#channels .rows button")
    )
    assert browser.too_faint() == []
    assert browser.cut_off("#channels .badge") == []
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, "k")
    browser.shows("#toast", "nothing can be ended from here now")
    stage.source.values_of_channels.append(on_air("live/later"))
    stage.back()
    browser.shows("#channels .title", "live/later")
    browser.shows("#link", "Live")
    assert not browser.one("#notice").is_displayed()
    assert browser.driver.title.endswith(" on air")
    assert browser.one("#channels .rows button").is_enabled()


def test_a_server_that_is_silent_behind_its_page_is_said_to_be(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    stage.source.missing = [""]
    browser.shows("#link", "The server does not answer")
    browser.shows("#notice", "The server does not answer: what is shown is as of")
    assert browser.one("#link").get_attribute("data-state") == "lost"
    assert browser.driver.title == "rtmpsrv: no connection"
    stage.source.missing = []
    browser.shows("#link", "Live")
    browser.until(lambda: not browser.one("#notice").is_displayed())


def test_an_answer_that_is_waited_for_is_no_green_light(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    stage.source.held.clear()
    browser.shows("#link", "Waiting for the server")
    stage.source.held.set()
    browser.shows("#link", "Live")


def test_a_page_that_is_opened_one_too_many_says_so(browser: Browser, stage: PageStage) -> None:
    browser.expected = ["503"]
    listeners = [stage.poller.join() for _ in range(LISTENERS)]
    browser.driver.get(stage.url)
    browser.shows("#link", "Too many pages are open")
    for listener in listeners:
        assert listener is not None
        stage.poller.leave(listener)
    browser.shows("#channels .title", "live/bad")


def test_a_page_that_nobody_sees_asks_for_nothing(browser: Browser, stage: PageStage) -> None:
    go(browser, stage)
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    try:
        browser.until(lambda: stage.poller.listening == 0)
    finally:
        browser.driver.close()
        browser.driver.switch_to.window(first)
    browser.until(lambda: stage.poller.listening == 1)
    browser.shows("#link", "Live")


def test_a_worker_that_does_not_answer_is_named(browser: Browser) -> None:
    with PageStage(crowd(4, 1, workers=("w1", "w2"))) as stage:
        browser.driver.get(stage.url)
        browser.shows("#channels .title", "live/channel-0001")
        stage.source.missing = ["w2"]
        browser.shows("#notice", "No answer from w2")
        assert "live/channel-0001" in browser.texts("#channels .title")
        stage.source.missing = []
        browser.until(lambda: not browser.one("#notice").is_displayed())
