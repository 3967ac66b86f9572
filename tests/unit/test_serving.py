"""A single process from its ports to its end, with applications that a test leads, and with real ones."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv import pid_file, serving
from rtmpsrv.app import App
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.log import get
from rtmpsrv.server.ports import Ports
from rtmpsrv.workers import parent, remainder
from rtmpsrv.workers.predecessor import Predecessor
from rtmpsrv.workers.successor import Successor
from rtmpsrv.workers.wire import Wire
from tests.unit.leading import GivenSignals, Logged, spare_this_process
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import Heir

EXIT_CODE = 5


class Application:
    """Does what a test says when it runs."""

    def __init__(self) -> None:
        self.handed_over = False
        self.on_serving: Callable[[], None] = lambda: None
        self.on_run: Callable[[], object] = lambda: None
        self.problem: OSError | ConfigError | None = None
        self.started_with: list[Successor | None] = []

    def start(self, successor: Successor | None = None) -> None:
        self.started_with.append(successor)
        if self.problem is not None:
            raise self.problem

    def run(self) -> int:
        self.on_run()
        return EXIT_CODE

    def stop(self) -> None:
        raise AssertionError("nobody asked")

    def reload(self, config: Config | None = None) -> None:
        raise AssertionError("nobody asked")

    def hand_over(self) -> None:
        raise AssertionError("nobody asked")


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.app = Application()
        self.given = GivenSignals(monkeypatch)
        self.logged = Logged(monkeypatch, caplog)
        self.adopted = 0
        self.stayed: list[set[int]] = []
        for name in ("NOTIFY_SOCKET", parent.VARIABLE, "LISTEN_FDS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(parent, "adopt_orphans", self._adopt)
        monkeypatch.setattr(parent, "stay", self._stay)
        spare_this_process(monkeypatch)

    @property
    def errors(self) -> list[str]:
        return list(self.logged.lines(logging.ERROR))

    def _adopt(self) -> None:
        self.adopted += 1

    def _stay(self, signals: tuple[int, ...]) -> int:
        self.stayed.append(set(signals))
        return 9


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Stage:
    return Stage(monkeypatch, caplog)


def test_the_file_is_there_as_long_as_it_serves(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    seen: list[str] = []
    stage.app.on_run = lambda: seen.append(path.read_text())
    assert serving.lead(stage.app, Config(pid_file=str(path)), ["mind this"]) == EXIT_CODE
    assert seen == [f"{os.getpid()}\n"]
    assert not path.exists()
    assert stage.logged.lines(logging.WARNING) == ["mind this"]
    assert (stage.errors, stage.stayed, stage.adopted) == ([], [], 0)


def test_a_port_that_is_taken_is_an_error_that_names_the_settings(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    stage.app.problem = OSError(errno.EADDRINUSE, "Address already in use")
    stage.app.on_run = lambda: pytest.fail("it ran")
    config = Config(bind_address="127.0.0.1", rtmp_port=1999, pid_file=str(path))
    assert serving.lead(stage.app, config, ["mind this"]) == 1
    assert stage.errors == [
        "could not create TCP listener: 127.0.0.1:1999: Address already in use (BIND_ADDRESS, RTMP_PORT)"
    ]
    assert stage.logged.lines(logging.WARNING) == ["mind this"]
    assert not path.exists()


def test_all_that_stops_the_start_is_told(stage: Stage) -> None:
    stage.app.problem = ConfigError(["HTTP_PORT: taken", "API_PORT: taken"])
    stage.app.on_run = lambda: pytest.fail("it ran")
    assert serving.lead(stage.app, Config(), []) == 1
    assert stage.errors == ["HTTP_PORT: taken", "API_PORT: taken"]


def test_a_file_that_cannot_be_written_is_an_error(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "none" / "pid"
    stage.app.on_run = lambda: pytest.fail("it ran")
    assert serving.lead(stage.app, Config(pid_file=str(path)), []) == 1
    assert stage.errors == [f"PID_FILE: cannot write {path}: No such file or directory"]


def test_it_does_not_take_the_file_of_another_server(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pid_file, "_is_server", lambda pid: pid == 4711)
    path = tmp_path / "pid"
    path.write_text("4711\n")
    assert serving.lead(stage.app, Config(pid_file=str(path)), []) == 1
    assert stage.errors == [f"PID_FILE: cannot write {path}: it names process 4711, another server that runs"]
    assert path.read_text() == "4711\n"


def successor() -> Successor:
    near, far = gsocket.socketpair(gsocket.AF_UNIX)
    far.close()
    return Successor(Wire(near), get("TEST"), patience_s=PATIENCE_S)


def test_a_successor_writes_the_file_when_it_serves_and_not_before(stage: Stage, tmp_path: Path) -> None:
    path, seen = tmp_path / "pid", []
    path.write_text("4711\n")

    def run() -> None:
        seen.append(path.read_text())
        stage.app.on_serving()
        seen.append(path.read_text())

    stage.app.on_run = run
    taking = successor()
    assert serving.lead(stage.app, Config(pid_file=str(path)), [], taking) == EXIT_CODE
    assert stage.app.started_with == [taking]
    assert seen == ["4711\n", f"{os.getpid()}\n"]
    taking.close()


def test_a_successor_goes_on_without_its_file(stage: Stage, tmp_path: Path) -> None:
    stage.app.on_run = lambda: stage.app.on_serving()
    taking = successor()
    assert serving.lead(stage.app, Config(pid_file=str(tmp_path / "none" / "pid")), [], taking) == EXIT_CODE
    assert stage.errors == ["PID_FILE cannot be written: No such file or directory"]
    taking.close()


@pytest.mark.parametrize(("handed_over", "code"), [(False, EXIT_CODE), (True, 9)])
def test_the_first_process_stays_where_it_has_to(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, handed_over: bool, code: int
) -> None:
    monkeypatch.setenv(parent.VARIABLE, "YES")
    stage.app.handed_over = handed_over
    assert serving.lead(stage.app, Config(), []) == code
    assert stage.adopted == 1
    passed_on = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2}
    assert stage.stayed == ([passed_on] if handed_over else [])
    assert parent.VARIABLE not in os.environ, "its successor must not stay"


# --- real applications --------------------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[tuple[Config, int]]:
    """Give settings for a port that the system chooses, and a socket that is bound to it."""
    with gsocket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        config = Config(
            bind_address="127.0.0.1", rtmp_port=port, drain_timeout_seconds=1, api_port=0, http_port=0
        )
        yield config, os.dup(sock.fileno())


def greets(config: Config) -> None:
    """See that a server answers there."""
    with gsocket.create_connection(("127.0.0.1", config.rtmp_port), timeout=PATIENCE_S) as sock:
        sock.sendall(b"\x03" + bytes(1536))
        assert sock.recv(1) == b"\x03"


def test_a_file_that_cannot_be_used_is_an_error_before_a_port_is_opened(stage: Stage, tmp_path: Path) -> None:
    config = Config(channels_file=str(tmp_path / "none.toml"))
    assert serving.serve(config, []) == 1
    assert len(stage.errors) == 1
    assert "CHANNELS_FILE" in stage.errors[0]
    assert stage.given.handlers == {}


def test_it_serves_from_its_start_to_a_signal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (config, descriptor):
        monkeypatch.setattr(serving, "take_sockets", lambda environ: [(descriptor, "rtmp")])
        running = gevent.spawn(serving.serve, config, [])
        greets(config)
        stage.given.come(signal.SIGTERM)
        assert running.get(timeout=PATIENCE_S) == 0
    with pytest.raises(ConnectionRefusedError):
        greets(config)


def test_who_lost_the_one_before_on_the_way_ends(stage: Stage) -> None:
    near, far = gsocket.socketpair(gsocket.AF_UNIX)
    far.close()
    assert serving.succeed(Wire(near), Config(), []) == 1
    (line,) = stage.errors
    assert line.startswith("succession failed, this process ends: ")
    assert stage.given.handlers == {}


def test_a_successor_whose_files_cannot_be_used_ends_and_the_one_before_goes_on(
    stage: Stage, tmp_path: Path
) -> None:
    with listening() as (config, descriptor):
        old = App(config, Ports(descriptor))
        old.start()
    near, far = gsocket.socketpair(gsocket.AF_UNIX)
    going = Predecessor(old.estate, Heir(), Wire(near), get("TEST"), start_s=PATIENCE_S, linger_s=PATIENCE_S)
    leaving = gevent.spawn(going.run)
    wrong = replace(config, channels_file=str(tmp_path / "none.toml"))
    assert gevent.spawn(serving.succeed, Wire(far), wrong, []).get(timeout=PATIENCE_S) == 1
    assert not leaving.get(timeout=PATIENCE_S)
    problem, end, *_ = stage.errors
    assert problem.startswith(f"CHANNELS_FILE: {tmp_path}/none.toml cannot be read")
    assert end == "succession failed, this process ends"
    assert stage.given.handlers == {}
    greets(config)
    old.stop(0.0)
    assert old.run() == 0


def test_it_serves_from_where_another_one_stops(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remainder, "LOOK_S", 0.001)
    with listening() as (config, descriptor):
        old = App(config, Ports(descriptor))
        old.start()
    near, far = gsocket.socketpair(gsocket.AF_UNIX)
    logger = get("TEST")
    going = Predecessor(old.estate, Heir(), Wire(near), logger, start_s=PATIENCE_S, linger_s=PATIENCE_S)
    leaving = gevent.spawn(going.run)
    with gsocket.create_connection(("127.0.0.1", config.rtmp_port), timeout=PATIENCE_S) as sock:
        eventually(lambda: old.listeners[0].sessions)
        running = gevent.spawn(serving.succeed, Wire(far), config, [])
        assert leaving.get(timeout=PATIENCE_S)
        assert not old.listeners[0].sessions
        sock.sendall(b"\x03" + bytes(1536))
        assert sock.recv(1) == b"\x03", "nobody has the connection"
    greets(config)
    stage.given.come(signal.SIGTERM)
    assert running.get(timeout=PATIENCE_S) == 0
    old.stop(0.0)
    assert old.run() == 0
