"""What signals do; that they arrive is for tests with real processes."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from rtmpsrv.config import Config
from rtmpsrv.service import Service
from rtmpsrv.signals import IGNORED, STOPS, Signals
from rtmpsrv.workers import parent
from tests.unit.leading import GivenSignals, Logged


class Application:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.configs: list[Config | None] = []
        self.handed_over = False

    def stop(self) -> None:
        self.asked.append("stop")

    def reload(self, config: Config | None = None) -> None:
        self.asked.append("reload")
        self.configs.append(config)

    def hand_over(self) -> None:
        self.asked.append("hand over")


class Supervised(Service):
    def __init__(self) -> None:
        super().__init__("", "")
        self.told: list[str] = []

    def reloading(self) -> None:
        self.told.append("reloading")

    def reloaded(self) -> None:
        self.told.append("reloaded")

    def stopping(self) -> None:
        self.told.append("stopping")


class Stage:
    def __init__(self, given: GivenSignals, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given = given
        self.logged = logged
        self.app = Application()
        self.service = Supervised()
        self.passed_on: list[int] = []
        monkeypatch.setattr(parent, "pass_on", self.passed_on.append)

    def handle(self, *, stays: bool = False) -> None:
        Signals(self.app, self.service, stays=stays).handle()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Stage:
    monkeypatch.chdir(tmp_path)  # no `.env` of the developer is read
    return Stage(GivenSignals(monkeypatch), Logged(monkeypatch, caplog), monkeypatch)


def test_those_of_a_crash_of_children_and_of_ctrl_z_are_left_alone(stage: Stage) -> None:
    stage.handle()
    handled = set(stage.given.handlers)
    assert handled == {*STOPS, *IGNORED, signal.SIGHUP, signal.SIGUSR2}
    assert not handled & {signal.SIGSEGV, signal.SIGABRT, signal.SIGCHLD, signal.SIGTSTP, signal.SIGCONT}


@pytest.mark.parametrize("number", STOPS)
def test_three_end_the_server(stage: Stage, number: int) -> None:
    stage.handle()
    stage.given.come(number)
    assert (stage.app.asked, stage.service.told, stage.passed_on) == (["stop"], ["stopping"], [])


def test_a_reload_takes_new_settings(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.handle()
    monkeypatch.setenv("RTMP_PORT", "1999")
    monkeypatch.setenv("RTMP_PROT", "1")
    stage.given.come(signal.SIGHUP)
    (config,) = stage.app.configs
    assert config is not None
    assert config.rtmp_port == 1999
    assert stage.service.told == ["reloading", "reloaded"]
    assert any("RTMP_PROT" in line for line in stage.logged.lines(logging.WARNING))


def test_wrong_settings_change_nothing_but_files_are_looked_at(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.handle()
    monkeypatch.setenv("RTMP_PORT", "70000")
    stage.given.come(signal.SIGHUP)
    assert stage.app.configs == [None]
    problem, verdict = stage.logged.lines(logging.ERROR)
    assert "RTMP_PORT" in problem
    assert verdict == "the settings stay as they were"
    assert stage.service.told == ["reloading", "reloaded"]


def test_a_successor_is_started(stage: Stage) -> None:
    stage.handle()
    stage.given.come(signal.SIGUSR2)
    assert stage.app.asked == ["hand over"]


def test_a_process_that_stays_for_another_one_passes_signals_on(stage: Stage) -> None:
    stage.handle(stays=True)
    stage.given.come(signal.SIGUSR2)
    assert stage.passed_on == [], "it serves itself"
    stage.app.handed_over = True
    for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM):
        stage.given.come(number)
    assert stage.passed_on == [signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM]
    assert stage.app.asked == ["hand over", "stop"], "it ends too, but does nothing else"


def test_one_that_does_not_stay_passes_nothing_on(stage: Stage) -> None:
    stage.handle()
    stage.app.handed_over = True
    stage.given.come(signal.SIGTERM)
    assert (stage.passed_on, stage.app.asked) == ([], ["stop"])


def test_others_do_nothing_and_are_named(stage: Stage) -> None:
    stage.handle()
    for number in (signal.SIGUSR1, signal.SIGRTMIN, signal.SIGRTMIN + 1):
        stage.given.come(number)
    names = ("SIGUSR1", "SIGRTMIN", f"signal {signal.SIGRTMIN + 1}")
    assert stage.logged.lines(logging.INFO) == [f"{name} is ignored" for name in names]
    assert (stage.app.asked, stage.service.told) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU])
def test_what_a_terminal_objects_to_is_told_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    set_to: list[tuple[int, object]] = []
    monkeypatch.setattr(signal, "signal", lambda *what: set_to.append(what))
    stage.handle()
    stage.given.come(number)
    assert stage.given.watchers[number].cancelled
    assert set_to == [(number, signal.SIG_IGN)]
