"""A worker in this process, with a keeper beside it; tests/integration/test_workers.py has real ones."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from posix import close
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv import log, working
from rtmpsrv.client import Client
from rtmpsrv.config import Config
from rtmpsrv.workers import doors, keeper_process
from rtmpsrv.workers.heart import READY, SUCCEEDED, Heart
from rtmpsrv.workers.keeper import Keeper
from rtmpsrv.workers.replacing import Replacing
from rtmpsrv.workers.role import Role
from tests.client import SETTINGS
from tests.unit.leading import GivenSignals, Logged, spare_this_process
from tests.unit.workers.lines import PATIENCE_S, eventually


class Starter:
    """Would start a keeper."""

    def __init__(self, noted: list[bool | None], missing: Callable[[], bool]) -> None:
        self._noted = noted
        self._missing = missing

    def start(self) -> None:
        self._noted.append(self._missing())

    def stop(self) -> None:
        self._noted.append(None)


class Stage:
    """What surrounds a worker: a socket to accept from, its parent's files, RUN_DIR with a keeper."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, logged: Logged, folder: Path) -> None:
        self.given = GivenSignals(monkeypatch)
        self.logged = logged
        self.ignored: set[int] = set()
        self.names: list[str] = []
        self._folder = folder
        self._heartbeat = os.memfd_create("beats")
        self.status, self._status_end = os.pipe()
        os.set_blocking(self.status, False)
        self._sock = gsocket.create_server(("127.0.0.1", 0))
        self.port = int(self._sock.getsockname()[1])
        self.config = Config(
            bind_address="127.0.0.1",
            rtmp_port=self.port,
            run_dir=str(folder),
            workers=2,
            drain_timeout_seconds=1,
            handover_timeout_seconds=1,
        )
        self._keeper: Keeper | None = None
        spare_this_process(monkeypatch)
        monkeypatch.setattr(signal, "signal", lambda number, action: self.ignored.add(number))
        monkeypatch.setattr(log, "name_process", self.names.append)
        monkeypatch.setattr(working, "RETRY_S", 0.001)
        self.starters: list[bool | None] = []  # whether the keeper was missing at a start; None for an end
        self.hearts: list[Heart] = []
        monkeypatch.setattr(working, "KeeperStarter", self._starter)
        monkeypatch.setattr(working, "Heart", self._heart)

    def _starter(self, _folder: str, missing: Callable[[], bool], _log: object) -> Starter:
        return Starter(self.starters, missing)

    def _heart(self, role: Role, on_orphaned: Callable[[], object]) -> Heart:
        self.hearts.append(made := Heart(role, on_orphaned))
        return made

    def role(self, *, with_socket: bool = True, **known: Any) -> Role:
        sockets = [(os.dup(self._sock.fileno()), "rtmp")] if with_socket else []
        return Role(os.getppid(), self._heartbeat, self._status_end, sockets, **known)

    def keep(self) -> Keeper:
        """Be the keeper too."""
        self._folder.mkdir(0o700, exist_ok=True)
        self._keeper, _admission = keeper_process.make(self.config, str(self._folder))
        self._keeper.listen(doors.listen(doors.path_of(str(self._folder), doors.KEEPER)))
        return self._keeper

    def told(self) -> bytes:
        try:
            return os.read(self.status, 10)
        except BlockingIOError:
            return b""

    def run(self, role: Role, *warnings: str) -> gevent.Greenlet[..., int]:
        return gevent.spawn(working.run, self.config, list(warnings), role)

    def lines(self, level: int) -> list[str]:
        return list(self.logged.lines(level))

    def close(self) -> None:
        for heart in self.hearts:
            heart.stop()
        if self._keeper is not None:
            self._keeper.leave()
        self._sock.close()
        for descriptor in (self._heartbeat, self.status, self._status_end):
            close(descriptor)


@pytest.fixture
def stage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> Iterator[Stage]:
    made = Stage(monkeypatch, Logged(monkeypatch, caplog), tmp_path / "run")
    yield made
    made.close()


def test_it_serves_with_the_keeper_until_it_is_told_to_stop_at_once(stage: Stage) -> None:
    keeper = stage.keep()
    running = stage.run(stage.role(), "mind this")
    eventually(lambda: stage.told() == READY, "ready")
    eventually(lambda: set(keeper.members) == {str(os.getpid())}, "known to the keeper")
    assert stage.names == [f"W{os.getpid()}"]
    assert stage.lines(logging.WARNING) == ["mind this"]
    assert stage.ignored == set(working.IGNORED)
    sock = gsocket.create_connection(("127.0.0.1", stage.port), timeout=PATIENCE_S)
    client = Client(sock, SETTINGS, "rtmp://127.0.0.1")
    client.shake_hands()
    client.connect("news")
    client.publish("key")
    stage.given.come(signal.SIGQUIT)
    assert running.get(timeout=PATIENCE_S) == 0
    client.close()


def test_our_manager_has_told_of_the_settings(stage: Stage) -> None:
    stage.keep()
    running = stage.run(stage.role(manager=True), "mind this")
    eventually(lambda: stage.told() == READY, "ready")
    assert stage.lines(logging.WARNING) == []
    stage.given.come(signal.SIGQUIT)
    assert running.get(timeout=PATIENCE_S) == 0


def test_without_a_setting_its_directory_has_the_port_that_it_was_given(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:  # as the address of a socket must be
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        process = working.WorkerProcess(replace(stage.config, run_dir="", rtmp_port=1935), stage.role())
        assert process._run_dir == f"{short}/rtmpsrv-{stage.port}"


@pytest.mark.parametrize("tries", [1, 3])
def test_it_asks_for_others_until_all_are_to_end_then_it_drains(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    asked: list[str] = []

    def others(run_dir: str, _role: Role, _pid: int) -> list[int]:
        asked.append(run_dir)
        return []

    monkeypatch.setattr(working, "others", others)
    monkeypatch.setattr(working, "is_ending", lambda role: len(asked) == tries)
    stage.keep()
    running = stage.run(stage.role())
    eventually(lambda: stage.told() == READY, "ready")
    stage.given.come(signal.SIGTERM)
    assert asked == [stage.config.run_dir] * tries
    told = [
        line for line in stage.lines(logging.INFO) if line.startswith("no other worker can take the sessions")
    ]
    assert len(told) == (1 if tries > 1 else 0)
    stage.given.come(signal.SIGTERM)
    assert len(asked) == tries, "it leaves once"
    assert running.get(timeout=PATIENCE_S) == 0


def test_it_drains_when_nobody_has_taken_its_sessions_in_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "is_ending", lambda role: False)
    monkeypatch.setattr(working, "others", lambda *_: [])
    monkeypatch.setattr(working, "monotonic", iter(range(0, 100, 2)).__next__)
    stage.keep()
    running = stage.run(stage.role())
    eventually(lambda: stage.told() == READY, "ready")
    stage.given.come(signal.SIGTERM)
    assert running.get(timeout=PATIENCE_S) == 0


def test_without_a_keeper_it_says_so_and_serves(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "KEEPER_S", 0.01)
    running = stage.run(stage.role())
    eventually(lambda: stage.told() == READY, "ready")
    assert stage.lines(logging.WARNING) == ["there is no keeper yet: publishers have to wait"]
    assert stage.starters == [True]
    stage.given.come(signal.SIGQUIT)
    assert running.get(timeout=PATIENCE_S) == 0
    assert stage.starters == [True, None]


def test_one_that_is_gone_is_not_succeeded_but_replaced(stage: Stage) -> None:
    stage.keep()
    running = stage.run(stage.role(succeeds=4711))
    eventually(lambda: stage.told() == READY, "ready, but not as a successor")
    (line,) = stage.lines(logging.WARNING)
    assert line.startswith("worker 4711 does not hand over: ")
    stage.given.come(signal.SIGQUIT)
    assert running.get(timeout=PATIENCE_S) == 0


def test_who_succeeds_a_worker_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Taking:
        def run(self, _estate: object, serve: Any) -> None:
            serve()

        def close(self) -> None:
            asked.append("closed")

    def succeed(_self: object, name: str) -> Taking:
        asked.append(name)
        return Taking()

    monkeypatch.setattr(Replacing, "succeed", succeed)
    stage.keep()
    running = stage.run(stage.role(succeeds=4711))
    eventually(lambda: stage.told() == SUCCEEDED, "ready as a successor")
    assert asked == ["4711", "closed"]
    stage.given.come(signal.SIGQUIT)
    assert running.get(timeout=PATIENCE_S) == 0


def test_a_directory_that_is_open_to_others_is_an_error(stage: Stage) -> None:
    folder = Path(stage.config.run_dir)
    folder.mkdir()
    folder.chmod(0o755)
    assert stage.run(stage.role(with_socket=False)).get(timeout=PATIENCE_S) == 1
    (line,) = stage.lines(logging.ERROR)
    assert line.startswith(f"RUN_DIR: {folder} is open to others")
    assert stage.given.handlers == {}


def test_a_port_that_is_taken_is_an_error_that_names_the_settings(stage: Stage) -> None:
    stage.keep()
    assert stage.run(stage.role(with_socket=False)).get(timeout=PATIENCE_S) == 1
    assert stage.lines(logging.ERROR) == [
        f"could not create TCP listener: 127.0.0.1:{stage.port}: Address already in use "
        "(BIND_ADDRESS, RTMP_PORT)"
    ]
    assert stage.told() == b""
