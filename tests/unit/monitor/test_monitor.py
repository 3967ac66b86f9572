from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.monitor.monitor import packed
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


def test_a_question_that_is_not_known_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on, pytest.raises(KeyError):
        on.ask("secrets")


def test_the_lag_of_the_event_loop_is_measured_while_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtmpsrv.monitor.monitor.EVERY_S", 0.01)
    with stage(monkeypatch) as on:
        eventually(lambda: on.ask("process")["counters"]["event_loop_lag_s"]["count"])
