from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.workers import child, succession
from rtmpsrv.workers.succession import Succession
from rtmpsrv.workers.wire import Wire
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import Heir, House, Lines


class FakePredecessor:
    """Runs until a test says how it ended."""

    made: list[FakePredecessor]

    def __init__(self, *parts: object, **times: float) -> None:
        self.times = times
        self.serving = False
        self.over = Event()
        self.cancelled: list[str] = []
        self.made.append(self)

    def run(self) -> bool:
        self.over.wait(PATIENCE_S)
        return self.serving

    def cancel(self, reason: str) -> None:
        self.cancelled.append(reason)
        self.over.set()


class Stage:
    def __init__(self) -> None:
        self.house = House()
        self.ends: list[bool] = []
        self.succession = Succession(
            self.house.estate, log.get("TEST"), start_s=1.0, linger_s=2.0, over=lambda: self.ends.append(True)
        )
        self.made: list[FakePredecessor] = []


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage()
    monkeypatch.setattr(FakePredecessor, "made", made.made, raising=False)
    monkeypatch.setattr(succession, "Predecessor", FakePredecessor)
    pairs: list[Any] = []

    def start() -> tuple[Heir, Wire]:
        pairs.append(gsocket.socketpair(gsocket.AF_UNIX))
        return Heir(), Wire(pairs[-1][0])

    monkeypatch.setattr(child, "start", start)
    yield made
    for one, other in pairs:
        one.close()
        other.close()
    made.house.close()
    gevent.sleep(0)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("rtmpsrv")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_one_at_a_time_and_no_more_after_the_one_that_succeeds(stage: Stage, lines: Lines) -> None:
    stage.succession.begin()
    gevent.sleep(0)
    stage.succession.begin()
    assert lines.lines[-1] == "succession: this process is handing over already"
    (first,) = stage.made
    assert first.times == {"start_s": 1.0, "linger_s": 2.0}
    first.over.set()
    eventually(lambda: stage.succession._predecessor is None)
    assert not stage.ends
    stage.succession.begin()
    assert len(stage.made) == 2
    stage.made[1].serving = True
    stage.succession.begin()
    assert lines.lines[-1] == "succession: this process has a successor already"
    stage.made[1].over.set()
    eventually(lambda: stage.ends)
    assert stage.ends == [True]


def test_a_process_that_cannot_be_started_is_an_error_in_the_log(
    stage: Stage, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start() -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(child, "start", start)
    stage.succession.begin()
    assert lines.lines == ["succession failed: no process could be started: Resource temporarily unavailable"]
    assert not stage.made


def test_the_end_of_the_process_ends_what_is_not_done_yet(stage: Stage) -> None:
    stage.succession.cancel()
    stage.succession.begin()
    gevent.sleep(0)
    stage.succession.cancel()
    assert stage.made[0].cancelled == ["this process is to end"]
    eventually(lambda: stage.succession._predecessor is None)
    stage.succession.begin()
    stage.made[1].serving = True
    stage.succession.cancel()
    assert stage.made[1].cancelled == []
    stage.made[1].over.set()
    eventually(lambda: stage.ends)


def test_a_signal_that_comes_while_the_process_is_started_starts_no_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, starts = child.start, []

    def start_slowly() -> Any:
        starts.append(True)
        gevent.sleep(0)  # for the fork, others run
        return start()

    monkeypatch.setattr(child, "start", start_slowly)
    gevent.joinall([gevent.spawn(stage.succession.begin) for _ in range(3)], timeout=PATIENCE_S)
    assert (len(starts), len(stage.made)) == (1, 1)
    stage.made[0].over.set()
    eventually(lambda: not stage.succession.begun)
