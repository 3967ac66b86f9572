"""The keeper put together; as a process it is started by tests/integration/test_workers_crew.py."""

from __future__ import annotations

import logging
import os
import signal
import socket
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.access.gate import PublishRequest
from rtmpsrv.config import Config
from rtmpsrv.workers import doors, keeper, keeper_lock, keeper_process, role
from rtmpsrv.workers.link import Link
from rtmpsrv.workers.remote import RemoteGate
from tests.doubles.callback_server import CallbackServer
from tests.doubles.secrets import JWT_SECRET, KEY
from tests.unit.leading import GivenSignals, Logged
from tests.unit.workers.lines import PATIENCE_S, eventually

REQUEST = PublishRequest("news", KEY, "10.0.0.1")


@pytest.mark.parametrize("dies", [False, True])
def test_the_callback_is_asked_and_told_and_nothing_is_left_in_the_journal(
    tmp_path: Path, dies: bool
) -> None:
    with CallbackServer(JWT_SECRET) as callback:
        config = Config(callback_url=callback.url, jwt_secret=JWT_SECRET, rtmp_port=1935)
        serving, admission = keeper_process.make(config, str(tmp_path))
        serving.listen(doors.listen(doors.path_of(str(tmp_path), doors.KEEPER)))
        link = Link("w1", log.get("WORKER"))
        gate = RemoteGate(link, PATIENCE_S)
        link.start(doors.path_of(str(tmp_path), doors.KEEPER))
        grant = gate.admit(REQUEST, lambda reason: None)
        if dies:
            serving.leave()
            eventually(lambda: link.line is None, "loss")
        gate.release(grant)
        if dies:
            serving, admission = keeper_process.make(config, str(tmp_path))
            serving.listen(doors.listen(doors.path_of(str(tmp_path), doors.KEEPER)))
        assert callback.wait_for("stop", channel="news", timeout_s=PATIENCE_S)
        eventually(lambda: not serving._journal.kept, "an empty journal")
        assert [received.claims["event"] for received in callback.received] == ["start", "stop"]
        assert serving.close(PATIENCE_S)
        admission.stop_commands()
        link.close()


def test_the_control_server_knows_nothing_of_a_keeper_that_is_gone(tmp_path: Path) -> None:
    config = Config(control_use=True, control_base_url="ws://127.0.0.1:9/")
    made, _ = keeper_process.make(config, str(tmp_path))
    assert not made._remembers
    made.leave()


def test_a_channel_stays_closed_when_the_keeper_dies(tmp_path: Path) -> None:
    first, admission = keeper_process.make(Config(), str(tmp_path))
    admission._block("news", 60.0)
    admission._block("sport", 60.0)
    admission._block("sport", 0.0)
    first.leave()
    second, admission = keeper_process.make(Config(), str(tmp_path))
    assert 59 < admission.gate.blocks().pop("news") <= 60
    assert admission.gate.blocks().keys() == {"news"}
    second.leave()


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    stopping = Event()
    serving = gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping)
    link = Link("w1", log.get("WORKER"))
    gate = RemoteGate(link, PATIENCE_S)
    link.start(doors.path_of(str(tmp_path), doors.KEEPER))
    assert gate.admit(REQUEST, lambda reason: None).channel == "news"
    again = gevent.spawn(keeper_process.serve, Config(), str(tmp_path), Event(), unless_there=True)
    assert again.get(timeout=PATIENCE_S)
    assert link.line is not None
    stopping.set()
    assert serving.get(timeout=PATIENCE_S)
    assert sorted(os.listdir(tmp_path)) == ["keeper.journal", "keeper.lock"]
    link.close()


def test_another_one_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "OVERLAP_S", 0.0)
    stopping = Event()
    serving = [gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping)]
    link = Link("w1", log.get("WORKER"))
    gate = RemoteGate(link, PATIENCE_S)
    link.start(doors.path_of(str(tmp_path), doors.KEEPER))
    grant = gate.admit(REQUEST, lambda reason: None)
    first = link.line
    serving.append(gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping))
    assert serving[0].get(timeout=PATIENCE_S)
    eventually(lambda: link.line not in (first, None), "the next one")
    assert gate.activate(grant)
    assert sorted(os.listdir(tmp_path)) == ["keeper.journal", "keeper.lock", "keeper.sock"]
    stopping.set()
    assert serving[1].get(timeout=PATIENCE_S)
    link.close()


class Beside:
    """Notes what the keeper's process does with what else is in it."""

    def __init__(self, *made_of: object) -> None:
        self.done: list[str] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.inherited: socket.socket | None = None

    def descriptor(self) -> int:
        return self.listening.fileno()

    def start(self, descriptor: int | None = None) -> None:
        self.done.append("start")
        if descriptor is not None:
            self.inherited = socket.socket(fileno=descriptor)

    def retire(self) -> None:
        self.done.append("retire")

    def close(self) -> None:
        self.done.append("close")


def test_what_else_is_in_the_process_retires_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "OVERLAP_S", 0.5)  # the next one has to be heard meanwhile
    stopping, made = Event(), []

    def make(*made_of: object) -> Beside:
        made.append(Beside())
        return made[-1]

    serving = [gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping, make_beside=make)]
    eventually(lambda: made and made[0].done == ["start"])
    serving.append(gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping, make_beside=make))
    assert serving[0].get(timeout=PATIENCE_S)
    assert made[0].done == ["start", "retire", "close"]
    eventually(lambda: len(made) == 2 and made[1].done)
    assert made[1].inherited is not None, "the socket goes along"
    assert made[1].inherited.getsockname() == made[0].listening.getsockname()
    stopping.set()
    assert serving[1].get(timeout=PATIENCE_S)
    assert made[1].done == ["start", "close"]
    for one in (made[0].listening, made[1].listening, made[1].inherited):
        one.close()


def test_one_that_does_not_retire_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_process, "RETIRE_S", 0.05)
    lock = keeper_process.succeed(str(tmp_path))
    assert keeper_process.begin(str(tmp_path)) is None
    with pytest.raises(OSError, match="another keeper does not retire"):
        keeper_process.succeed(str(tmp_path))
    lock.release()
    lock.release()
    keeper_process.succeed(str(tmp_path)).release()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        keeper_process.make(Config(), str(tmp_path / "none"))


def test_it_ends_when_no_worker_is_left_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    looks: list[float] = []

    def looking() -> float:
        looks.append(now[0])
        return now[0]

    def looked_at(time_s: float) -> None:
        now[0] = time_s
        eventually(lambda: looks.count(time_s) > 3, "it looks")

    monkeypatch.setattr(keeper_process, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(keeper_process, "monotonic", looking)
    serving = gevent.spawn(keeper_process.serve, Config(), str(tmp_path), Event())
    link = Link("w1", log.get("WORKER"))
    link.start(doors.path_of(str(tmp_path), doors.KEEPER))
    gate = RemoteGate(link, PATIENCE_S)
    assert gate.admit(REQUEST, lambda reason: None).channel == "news"
    start_s = 10 * keeper_process.ALONE_S
    looked_at(start_s)
    assert not serving.ready(), "it has a worker"
    link.close()
    looked_at(start_s + 0.5 * keeper_process.ALONE_S)
    assert not serving.ready(), "another one may come"
    now[0] = start_s + 3 * keeper_process.ALONE_S
    assert serving.get(timeout=PATIENCE_S)


def test_once_it_is_over_it_ends_with_the_last_worker_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def looking() -> float:
        looks.append(0.0)
        return 0.0  # time stands still

    monkeypatch.setattr(keeper_process, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(keeper_process, "monotonic", looking)
    over = Event()
    serving = gevent.spawn(keeper_process.serve, Config(), str(tmp_path), Event(), is_over=over.is_set)
    link = Link("w1", log.get("WORKER"))
    link.start(doors.path_of(str(tmp_path), doors.KEEPER))
    assert RemoteGate(link, PATIENCE_S).admit(REQUEST, lambda reason: None).channel == "news"
    over.set()
    before = len(looks)
    eventually(lambda: len(looks) > before + 3, "it looks")
    assert not serving.ready(), "it has a worker"
    link.close()
    assert serving.get(timeout=PATIENCE_S)


def test_one_that_is_over_before_it_begins_opens_nothing(tmp_path: Path) -> None:
    assert keeper_process.serve(Config(), str(tmp_path), Event(), is_over=lambda: True)
    assert os.listdir(tmp_path) == [keeper_lock.LOCK]
    assert keeper_lock.holder(str(tmp_path)) is None


class Process:
    """What a process has that is the keeper."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, logged: Logged, folder: Path) -> None:
        self.given = GivenSignals(monkeypatch)
        self.logged = logged
        self.folder = folder / "run"
        self.ignored: set[int] = set()
        monkeypatch.chdir(folder)  # no `.env` of the developer is read
        monkeypatch.setenv("RUN_DIR", str(self.folder))
        monkeypatch.setattr(log, "setup", lambda config=None: None)
        monkeypatch.setattr(log, "name_process", lambda name: None)
        monkeypatch.setattr(signal, "signal", lambda number, action: self.ignored.add(number))


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Process:
    return Process(monkeypatch, Logged(monkeypatch, caplog), tmp_path)


@pytest.mark.parametrize("over", [True, False])
def test_a_signal_ends_the_process_and_the_others_do_nothing(
    process: Process, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    monkeypatch.setattr(keeper.Keeper, "close", lambda self, timeout_s: over)
    running = gevent.spawn(keeper_process.main)
    eventually(lambda: (process.folder / "keeper.sock").exists(), "the door")
    assert process.ignored == {signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
    process.given.come(signal.SIGTERM)
    assert running.get(timeout=PATIENCE_S) == 0
    assert "Stopped" in process.logged.lines(logging.INFO if over else logging.WARNING)


def test_none_goes_on_without_its_manager(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, itself = os.getppid(), os.getpid()
    parents: dict[int, int | None] = {manager: None, itself: None}  # nothing is known
    looks: list[int] = []

    def look(pid: int) -> int | None:
        looks.append(pid)
        return parents[pid]

    monkeypatch.setenv(role.MANAGED_BY, str(manager))
    monkeypatch.setattr(keeper_process, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(keeper_process, "parent_of", look)
    running = gevent.spawn(keeper_process.main)
    eventually(lambda: len(looks) > 6, "it looks")
    assert not running.ready()
    parents[itself] = 1
    assert running.get(timeout=PATIENCE_S) == 0
    assert not (process.folder / "keeper.sock").exists()


def test_wrong_settings_are_an_error(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMP_PORT", "70000")
    assert keeper_process.main() == 1
    (line,) = process.logged.lines(logging.ERROR)
    assert line.startswith("RTMP_PORT: ")
    assert not process.folder.exists()


def test_a_folder_that_cannot_be_used_is_an_error(process: Process) -> None:
    process.folder.mkdir(0o700)
    (process.folder / keeper_lock.LOCK).mkdir()
    assert keeper_process.main() == 1
    assert process.logged.lines(logging.ERROR) == [
        f"the keeper cannot use {process.folder}: Is a directory (RUN_DIR)"
    ]
