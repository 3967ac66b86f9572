"""One look a second for all pages, and what each page is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from rtmpsrv.web import poller as module
from rtmpsrv.web.depth import View
from rtmpsrv.web.poller import LISTENERS, SHARED_S, WAITING_MESSAGES, Listener, Poller, every_s
from rtmpsrv.web.verdict import Verdicts
from tests.doubles.monitor_source import FakeSource, crowd
from tests.doubles.monitor_values import event, on_air, process

EVERY_S = 0.02  # a look, in these tests


class Page:
    """A listener, read as a browser would."""

    def __init__(self, poller: Poller) -> None:
        listener = poller.join()
        assert listener is not None
        self.listener = listener
        self._messages = listener.messages()
        assert next(self._messages).startswith(b"retry: ")

    def next(self) -> tuple[str, dict[str, Any]]:
        """Return kind and content of the next message."""
        with gevent.Timeout(5):
            lines = next(self._messages).decode().split("\n")
        assert lines[0].startswith("id: ")
        assert lines[-2:] == ["", ""]
        return lines[1].removeprefix("event: "), json.loads(lines[2].removeprefix("data: "))

    def until(self, kind: str, *fields: str) -> dict[str, Any]:
        """Return the next message of this kind that has these fields."""
        for _ in range(200):
            told, message = self.next()
            if told == kind and all(field in message for field in fields):
                return message
        raise AssertionError(f"no {kind} with {fields}")

    def ends(self) -> bool:
        with gevent.Timeout(5):
            for _ in self._messages:
                pass
        return True


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", EVERY_S)
    monkeypatch.setattr(module, "SHARE", 1e9)


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def poller(source: FakeSource) -> Iterator[Poller]:
    made = Poller(source, Verdicts(), "channel-key")
    yield made
    made.close()


def test_nobody_is_asked_while_nobody_looks(source: FakeSource, poller: Poller) -> None:
    gevent.sleep(3 * EVERY_S)
    assert source.asked == []
    page = Page(poller)
    page.until("changes")
    poller.leave(page.listener)
    gevent.idle()
    asked = len(source.asked)
    gevent.sleep(3 * EVERY_S)
    assert len(source.asked) == asked
    assert poller.listening == 0


def test_the_first_message_is_all_there_is(source: FakeSource, poller: Poller) -> None:
    kind, picture = Page(poller).next()
    assert kind == "picture"
    assert [name for name, _ in picture["channels"]] == [one["name"] for one in source.channels().values]
    assert [one["serial"] for one in picture["events"]] == [1, 2, 3, 4, 5, 6]
    assert picture["server"]["layout"] == "channel-key"
    assert picture["missing"] == []
    assert picture["listener"]


def test_then_only_what_changed_is_told(source: FakeSource, poller: Poller) -> None:
    page = Page(poller)
    page.next()
    assert page.next()[1]["server"] == {"in": 0, "out": 0}
    kind, quiet = page.next()
    assert (kind, list(quiet)) == ("changes", ["at"])
    source.values_of_channels[0]["players"] = 77
    name = source.values_of_channels[0]["name"]
    assert page.until("changes", "channels")["channels"] == [[name, {"players": 77}]]
    source.values_of_channels.append(on_air("live/new"))
    ((new, row),) = page.until("changes", "channels")["channels"]
    assert (new, row["verdict"]) == ("live/new", "good")
    source.values_of_channels.pop()
    assert page.until("changes", "gone")["gone"] == ["live/new"]


def test_events_are_told_once(source: FakeSource, poller: Poller) -> None:
    page = Page(poller)
    page.next()
    source.values_of_events.append(event(7, "kicked", reason="enough"))
    (told,) = page.until("changes", "events")["events"]
    assert told["reason"] == "enough"
    assert "events" not in page.next()[1]


def test_who_comes_later_is_told_all_at_once_and_all_are_asked_for_together(
    source: FakeSource, poller: Poller
) -> None:
    first = Page(poller)
    first.next()
    pages = [Page(poller) for _ in range(10)]
    assert {page.next()[0] for page in pages} == {"picture"}
    before = source.asked.count("channels")
    for _ in range(3):
        first.until("changes")
    assert source.asked.count("channels") - before <= 5


def test_no_more_than_so_many_pages_are_served(poller: Poller) -> None:
    listeners = [poller.join() for _ in range(LISTENERS)]
    assert poller.full
    assert poller.join() is None
    assert listeners[0] is not None
    poller.leave(listeners[0])
    poller.leave(listeners[0])
    assert poller.join() is not None


def test_a_page_that_does_not_read_is_dropped_and_the_others_go_on(poller: Poller) -> None:
    slow, quick = Page(poller), Page(poller)
    for _ in range(2 * WAITING_MESSAGES):
        quick.until("changes")
        if slow.listener.dropped:
            break
    assert slow.listener.dropped
    assert slow.ends()
    assert quick.next()[0] == "changes"


def test_where_nothing_is_told_a_comment_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMENT_S", 0.01)
    messages = Listener("x").messages()
    next(messages)
    assert next(messages) == b":\n\n"


def test_a_view_is_answered_at_once_and_then_with_each_look(source: FakeSource, poller: Poller) -> None:
    page = Page(poller)
    name = page.next()[1]["listener"]
    assert poller.look(name, View("live/good", rows=2))
    shown = page.until("depth")
    assert (shown["found"], shown["total"], len(shown["players"])) == (True, 5, 2)
    assert {one["channel"] for one in shown["ends"]} == {"live/good"}
    later = page.until("depth")
    assert "ends" not in later
    assert poller.look(name, View())
    page.until("changes")
    told = [page.next()[0] for _ in range(4)]
    assert "depth" not in told[1:]


def test_a_page_that_looks_at_nothing_there_is_told_so(poller: Poller) -> None:
    page = Page(poller)
    poller.look(page.next()[1]["listener"], View("nobody"))
    assert not page.until("depth")["found"]


def test_a_stranger_has_no_view(poller: Poller) -> None:
    assert not poller.look("1-x", View("live/good"))


def test_those_who_see_the_same_are_asked_for_once() -> None:
    source = crowd(2, 5)
    poller = Poller(source, Verdicts(), "channel-key")
    pages = [Page(poller) for _ in range(4)]
    for page in pages:
        poller.look(page.next()[1]["listener"], View("live/channel-0000"))
    for page in pages:
        page.until("depth")
    before = (source.asked.count("connections"), source.asked.count("channels"))
    for page in pages:
        page.until("depth")
        page.until("depth")
    asked = source.asked.count("connections") - before[0]
    looks = source.asked.count("channels") - before[1]
    poller.close()
    assert asked <= looks + 1


def test_channels_of_a_worker_that_does_not_answer_stay_and_it_is_said() -> None:
    source = crowd(4, 1, workers=("w1", "w2"))
    poller = Poller(source, Verdicts(), "channel-key")
    page = Page(poller)
    assert len(page.next()[1]["channels"]) == 4
    source.missing = ["w2"]
    told = page.until("changes", "missing")
    assert told["missing"] == ["w2"]
    assert "gone" not in told
    poller.look(page.listener.name, View("live/channel-0001"))
    assert page.until("depth")["found"]
    source.missing = []
    assert page.until("changes", "missing")["missing"] == []
    poller.close()


def test_where_nobody_answers_the_picture_stays(source: FakeSource, poller: Poller) -> None:
    page = Page(poller)
    page.next()
    source.missing = [""]
    told = page.until("changes", "missing")
    assert told["missing"] == [""]
    assert not {"gone", "channels", "server"} & set(told)


def test_rates_of_all_processes_are_told(source: FakeSource, poller: Poller) -> None:
    page = Page(poller)
    page.next()
    grown = process()
    grown["counters"]["received_bytes"] += 10_000_000
    source.values_of_processes = [grown]
    assert page.until("changes", "server")["server"]["in"] > 0
    assert Page(poller).until("picture")["server"]["in"] > 0, "who comes later is told what is known"


def test_no_rate_is_told_before_there_are_two_looks_to_make_it_from(poller: Poller) -> None:
    page = Page(poller)
    server = page.until("picture")["server"]
    assert (server["in"], server["out"]) == (None, None)
    assert page.until("changes", "server")["server"] == {"in": 0, "out": 0}


def test_at_the_end_all_streams_end(poller: Poller) -> None:
    pages = [Page(poller), Page(poller)]
    pages[0].next()
    poller.close()
    assert all(page.ends() for page in pages)
    assert poller.listening == 0


def test_a_fault_of_ours_ends_the_streams_and_the_next_page_starts_anew(
    source: FakeSource, poller: Poller, caplog: pytest.LogCaptureFixture
) -> None:
    page = Page(poller)
    page.next()
    source.values_of_channels.append({})  # type: ignore[typeddict-item]
    assert page.ends()
    assert "The pages are told nothing more." in caplog.text
    source.values_of_channels.pop()
    assert Page(poller).next()[0] == "picture"


@pytest.mark.parametrize(
    ("channels", "cost_s", "wanted"),
    [
        (0, 0.0, 1.0),
        (50, 0.05, 1.0),
        (75, 0.05, 1.5),
        (100, 0.05, 2.0),
        (150, 0.05, 3.0),
        (5000, 0.15, 3.0),
        (5000, 0.5, 10.0),
        (10, 0.1, 2.0),
    ],
)
def test_looks_are_rarer_the_more_they_cost(
    monkeypatch: pytest.MonkeyPatch, channels: int, cost_s: float, wanted: float
) -> None:
    monkeypatch.undo()
    assert every_s(channels, cost_s) == pytest.approx(wanted)


def test_what_a_look_costs_is_what_this_process_works_for_it(
    monkeypatch: pytest.MonkeyPatch, poller: Poller
) -> None:
    asked: list[tuple[int, float]] = []

    def every(channels: int, cost_s: float) -> float:
        asked.append((channels, cost_s))
        return EVERY_S

    times = iter(range(10_000))
    monkeypatch.setattr(module, "thread_time", lambda: next(times) / 4)
    monkeypatch.setattr(module, "every_s", every)
    page = Page(poller)
    count = len(page.next()[1]["channels"])
    page.until("changes")
    assert asked[0] == (count, 0.25)


def test_the_listener_is_told_in_plain_lines(poller: Poller) -> None:
    listener = poller.join()
    assert listener is not None
    messages = listener.messages()
    assert next(messages) == b"retry: 1000\n\n"
    with gevent.Timeout(5):
        message = next(messages)
    assert message.count(b"\n") == 4
    assert message.isascii()


def test_pages_are_told_that_an_answer_is_waited_for(
    source: FakeSource, poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_S", EVERY_S)
    page = Page(poller)
    page.next()
    source.held.clear()
    assert page.until("changes", "late")["late"] is True
    source.held.set()
    assert "late" not in page.next()[1]


def test_a_server_that_is_silent_is_said_to_be_and_asked_nothing_more(
    source: FakeSource, poller: Poller
) -> None:
    page = Page(poller)
    assert page.next()[1]["silent"] is False
    source.missing = [""]
    told = page.until("changes", "silent")
    assert (told["silent"], told["missing"]) == (True, [""])
    source.asked.clear()
    page.until("changes", "silent")
    assert set(source.asked) == {"processes"}
    assert Page(poller).next()[1]["silent"] is True
    source.missing = []
    while (told := page.until("changes", "silent"))["silent"]:
        pass
    assert told["missing"] == []


def test_blocks_are_told_whoever_made_them(source: FakeSource, poller: Poller) -> None:
    source.values_of_blocks = [("live/a", 1000.0)]
    page = Page(poller)
    assert page.next()[1]["blocks"] == [["live/a", 1000.0]]
    page.until("changes", "server")  # the first rates
    source.values_of_blocks = [("live/a", 1000.2)]
    kind, quiet = page.next()
    assert (kind, list(quiet)) == ("changes", ["at"])
    source.values_of_blocks = []
    assert page.until("changes", "blocks")["blocks"] == []


def test_what_pages_were_told_is_there_for_others_for_a_second(
    source: FakeSource, poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert poller.seen_lately() is None
    page = Page(poller)
    page.until("changes")
    seen = poller.seen_lately()
    assert seen is not None
    assert [one["name"] for one in seen.channels.values] == [one["name"] for one in source.channels().values]
    assert seen.processes.values == source.processes().values
    assert 0 <= seen.age_s < SHARED_S
    monkeypatch.setattr(module, "SHARED_S", 0.0)
    assert poller.seen_lately() is None


def test_what_nobody_has_told_is_not_shared(source: FakeSource, poller: Poller) -> None:
    page = Page(poller)
    page.until("changes")
    assert poller.seen_lately() is not None
    source.missing = [""]
    page.until("changes", "silent")
    assert poller.seen_lately() is None
