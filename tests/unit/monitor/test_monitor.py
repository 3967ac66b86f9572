from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from rtmpsrv.monitor.monitor import Monitor, packed
from rtmpsrv.monitor.packing import PIECE, unpack
from tests.unit.monitor.stage import stage
from tests.unit.server.stage import eventually


class Rests:
    def __init__(self) -> None:
        self.count = 0

    def rest(self, rest_s: float) -> None:
        self.count += 1


def test_long_lists_give_way_between_their_pieces() -> None:
    rests: Any = Rests()
    assert unpack(packed(list(range(3 * PIECE)), rests)) == list(range(3 * PIECE))
    assert rests.count == 2
    assert unpack(packed({"one": 1}, rests)) == {"one": 1}
    assert unpack(packed([], rests)) == []
    assert rests.count == 2


def test_questions_are_answered_one_after_the_other_and_nothing_waits_that_is_to_be_done() -> None:
    course: list[str] = []

    def slow() -> list[str]:
        course.append("begin")
        gevent.sleep(0)
        gevent.sleep(0)
        course.append("end")
        return []

    parts: Any = SimpleNamespace(
        process=None, names=slow, channels=None, ids=slow, connections=None,
        kick=lambda *what: course.append("kick"), stop=None, record=None,
        files=lambda *what: course.append("files"),
    )  # fmt: skip
    nothing: Any = SimpleNamespace(counted=SimpleNamespace(lag_s=SimpleNamespace(add=None)))
    rests: Any = Rests()
    monitor = Monitor(parts, parts, nothing, nothing, rests)
    asking = [gevent.spawn(monitor.answer, what, ()) for what in ("names", "ids", "kick", "files")]
    gevent.joinall(asking, timeout=5, raise_error=True)
    assert course == ["begin", "kick", "files", "end", "begin", "end"]


def test_a_question_that_is_not_known_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on, pytest.raises(KeyError):
        on.ask("secrets")


def test_the_lag_of_the_event_loop_is_measured_while_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtmpsrv.monitor.monitor.EVERY_S", 0.01)
    with stage(monkeypatch) as on:
        eventually(lambda: on.ask("process")["counters"]["event_loop_lag_s"]["count"])
