"""Connections between workers, on one hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.workers import doors, neighbours
from rtmpsrv.workers.neighbours import Neighbours
from rtmpsrv.workers.wire import Wire, WireLost
from tests.unit.workers.lines import PATIENCE_S, eventually


class Worker(Neighbours):
    """One whose door answers with its name."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, str(folder), log.get("WORKER"))
        self.ended = 0
        self.on_calls = lambda: ({}, {"name": lambda: name}, self._over)
        self.start()

    def _over(self) -> None:
        self.ended += 1


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Worker, Worker]]:
    workers = Worker("w1", tmp_path), Worker("w2", tmp_path)
    yield workers
    for worker in workers:
        worker.close()


def name_of(worker: Neighbours, other: str) -> object:
    return worker.line(other).call("name", timeout_s=PATIENCE_S)


def test_workers_ask_each_other_over_one_line(pair: tuple[Worker, Worker]) -> None:
    assert (name_of(pair[0], "w2"), name_of(pair[1], "w1")) == ("w2", "w1")
    assert pair[0].line("w2") is pair[0].line("w2")


def test_two_that_connect_at_once_share_a_line(pair: tuple[Worker, Worker]) -> None:
    asked = [gevent.spawn(pair[0].line, "w2") for _ in range(3)]
    assert len({id(one.get(timeout=PATIENCE_S)) for one in asked}) == 1
    assert name_of(pair[0], "w2") == "w2"


def test_a_line_that_was_lost_is_made_again(pair: tuple[Worker, Worker]) -> None:
    first = pair[0].line("w2")
    name_of(pair[0], "w2")
    first.close()
    eventually(lambda: pair[1].ended == 1, "the end")
    assert name_of(pair[0], "w2") == "w2"


def test_a_worker_that_is_gone_is_told_at_once(pair: tuple[Worker, Worker], tmp_path: Path) -> None:
    name_of(pair[0], "w2")
    pair[1].close()
    eventually(lambda: "w2" not in pair[0]._lines, "loss")
    with pytest.raises(WireLost):
        pair[0].line("w2")
    assert os.listdir(tmp_path) == ["w1.sock"]
    pair[1].close()


def test_the_first_word_says_who_serves_a_connection(pair: tuple[Worker, Worker]) -> None:
    def echo(wire: Wire, word: tuple[object, ...]) -> None:
        wire.post(word)
        wire.receive(PATIENCE_S)

    pair[1].others["copy"] = echo
    wire = pair[0].connect("w2", "copy", "news", 7)
    assert wire.receive(PATIENCE_S) == (("w1", "copy", "news", 7), [])
    wire.close()


@pytest.mark.parametrize("word", ["rubbish", (), ("w1",), ("w1", "unknown")])
def test_who_does_not_say_what_it_wants_is_hung_up_on(
    pair: tuple[Worker, Worker], tmp_path: Path, word: object
) -> None:
    wire = doors.connect(doors.path_of(str(tmp_path), "w2"))
    wire.post(word, [0])
    with pytest.raises(WireLost, match="closed"):
        wire.receive(PATIENCE_S)
    wire.close()
    assert name_of(pair[0], "w2") == "w2"


def test_who_says_nothing_is_not_waited_for(
    pair: tuple[Worker, Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "FIRST_WORD_S", 0.01)
    wire = doors.connect(doors.path_of(str(tmp_path), "w2"))
    with pytest.raises(WireLost, match="closed"):
        wire.receive(PATIENCE_S)
    wire.close()


def test_a_bug_costs_that_connection_only(
    pair: tuple[Worker, Worker], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(wire: Wire, word: tuple[object, ...]) -> None:
        raise ValueError("a bug")

    pair[1].others["copy"] = fail
    wire = pair[0].connect("w2", "copy")
    with pytest.raises(WireLost, match="closed"):
        wire.receive(PATIENCE_S)
    wire.close()
    assert "a bug" in caplog.text
    assert name_of(pair[0], "w2") == "w2"


def test_a_worker_that_was_never_started_closes(tmp_path: Path) -> None:
    Neighbours("w1", str(tmp_path), log.get("WORKER")).close()
