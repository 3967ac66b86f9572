"""Answers of several processes, over the line, as one."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied
from rtmpsrv.web import line_source
from rtmpsrv.web.line_source import AT_ONCE, LineSource
from rtmpsrv.workers.calls import NoAnswer
from tests.doubles import monitor_values as values
from tests.unit.web.stage import Lines

Said = dict[str, bytes | None]


class Line:
    """The other process: says what a test wants, and notes what it was asked."""

    def __init__(self, say: Callable[[str], Said]) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._say = say

    def call(self, name: str, *arguments: Any, timeout_s: float) -> Said:
        assert name == "ask"
        assert timeout_s > arguments[2]
        self.asked.append(arguments[:2])
        return self._say(arguments[0])


def source_of(said: Said | Callable[[str], Said]) -> tuple[LineSource, Line]:
    line = Line(said if callable(said) else lambda what: said)
    return LineSource(line, log.get("WEB")), line


def packed(value: object) -> bytes:
    return pickle.dumps(value)


def test_processes_come_by_name_and_who_is_silent_is_named() -> None:
    source, _ = source_of(
        {"w2": packed(values.process(worker="w2")), "w1": packed(values.process(worker="w1")), "w3": None}
    )
    found = source.processes()
    assert [one["worker"] for one in found.values] == ["w1", "w2"]
    assert (found.missing, found.answered) == (["w3"], ["w1", "w2"])


def test_a_channel_of_two_processes_is_one() -> None:
    one, other = values.on_air("a", worker="w1"), values.on_air("a", worker="w2")
    other["publisher"] = None
    source, line = source_of({"w2": packed([other]), "w1": packed([one])})
    (found,) = source.channels(["a"]).values
    assert found["players"] == one["players"] + other["players"]
    assert line.asked == [("channels", (("a",),))]
    source.channels()
    assert line.asked[-1] == ("channels", (None,))


def test_a_name_in_two_processes_is_one() -> None:
    source, line = source_of({"w1": packed(["b", "a"]), "w2": packed(["b", "c"]), "w3": None})
    found = source.names()
    assert (found.values, found.missing, found.answered) == (["a", "b", "c"], ["w3"], ["w1", "w2"])
    assert line.asked == [("names", ())]


def test_ids_come_by_their_numbers() -> None:
    first, second = [3, "x", "rtmpConn"], [7, "a", "rtmpsConn"]
    source, line = source_of({"w1": packed([second]), "w2": packed([first]), "w3": None})
    found = source.ids()
    assert (found.values, found.missing) == ([("x", "rtmpConn"), ("a", "rtmpsConn")], ["w3"])
    assert line.asked == [("ids", ())]


def test_connections_come_in_their_order() -> None:
    late, early = values.connection("a", number=1), values.connection("b", number=2)
    late["created_at"] = early["created_at"] + 1
    source, line = source_of({"": packed([late, early])})
    assert source.connections([late["id"]]).values == [early, late]
    assert line.asked == [("connections", ((late["id"],),))]


def test_events_come_in_their_order_and_tell_what_to_ask_next() -> None:
    first, second = values.event(5, "play"), values.event(6, "stop")
    second["at"] = first["at"] + 1
    source, line = source_of(
        {
            "w1": packed({"last": 6, "events": [second]}),
            "w2": packed({"last": 5, "events": [first]}),
            "w3": None,
        }
    )
    found = source.events({"w3": 3}, "a")
    assert found.values == [first, second]
    assert found.last == {"w1": 6, "w2": 5, "w3": 3}
    assert line.asked == [("events", ({"w3": 3}, "a"))]


def test_what_is_to_be_done_is_told_to_all() -> None:
    source, line = source_of({"w1": packed(False), "w2": packed(True)})
    assert any(source.kick("id", 5.0, "why").values)
    assert any(source.stop("a", 0.0, "").values)
    assert line.asked == [("kick", ("id", 5.0, "why")), ("stop", ("a", 0.0, ""))]


@pytest.mark.parametrize("error", [NoAnswer("x"), AccessDenied("a", "b")])
def test_where_nobody_answers_that_is_said(error: Exception) -> None:
    def silent(what: str) -> Said:
        raise error

    source, _ = source_of(silent)
    found = source.channels()
    assert found.nobody
    assert (found.values, found.missing) == ([], [""])


def test_the_keeper_alone_knows_of_no_client() -> None:
    source, _ = source_of({"keeper": packed([]), "w1": None})
    assert source.channels().nobody
    source, _ = source_of({"keeper": packed(values.process(worker="keeper")), "w1": None})
    assert not source.processes().nobody


def test_what_is_not_understood_is_as_if_not_said(lines: Lines) -> None:
    source, _ = source_of({"w1": b"nonsense", "w2": packed([])})
    found = source.channels()
    assert (found.missing, found.answered) == (["w1"], ["w2"])
    assert "what w1 says is not understood" in lines.lines[0][1]


def test_a_bug_leaves_nobody_waiting(lines: Lines) -> None:
    def fails(what: str) -> Said:
        gevent.sleep(0)
        raise RuntimeError("Kleinod-7261")

    source, _ = source_of(fails)
    both = [gevent.spawn(source.processes) for _ in range(2)]
    assert [one.get(timeout=5).nobody for one in both] == [True, True]
    assert lines.lines == [("ERROR", "process failed: RuntimeError")]


def test_who_asks_the_same_at_the_same_time_shares_an_answer() -> None:
    may = Event()

    def slow(what: str) -> Said:
        may.wait()
        return {"": packed([])}

    source, line = source_of(slow)

    def kick() -> None:
        source.kick("x", 0.0, "")

    asking: list[gevent.Greenlet[..., Any]] = [gevent.spawn(source.channels) for _ in range(5)]
    asking += [
        gevent.spawn(source.channels, ["a"]),
        gevent.spawn(kick),
        gevent.spawn(kick),
    ]
    gevent.sleep(0)
    may.set()
    gevent.joinall(asking, 5, raise_error=True)
    assert len(line.asked) == 4, "and what is done is done for each"
    source.channels()
    assert len(line.asked) == 5, "nothing is kept"


def test_who_leaves_takes_no_answer_along() -> None:
    may = Event()

    def slow(what: str) -> Said:
        may.wait()
        return {"": packed([])}

    source, line = source_of(slow)
    first, second = gevent.spawn(source.channels), gevent.spawn(source.channels)
    gevent.sleep(0)
    first.kill()
    may.set()
    assert not second.get(timeout=5).nobody
    assert len(line.asked) == 1


def test_so_many_questions_are_on_their_way_and_what_is_to_be_done_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may = Event()

    def slow(what: str) -> Said:
        if what == "kick":
            return {"": packed(True)}
        may.wait()
        return {"": packed([])}

    source, line = source_of(slow)
    asking = [gevent.spawn(source.channels, [str(number)]) for number in range(3 * AT_ONCE)]
    gevent.sleep(0.01)
    assert len(line.asked) == AT_ONCE
    assert source.kick("x", 0.0, "").values == [True]
    may.set()
    gevent.joinall(asking, 5, raise_error=True)
    assert [one.get().nobody for one in asking] == [False] * len(asking)
    monkeypatch.setattr(line_source, "ANSWER_S", 0.01)
    may.clear()
    late = [gevent.spawn(source.channels, [str(number)]) for number in range(AT_ONCE + 1)]
    assert late[-1].get(timeout=5).nobody, "none had its turn in time"
    may.set()
    gevent.joinall(late, 5, raise_error=True)


def test_files_of_one_folder_are_told_of_once_and_in_order() -> None:
    late, early = values.file_of("a"), values.file_of("b", began_at=values.NOW - 1e6)
    source, line = source_of({"w1": packed([late, early]), "w2": packed([early, late]), "keeper": packed([])})
    assert source.files("").values == [early, late]
    assert line.asked == [("files", ("",))]


def test_that_files_cannot_be_read_is_told_beside_what_others_say() -> None:
    one = values.file_of("a")
    source, _line = source_of({"w1": packed("no disk"), "w2": packed([one]), "keeper": packed([])})
    found = source.files("")
    assert (found.values, found.trouble, found.answered) == ([one], "no disk", ["w1", "w2"])


def test_of_a_file_that_is_written_its_own_process_tells() -> None:
    written, elsewhere = [values.file_of("a", whole=False, size_bytes=size) for size in (9, 0)]
    for answers in ([written], [elsewhere]), ([elsewhere], [written]):
        source, _line = source_of({"w1": packed(answers[0]), "w2": packed(answers[1])})
        assert source.files("").values == [written]


def test_recording_is_asked_of_all_and_done_where_the_channel_is() -> None:
    source, line = source_of({"w1": packed(False), "w2": packed(True), "w3": None})
    done = source.record("a", True, "flv")
    assert (done.values, done.missing) == ([False, True], ["w3"])
    assert line.asked == [("record", ("a", True, "flv"))]


def test_blocks_are_those_of_all() -> None:
    source, _ = source_of({"w1": packed([]), "keeper": packed([("b", 2.0), ("a", 1.0)])})
    assert source.blocks().values == [("a", 1.0), ("b", 2.0)]
