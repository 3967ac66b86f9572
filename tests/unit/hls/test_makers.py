"""Who is made, and the numbers that outlive that."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from rtmpsrv.hls import makers as module
from rtmpsrv.hls.maker import Maker
from rtmpsrv.hls.makers import Makers
from rtmpsrv.media.hls_numbers import Numbering, first_number
from tests.unit.hls.stage import WALL_S, Stage


class Crew:
    def __init__(self) -> None:
        self.made: list[Stage] = []
        self.makers = Makers(self.make, wall=lambda: WALL_S + 0.5)

    def make(self, channel: str, numbering: Numbering, moved: dict[str, Any] | None = None) -> Maker:
        stage = Stage(numbering, moved=moved)
        stage.let_run()
        self.made.append(stage)
        return stage.maker


def test_channel_is_made_once() -> None:
    crew = Crew()
    assert crew.makers.find("a") is None
    maker = crew.makers.open("a")
    assert crew.makers.open("a") is maker
    assert crew.makers.find("a") is maker
    assert list(crew.makers.describe()) == ["a"]
    crew.makers.close()
    assert not maker.is_running
    assert crew.makers.describe() == {}


def test_who_asks_keeps_it() -> None:
    crew = Crew()
    crew.makers.open("a")
    stage = crew.made[0]
    stage.now += 59
    crew.makers.open("a")
    stage.now += 59
    stage.send()
    assert crew.makers.find("a") is stage.maker
    crew.makers.close()


def test_numbers_outlive_the_maker() -> None:
    crew = Crew()
    crew.makers.open("a").close()
    numbering = crew.made[0].numbering
    assert numbering.next_segment == first_number(WALL_S + 0.5)
    numbering.segment()
    assert crew.makers.find("a") is None
    crew.makers.open("a").close()
    assert crew.made[1].numbering is numbering
    crew.makers.open("b")
    assert crew.made[2].numbering is not numbering
    assert crew.made[2].numbering.prefix != numbering.prefix
    crew.makers.close()


def test_process_after_this_one_goes_on() -> None:
    before, after = Crew(), Crew()
    before.makers.open("a")
    before.made[0].numbering.segment()
    before.made[0].numbering.fix(2000, 40)
    after.makers.open("b")
    own = after.made[0].numbering
    after.makers.inherit({**before.makers.snapshot(), "b": Numbering(1, "x").snapshot()})
    after.makers.open("a")
    assert after.made[1].numbering.snapshot() == before.made[0].numbering.snapshot()
    assert after.makers.snapshot()["b"] == own.snapshot()
    before.makers.close()
    after.makers.close()


def test_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 2)
    crew = Crew()
    for channel in ("a", "b", "c"):
        crew.makers.open(channel).close()
    assert list(crew.makers.snapshot()) == ["b", "c"]
    crew.makers.open("b")
    crew.makers.open("c")
    crew.makers.open("d")
    assert list(crew.makers.snapshot()) == ["b", "c", "d"]  # all are in use
    crew.makers.close()


def test_maker_goes_on_in_another_process_with_its_numbers() -> None:
    crew, other = Crew(), Crew()
    assert crew.makers.state_of("a", 1 << 30) is None
    crew.makers.open("a")
    crew.made[0].begin()
    crew.made[0].play(5)
    value = pickle.loads(pickle.dumps(crew.makers.state_of("a", 1 << 30)))
    other.makers.adopt("a", value)
    other.makers.inherit({"a": Numbering(1, "old").snapshot()})
    (stage,) = other.made
    assert other.makers.find("a") is stage.maker
    assert other.makers.snapshot() == crew.makers.snapshot()
    assert other.makers.snapshot()["a"]["next_segment"] > first_number(WALL_S)
    other.makers.adopt("a", value)
    other.makers.adopt("b", {**value, "form": 0})
    assert len(other.made) == 1, "one is there, and what cannot be read is not"
    crew.makers.close()
    other.makers.close()
