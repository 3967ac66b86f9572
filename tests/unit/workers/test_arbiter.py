"""What the manager decides. No process is started: gunicorn's own part of that is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gunicorn import arbiter as gunicorn_arbiter
from gunicorn.errors import HaltServer

from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.service import Service
from rtmpsrv.workers import accepted
from rtmpsrv.workers import arbiter as arbiter_module
from rtmpsrv.workers.accepted import Wanted
from rtmpsrv.workers.arbiter import BOOT_S, RIGHT, RtmpArbiter
from rtmpsrv.workers.heart import READY, SUCCEEDED
from rtmpsrv.workers.keeper_start import COMMAND
from rtmpsrv.workers.manager import Manager
from rtmpsrv.workers.manager_state import ManagerState, WorkerState, take_state
from rtmpsrv.workers.worker import Worker

FIRST_PID = 10_000_001  # above the highest that Linux gives


class Told(Service):
    """A service that writes down what it is told."""

    def __init__(self) -> None:
        super().__init__("", "")
        self.words: list[str] = []
        self.fails = False

    def reloading(self) -> None:
        self.words.append("reloading")

    def started(self) -> None:
        if self.fails:
            raise OSError(13, "Permission denied")
        self.words.append("ready")

    def reloaded(self) -> None:
        self.words.append("ready")

    def stopping(self) -> None:
        self.words.append("stopping")


class Stage:
    """A manager and the workers that it believes to have."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, workers: int, left: ManagerState | None = None
    ) -> None:
        self.clock = 1000.0
        self.kills: list[tuple[int, int]] = []
        self.keeper: int | None = FIRST_PID
        self.keepers: list[list[str]] = []  # commands that started one
        self.keepers_settings: list[str] = []  # the files that they read
        self.ends: dict[int, int] = {}  # descriptors through which workers tell
        self.config = Config(workers=workers, run_dir="/none")
        self.service = Told()
        self.state = left or ManagerState(-1, [], "")
        self.arbiter = RtmpArbiter(Manager(self.config, self.state), self.service, self.state)
        monkeypatch.setattr(arbiter_module, "monotonic", lambda: self.clock)
        monkeypatch.setattr(gunicorn_arbiter.Arbiter, "spawn_worker", lambda _: self._spawn())
        monkeypatch.setattr(RtmpArbiter, "kill_worker", lambda _, *kill: self.kills.append(kill))
        monkeypatch.setattr(RtmpArbiter, "reap_workers", lambda _: None)
        monkeypatch.setattr(RtmpArbiter, "init_signals", lambda _: None)
        monkeypatch.setattr(os, "posix_spawn", lambda *command, setsigmask: self._start_keeper(*command[1:]))
        monkeypatch.setattr(arbiter_module, "keeper_of", lambda run_dir: self.keeper)

    def _spawn(self) -> int:
        it = self.arbiter
        it.worker_age += 1
        worker = Worker(it.worker_age, os.getpid(), [], it.app, 1.0, it.cfg, it.log)
        it.cfg.pre_fork(it, worker)
        worker.pid = FIRST_PID + it.worker_age
        it.WORKERS[worker.pid] = worker
        self.ends[worker.pid] = os.dup(worker._status_end)
        return int(worker.pid)

    def _start_keeper(self, command: list[str], environ: dict[str, str]) -> None:
        self.keepers.append(command)
        self.keepers_settings.append(environ[accepted.VARIABLE])

    def look(self, *arrived: int, succeeded: bool = True) -> list[int]:
        """Let workers arrive and the manager look; return the numbers of all."""
        for number in arrived:
            os.write(self.ends[FIRST_PID + number], SUCCEEDED if succeeded else READY)
        self.arbiter.manage_workers()
        return [pid - FIRST_PID for pid in self.arbiter.WORKERS]

    def worker(self, number: int) -> Worker:
        return self.arbiter.WORKERS[FIRST_PID + number]

    def end(self, number: int) -> None:
        """Let a worker be gone, as `reap_workers` finds it."""
        worker = self.arbiter.WORKERS.pop(FIRST_PID + number)
        worker.tmp.close()
        self.arbiter.cfg.child_exit(self.arbiter, worker)

    def close(self) -> None:
        for worker in self.arbiter.WORKERS.values():
            worker.gone()
            worker.tmp.close()
        for descriptor in self.ends.values():
            os.close(descriptor)

    def signals(self) -> list[tuple[int, int]]:
        """Return who was sent what since the last time."""
        sent, self.kills = self.kills, []
        return [(pid - FIRST_PID, number) for pid, number in sent]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A manager of two workers that serve."""
    stage = Stage(monkeypatch, 2)
    stage.look()
    stage.look(1, 2)
    try:
        yield stage
    finally:
        stage.close()


def reload(stage: Stage, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    values: dict[str, Any] = {"workers": 2, "run_dir": "/none"} | settings
    wanted = Wanted({}, Config(**values), ["a warning"])
    monkeypatch.setattr(accepted, "read", lambda again: wanted)
    monkeypatch.setattr(accepted, "settle", lambda wanted, fixed: wanted.config)
    stage.arbiter.handle_hup()


def test_the_service_is_ready_when_all_workers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, 2)
    assert stage.look() == [1, 2]
    assert stage.look(1) == [1, 2]
    assert stage.service.words == []
    stage.look(2)
    stage.look()
    assert stage.service.words == ["ready"]
    stage.close()


def test_a_worker_that_was_killed_is_replaced_at_once(two: Stage) -> None:
    two.end(1)
    assert two.look() == [2, 3]
    assert two.worker(3).succeeds is None


def test_ttin_and_ttou_add_a_worker_and_let_the_oldest_go(two: Stage) -> None:
    two.arbiter.handle_ttin()
    assert two.look(3) == [1, 2, 3]
    two.arbiter.handle_ttou()
    assert two.signals() == [(1, signal.SIGTERM)]
    two.look()
    assert two.signals() == [], "it is told once, however long it takes"
    two.arbiter.handle_ttou()
    assert two.signals() == [(2, signal.SIGTERM)]
    two.arbiter.handle_ttou()
    assert two.signals() == [], "one stays"
    two.end(1)
    assert two.look() == [2, 3]


def test_one_that_dies_while_another_takes_its_time_to_leave_is_replaced(two: Stage) -> None:
    two.arbiter.handle_ttou()
    two.end(2)
    assert two.look() == [1, 3]


def test_a_reload_replaces_one_worker_after_the_other(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reload(two, monkeypatch)
    assert two.service.words == ["ready", "reloading"]
    assert two.look() == [1, 2, 3]
    assert two.worker(3).succeeds == FIRST_PID + 1
    assert two.look() == [1, 2, 3], "the next one waits"
    assert two.look(3) == [1, 2, 3, 4]
    assert two.worker(4).succeeds == FIRST_PID + 2
    assert two.service.words == ["ready", "reloading"]
    assert two.keepers == []
    assert two.look(4) == [1, 2, 3, 4], "old ones may stay behind"
    assert two.service.words == ["ready", "reloading", "ready"]
    assert two.keepers == [[sys.executable, *COMMAND]]
    assert two.keepers_settings == ["/none/settings.json"], "the new ones"
    assert two.signals() == [], "nobody is told to end: they do when nothing is left"
    two.end(1)
    two.end(2)
    assert two.look() == [3, 4]


def test_one_that_stays_behind_is_not_counted(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reload(two, monkeypatch)
    two.look()
    two.look(3)
    two.look(4)
    two.end(4)
    assert two.look() == [1, 2, 3, 5]


def test_one_whose_sessions_could_not_move_is_drained(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reload(two, monkeypatch)
    two.look()
    two.look(3, succeeded=False)
    assert two.signals() == [(1, signal.SIGTERM)]


def test_a_successor_that_dies_ends_the_reload_and_the_old_one_stays(
    two: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reload(two, monkeypatch)
    two.look()
    two.end(3)
    assert two.look() == [1, 2]
    assert not two.worker(1).leaving
    assert two.service.words[-1] == "ready"
    assert two.signals() == []


def test_a_reload_during_a_reload_replaces_the_newcomer_too(
    two: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reload(two, monkeypatch)
    assert two.look() == [1, 2, 3]
    reload(two, monkeypatch)
    assert two.look(3) == [1, 2, 3, 4]
    assert two.look(4) == [1, 2, 3, 4, 5]
    assert [two.worker(number).succeeds for number in (4, 5)] == [FIRST_PID + 2, FIRST_PID + 3]
    two.look(5)
    assert [worker.age for worker in two.arbiter._counted()] == [4, 5]
    assert two.service.words[-1] == "ready"


def test_a_newcomer_that_dies_after_the_next_reload_does_not_end_that_one(
    two: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reload(two, monkeypatch)
    two.look()
    reload(two, monkeypatch)
    two.end(3)
    assert two.look() == [1, 2, 4]
    two.look(4)
    two.look(5)
    assert [worker.age for worker in two.arbiter._counted()] == [4, 5]


def test_a_successor_that_hangs_is_killed(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reload(two, monkeypatch)
    two.look()
    two.clock += BOOT_S
    two.look()
    assert two.signals() == []
    two.clock += 1
    two.look()
    assert two.signals() == [(3, signal.SIGKILL)]


def test_a_worker_that_dies_in_the_middle_of_being_succeeded_costs_nothing_more(
    two: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reload(two, monkeypatch)
    two.look()
    two.end(1)
    two.look(3)
    assert [one.age for one in two.arbiter._counted()][:2] == [2, 3]


def test_a_reload_with_fewer_workers_lets_the_others_go(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reload(two, monkeypatch, workers=1)
    two.look()
    assert two.signals() == [(1, signal.SIGTERM)]
    assert two.worker(3).succeeds == FIRST_PID + 2
    two.look(3)
    two.end(1)
    two.end(2)
    assert two.look() == [3]


def test_a_reload_with_more_workers_starts_them(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reload(two, monkeypatch, workers=3)
    assert two.look() == [1, 2, 3, 4]
    assert [two.worker(number).succeeds for number in (3, 4)] == [FIRST_PID + 1, None]


def test_bad_settings_change_nothing(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(again: bool) -> object:
        raise ConfigError(["WORKERS: 0 is outside 1-256"], ["a warning"])

    monkeypatch.setattr(accepted, "read", fail)
    two.arbiter.handle_hup()
    assert two.look() == [1, 2]
    assert two.service.words == ["ready", "reloading", "ready"]


def test_workers_that_cannot_start_end_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, 2)
    stage.look()
    stage.end(1)
    with pytest.raises(HaltServer):
        stage.end(2)
    stage.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_workers_that_are_ended_before_they_serve_are_no_failure(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    stage = Stage(monkeypatch, 2)
    stage.look()
    stage.arbiter.signal(number, None)
    for worker in 1, 2:
        stage.end(worker)
    assert stage.arbiter.wait_for_signals(0) == [number]
    stage.close()


def test_workers_that_end_while_all_is_stopped_are_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, 2)
    stage.look()
    stop(stage, monkeypatch, None)
    for worker in 1, 2:
        stage.end(worker)
    stage.close()


def test_later_a_worker_that_cannot_start_is_tried_again_ever_slower(two: Stage) -> None:
    two.end(1)
    assert two.look() == [2, 3]
    for number, pause_s in ((3, 1), (4, 2), (5, 4)):
        two.end(number)
        two.clock += pause_s - 0.5
        assert two.look() == [2]
        two.clock += 1
        assert two.look() == [2, number + 1]
    two.look(6)
    two.end(6)
    assert two.look() == [2, 7], "it did start, so there is no pause"


def test_a_new_image_takes_up_the_workers_of_the_old_one(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    images: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda path, command, environ: images.append(environ))
    monkeypatch.setattr(RtmpArbiter, "_would_start", lambda _: True)
    two.arbiter.handle_ttou()
    two.arbiter._left = ManagerState(os.open(os.devnull, os.O_RDONLY), [], "")
    two.arbiter.handle_usr2()
    assert two.service.words == ["ready", "reloading"]
    (environ,) = images
    state = take_state(environ)
    assert state is not None
    assert [(one.pid - FIRST_PID, one.ready, one.leaving) for one in state.workers] == [
        (1, True, True),
        (2, True, False),
    ]
    copies = [
        WorkerState(one.pid, one.age, os.dup(one.heartbeat), os.dup(one.status), one.ready, one.leaving)
        for one in state.workers
    ]
    os.close(state.lock)
    new = Stage(monkeypatch, 1, ManagerState(-1, [], "", copies))
    new.arbiter.start()
    assert new.look() == [1, 2, 3]
    assert new.worker(3).succeeds == FIRST_PID + 2, "the one that leaves has no successor"
    assert not os.get_inheritable(copies[0].status)
    new.look(3)
    assert new.service.words == ["ready"]
    new.close()


def test_there_is_no_new_image_while_workers_are_replaced_or_if_it_does_not_start(
    two: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it goes on"))
    monkeypatch.setattr(RtmpArbiter, "_would_start", lambda _: False)
    two.arbiter.handle_usr2()
    reload(two, monkeypatch)
    monkeypatch.setattr(RtmpArbiter, "_would_start", lambda _: True)
    two.arbiter.handle_usr2()
    two.look()
    two.arbiter.handle_usr2()


def test_signals_that_come_meanwhile_wait_for_the_new_image(
    two: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    arbiter = two.arbiter
    waiting: set[signal.Signals] = set()

    def become_another(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)  # a second one, in the moment itself
        waiting.update(signal.sigpending())

    monkeypatch.setattr(os, "execve", become_another)
    monkeypatch.setattr(RtmpArbiter, "_would_start", lambda _: True)
    monkeypatch.setattr(RtmpArbiter, "_state_of", lambda *_: None)
    monkeypatch.setattr(ManagerState, "descriptors", [])
    monkeypatch.setattr(ManagerState, "to_text", lambda _: "")
    former = {number: signal.signal(number, arbiter.signal) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        for number in (signal.SIGUSR2, signal.SIGCHLD, signal.SIGHUP):
            arbiter.signal(number, None)
        assert arbiter.wait_for_signals(0) == [signal.SIGUSR2]
        arbiter.handle_usr2()
        assert waiting == {signal.SIGHUP, signal.SIGTERM}
        assert arbiter.wait_for_signals(0) == []
        arbiter._left = ManagerState(-1, [], "")
        arbiter.start()
        assert {*arbiter.wait_for_signals(0), *arbiter.wait_for_signals(0)} == waiting
        arbiter.wakeup()
        assert arbiter.wait_for_signals(0) == []
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, arbiter.SIGNALS)
        for number, handler in former.items():
            signal.signal(number, handler)


def test_a_file_that_cannot_be_written_ends_the_start_but_no_reload(
    two: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.service.fails = True
    reload(two, monkeypatch)
    for arrived in (), (3,), (4,):
        two.look(*arrived)
    assert two.service.words == ["ready", "reloading"]
    stage = Stage(monkeypatch, 1)
    stage.service.fails = True
    stage.look()
    with pytest.raises(HaltServer, match="PID_FILE"):
        stage.look(1)
    stage.close()


@pytest.mark.parametrize(
    ("printed", "right"), [(f"a line of the log\n{RIGHT}\n", True), ("", False), ("a line\n", False)]
)
def test_a_program_on_trial_has_to_say_that_it_is_right(
    two: Stage, monkeypatch: pytest.MonkeyPatch, printed: str, right: bool
) -> None:
    done = subprocess.CompletedProcess([], 0, printed)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert two.arbiter._would_start() is right


def test_a_program_on_trial_that_hangs_is_not_right(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arbiter_module, "TRIAL_S", 0.0)
    assert not two.arbiter._would_start()
    monkeypatch.setattr(sys, "executable", "/none")
    assert not two.arbiter._would_start()


def test_stops_are_told_to_the_service_and_ctrl_c_drains(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(gunicorn_arbiter.Arbiter, "stop", lambda _, graceful: stopped.append(graceful))
    two.arbiter.stop()
    assert stopped == [True]
    assert two.service.words[-1] == "stopping"
    with pytest.raises(StopIteration):
        two.arbiter.handle_int()
    two.arbiter.handle_winch()
    two.arbiter.handle_usr1()
    assert two.signals() == []


@contextmanager
def keeper(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that says when it has begun."""
    command = [sys.executable, "-c", f"import signal\n{code}\nprint(flush=True)\nsignal.pause()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def stop(stage: Stage, monkeypatch: pytest.MonkeyPatch, keeper: int | None) -> None:
    monkeypatch.setattr(gunicorn_arbiter.Arbiter, "stop", lambda _, graceful: None)
    monkeypatch.setattr(arbiter_module, "monotonic", time.monotonic)
    monkeypatch.setattr(arbiter_module, "AT_ONCE_S", 0.1)
    stage.keeper = keeper
    stage.arbiter.stop(False)


def test_the_keeper_ends_last(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with keeper("") as process:
        stop(two, monkeypatch, process.pid)
        assert process.wait(5) == -signal.SIGTERM


def test_a_keeper_that_does_not_end_is_killed(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with keeper("signal.signal(signal.SIGTERM, signal.SIG_IGN)") as process:
        stop(two, monkeypatch, process.pid)
        assert process.wait(5) == -signal.SIGKILL


def test_there_need_not_be_a_keeper(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(two, monkeypatch, None)
    stop(two, monkeypatch, FIRST_PID)
    two.keeper = None
    two.arbiter._renew_keeper()
    assert two.keepers == []
