"""Who starts the keeper. No process is started; sockets are real."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.workers import keeper_lock, keeper_start
from rtmpsrv.workers.keeper_lock import Lock
from rtmpsrv.workers.keeper_start import COMMAND, LOCK, UNLESS_THERE, KeeperStarter, keeper_of
from tests.unit.workers.lines import eventually


class Process:
    """Stands in for Popen: a keeper that listens as soon as it is started, if it does."""

    pid = 4711

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def poll(self) -> int | None:
        return self._stage.exit_code


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.commands: list[list[str]] = []
        self.folders: set[str] = set()  # RUN_DIR of those that were started
        self.waiting: list[set[int]] = []  # signals that it will not get before it lets them in
        self.listens = True
        self.exit_code: int | None = None
        self.door: Lock | None = None
        self.is_missing = True
        self.starters: list[KeeperStarter] = []

    def popen(self, command: list[str], env: dict[str, str], **_: object) -> Process:
        self.commands.append(command)
        self.folders.add(env["RUN_DIR"])
        self.waiting.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        if self.listens:
            self.open()
        return Process(self)

    def open(self) -> None:
        self.door = Lock(os.path.join(self.folder, keeper_lock.LOCK))
        assert self.door.take(0.0)

    def die(self) -> None:
        assert self.door is not None
        self.door.release()
        self.door = None

    def starter(self) -> KeeperStarter:
        made = KeeperStarter(self.folder, lambda: self.is_missing, log.get())
        self.starters.append(made)
        made.start()
        return made

    def close(self) -> None:
        for starter in self.starters:
            starter.stop()
            starter.stop()
        if self.door is not None:
            self.die()


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", stage.popen)
    monkeypatch.setattr(keeper_start, "LOOK_S", 0.001)
    monkeypatch.setattr(keeper_start, "START_S", 0.01)
    monkeypatch.setattr(keeper_start, "LONGEST_PAUSE_S", 0.004)
    yield stage
    stage.close()


def test_the_keeper_is_who_has_its_lock(on: Stage) -> None:
    assert keeper_of(on.folder) is None
    on.open()
    assert keeper_of(on.folder) == os.getpid()
    on.die()
    assert keeper_of(on.folder) is None


def test_one_of_several_that_miss_the_keeper_starts_it_each_time_it_dies(on: Stage) -> None:
    for _ in range(3):
        on.starter()
    eventually(lambda: on.door is not None)
    gevent.sleep(0.02)
    assert on.commands == [[sys.executable, *COMMAND, UNLESS_THERE]]
    on.die()
    eventually(lambda: on.door is not None)
    gevent.sleep(0.02)
    assert len(on.commands) == 2
    assert on.folders == {on.folder}, "it meets the worker, whatever its own default is"


def test_a_signal_waits_until_the_one_that_starts_can_act_on_it(on: Stage) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    on.starter()
    eventually(lambda: on.waiting)
    assert on.waiting == [before | {signal.SIGTERM, signal.SIGINT}]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_nobody_is_started_while_the_keeper_is_there_or_another_worker_is_at_it(
    on: Stage, tmp_path: Path
) -> None:
    on.is_missing = False
    on.starter()
    gevent.sleep(0.01)
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        on.is_missing = True
        gevent.sleep(0.01)
        assert on.commands == []
    eventually(lambda: on.commands)


def test_one_that_is_about_to_serve_has_no_other_one_beside_it(on: Stage) -> None:
    on.open()
    on.starter()
    gevent.sleep(0.02)
    assert on.commands == []


def test_one_that_found_another_one_there_has_not_failed(on: Stage, caplog: pytest.LogCaptureFixture) -> None:
    on.listens, on.exit_code = False, 0
    on.starter()
    eventually(lambda: on.commands)
    on.open()
    gevent.sleep(0.01)
    assert "does not start" not in caplog.text


def test_one_that_lets_nobody_in_for_long_is_killed(on: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[str] = []

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGKILL)
        killed.append("it")
        on.die()

    monkeypatch.setattr(os, "kill", kill)
    on.open()
    on.starter()
    gevent.sleep(0.02)
    assert killed == []
    monkeypatch.setattr(keeper_start, "PATIENCE_S", 0.005)
    eventually(lambda: on.commands)
    on.is_missing = False
    assert killed == ["it"]


@pytest.mark.parametrize("code", [None, 1])
def test_one_that_does_not_start_is_tried_again(on: Stage, code: int | None) -> None:
    on.listens, on.exit_code = False, code
    on.starter()
    eventually(lambda: len(on.commands) == 3)
    on.listens = True
    eventually(lambda: on.door is not None)


def test_what_the_system_refuses_is_tried_again(on: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[None] = []

    def fail(*_: object, **__: object) -> object:
        attempts.append(None)
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fail)
    on.starter()
    eventually(lambda: len(attempts) == 3)


def test_a_folder_that_is_gone_harms_nobody(on: Stage) -> None:
    on.folder += "/none"
    on.starter()
    gevent.sleep(0.01)
    assert on.commands == []
