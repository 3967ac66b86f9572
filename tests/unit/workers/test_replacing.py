"""Workers that take each other's place: whole servers on one hub, with real doors between them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.errors import CannotMove
from rtmpsrv.workers import handing, remainder, replacing, successor
from rtmpsrv.workers.before import Before
from rtmpsrv.workers.neighbours import Neighbours
from rtmpsrv.workers.replacing import Newcomer, Replacing, SharedChannels
from rtmpsrv.workers.succession import Succession
from rtmpsrv.workers.wire import WireLost
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import Handover, House

LOG = log.get("TEST")


class Worker:
    """A server that is one of several."""

    def __init__(self, name: str, folder: Path, house: House) -> None:
        self.house = house
        self.over: list[str] = []
        self.succession = Succession(
            house.estate, LOG, start_s=PATIENCE_S, linger_s=PATIENCE_S, over=lambda: self.over.append(name)
        )
        self.neighbours = Neighbours(name, str(folder), LOG)
        self.replacing = Replacing(house.estate, self.succession, self.neighbours, LOG, patience_s=PATIENCE_S)
        self.neighbours.start()

    @property
    def numbers(self) -> list[int]:
        return sorted(session.client.number for session in self.house.sessions)


class Crew:
    """Two of them, and the clients of the first."""

    def __init__(self, folder: Path) -> None:
        self.stage = Handover()
        self.old = Worker("101", folder, self.stage.old)
        self.new = Worker("102", folder, House())
        self.new.house.listener.start()
        self.stage.new = self.new.house

    def leave(self, *names: str) -> bool:
        return gevent.spawn(self.old.replacing.leave, lambda: list(names)).get(timeout=3 * PATIENCE_S)

    def newcomer(self, name: str, folder: Path) -> Replacing:
        house, succession = self.new.house, self.new.succession
        neighbours = Neighbours(name, str(folder), LOG)
        return Replacing(house.estate, succession, neighbours, LOG, patience_s=PATIENCE_S)

    def close(self) -> None:
        for worker in (self.old, self.new):
            worker.neighbours.close()
        self.stage.far.close()
        self.stage.predecessor._talk.close()
        self.stage.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remainder, "LOOK_S", 0.001)
    monkeypatch.setattr(handing, "STEP_S", 0.2)
    monkeypatch.setattr(successor, "DEATH_S", 0.01)
    monkeypatch.setattr(replacing, "WELCOME_S", 0.2)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(tmp_path)
    yield crew
    crew.close()


def test_one_that_leaves_gives_all_it_has_to_another_that_has_sessions_too(crew: Crew) -> None:
    guests = [crew.stage.publisher("one"), crew.stage.player("one"), crew.stage.player("two")]
    own = gevent.socket.create_connection(("127.0.0.1", crew.new.house.listener.port))
    eventually(lambda: crew.new.numbers == [1])
    assert crew.leave("102")
    assert crew.old.over == ["101"]
    eventually(lambda: crew.new.numbers == [1, 2, 3, 4], "they have numbers of their own")
    assert not crew.stage.old.sessions
    for guest in guests[:1]:
        guest.create_stream()
    assert not crew.new.house.estate.parts.hold.closed
    own.close()


def test_one_that_nobody_takes_the_sessions_of_keeps_them(crew: Crew) -> None:
    publisher = crew.stage.publisher()
    assert not crew.leave()
    assert not crew.leave("103")
    crew.new.replacing._leaving = True
    assert not crew.leave("102")
    publisher.create_stream()
    assert crew.old.over == []


def test_one_that_leaves_takes_nobody_in(crew: Crew) -> None:
    assert not crew.leave()
    new = gevent.spawn(crew.new.replacing.leave, lambda: ["101"])
    assert not new.get(timeout=PATIENCE_S)


def test_one_takes_in_one_worker_at_a_time(crew: Crew) -> None:
    crew.new.replacing._receiving = True
    assert not crew.leave("102")


def test_what_was_not_handed_over_to_the_end_goes_on_where_it_was(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, player = crew.stage.publisher(), crew.stage.player()

    prepare = Before._prepare

    def prepare_and_hang_up(before: Before, *rest: Any) -> None:
        prepare(before, *rest)
        before.talk.close()

    monkeypatch.setattr(Before, "_prepare", prepare_and_hang_up)
    assert not crew.leave("102")
    eventually(lambda: not crew.new.house.estate.parts.hold.closed, "the other lets its own play again")
    assert crew.new.house.estate.registry.find("app") is None
    assert crew.new.numbers == []
    eventually(lambda: len(crew.old.numbers) == 2)
    publisher.create_stream()
    player.create_stream()
    assert crew.old.over == []


def test_a_newcomer_asks_for_everything(crew: Crew, tmp_path: Path) -> None:
    publisher = crew.stage.publisher()
    pid = str(os.getpid())
    newcomer = crew.newcomer(pid, tmp_path)
    taking = newcomer.succeed("101")
    crew.stage.successor = taking
    following = gevent.spawn(taking.run, crew.new.house.estate, lambda: None)
    eventually(lambda: crew.old.over == ["101"])
    following.get(timeout=PATIENCE_S)
    eventually(lambda: len(crew.new.numbers) == 1)
    publisher.create_stream()
    with pytest.raises(WireLost):
        newcomer.succeed("101")  # which has gone already


def test_who_is_no_process_gets_nothing(crew: Crew, tmp_path: Path) -> None:
    for name in ("10000001", "nobody"):
        newcomer = crew.newcomer(name, tmp_path)
        with pytest.raises(WireLost):
            newcomer.succeed("101")
    assert not crew.old.succession.begun


def test_a_newcomer_that_fails_is_ended_before_anybody_goes_on() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    newcomer = Newcomer(process.pid)
    newcomer.kill()
    assert process.wait(0) == -9
    newcomer.kill()
    newcomer.close()
    process.communicate()


# --- channels that are here already -------------------------------------------------------------------------


class Registry:
    """One that holds what a test puts in."""

    def __init__(self) -> None:
        self.channels: dict[str, SimpleNamespace] = {}
        self.abandoned: list[str] = []

    def find(self, name: str) -> SimpleNamespace | None:
        return self.channels.get(name)

    def adopt(self, name: str, value: dict[str, Any], fds: list[int]) -> SimpleNamespace:
        if name in self.channels:
            raise CannotMove("somebody publishes here")
        self.channels[name] = SimpleNamespace(live=value["live"], publication=value["publication"])
        return self.channels[name]

    def abandon(self, name: str) -> None:
        self.abandoned.append(name)


def test_a_channel_that_is_here_is_not_taken_twice_and_not_abandoned() -> None:
    registry = Registry()
    shared: Any = SharedChannels(registry)  # type: ignore[arg-type]  # the part of one that is used
    there = {"live": True, "publication": 7}
    registry.channels["copied"] = here = SimpleNamespace(live=True, publication=7)
    reading, writing = os.pipe()
    found = shared.adopt("copied", there, [writing])
    assert found is here
    assert os.read(reading, 1) == b"", "what came with it is closed"
    os.close(reading)
    found = shared.adopt("copied", {"live": False, "publication": 6}, [])
    assert found is here, "nobody publishes there"
    with pytest.raises(CannotMove):
        shared.adopt("copied", {"live": True, "publication": 8}, [])
    registry.channels["waiting"] = SimpleNamespace(live=False, publication=0)
    with pytest.raises(CannotMove):
        shared.adopt("waiting", there, [])
    found = shared.adopt("new", there, [])
    assert found is registry.find("new")
    assert [shared.is_new_and_live(name) for name in ("copied", "new", "none")] == [False, True, False]
    for name in ("copied", "new", "new"):
        shared.abandon(name)
    assert registry.abandoned == ["new"]
