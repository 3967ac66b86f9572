"""Which kind of process a start becomes. What each does is tested with real processes."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import jwt
import pytest
from gevent import socket as gsocket

from rtmpsrv import command_line, log, serving, working
from rtmpsrv.advice import EMPTY_SECRET
from rtmpsrv.config import Config
from rtmpsrv.workers import child
from rtmpsrv.workers.role import VARIABLE, Role
from rtmpsrv.workers.wire import Wire
from tests.server_process import PROJECT, START_S
from tests.unit.leading import Logged

SECRET = "token-secret-Qn4-that-is-long-enough"
EXIT_CODE = 5


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
        self.logged = logged
        self.became: list[str] = []
        self.config = Config()
        self.warnings: list[str] = []
        self.predecessor: Wire | None = None
        self.role: Role | None = None
        self.executed: list[str] = []
        monkeypatch.setattr(serving, "serve", self._serve)
        monkeypatch.setattr(serving, "succeed", self._succeed)
        monkeypatch.setattr(working, "run", self._work)
        monkeypatch.setattr(os, "execv", self._execute)

    def _serve(self, config: Config, warnings: list[str]) -> int:
        self.became.append("server")
        self.config, self.warnings = config, warnings
        return EXIT_CODE

    def _succeed(self, predecessor: Wire, config: Config, warnings: list[str]) -> int:
        self.became.append("successor")
        self.predecessor, self.config, self.warnings = predecessor, config, warnings
        return EXIT_CODE

    def _work(self, config: Config, warnings: list[str], role: Role) -> int:
        self.became.append("worker")
        self.role, self.config, self.warnings = role, config, warnings
        return EXIT_CODE

    def _execute(self, _path: str, arguments: list[str]) -> None:
        self.became.append("manager")
        self.executed = arguments
        raise SystemExit(EXIT_CODE)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Stage:
    monkeypatch.chdir(tmp_path)  # no `.env` of the developer is read
    for name in ("WORKERS", VARIABLE, child.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(log, "setup", lambda config=None: None)
    monkeypatch.setattr(logging, "shutdown", lambda: None)  # pytest's handlers go on
    monkeypatch.setattr(gevent.get_hub(), "exception_stream", None)
    return Stage(monkeypatch, Logged(monkeypatch, caplog))


def test_the_version_says_how_it_was_built(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("rtmpsrv ")


def test_what_it_does_not_know_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["--port"])
    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err


def test_a_bare_start_serves(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMP_PORT", "1999")
    assert command_line.main([]) == EXIT_CODE
    assert (stage.became, stage.config.rtmp_port) == (["server"], 1999)
    assert isinstance(gevent.get_hub().exception_stream, log.ErrorStream)


def test_without_a_secret_it_warns_as_the_reference_server_does(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    command_line.main([])
    assert stage.warnings.count(EMPTY_SECRET) == 1
    monkeypatch.setenv("CALLBACK_URL", "http://127.0.0.1:9/")
    command_line.main([])
    assert stage.warnings.count(EMPTY_SECRET) == 1
    monkeypatch.setenv("JWT_SECRET", SECRET)
    command_line.main([])
    assert EMPTY_SECRET not in stage.warnings


def test_wrong_settings_are_all_told_and_nothing_is_served(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTMP_PORT", "70000")
    monkeypatch.setenv("RTMP_CHUNK_SIZE", "7")
    monkeypatch.setenv("RTMP_PROT", "1")
    assert command_line.main([]) == 1
    assert stage.became == []
    errors = stage.logged.lines(logging.ERROR)
    assert {line.partition(":")[0] for line in errors} == {"RTMP_PORT", "RTMP_CHUNK_SIZE"}
    assert any("RTMP_PROT" in line for line in stage.logged.lines(logging.WARNING))


def test_who_reads_the_beginning_of_a_check_only_sees_no_traceback() -> None:
    """As `head` does: nobody reads any more when the lines are written."""
    reads, writes = os.pipe()
    os.close(reads)
    environ = os.environ | {"PYTHONPATH": str(PROJECT), "RTMP_PORT": "1"}
    command = [sys.executable, "-m", "rtmpsrv", "--check-config"]
    done = subprocess.run(
        command, stdout=writes, stderr=subprocess.PIPE, env=environ, timeout=START_S, check=False
    )
    os.close(writes)
    assert (done.stderr, done.returncode in (0, 1)) == (b"", True)


@pytest.mark.parametrize(
    ("port", "code", "printed"), [("70000", 1, "# ERROR: RTMP_PORT"), ("1999", 0, "RTMP_PORT=1999")]
)
def test_settings_are_checked_and_nothing_is_served(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    port: str,
    code: int,
    printed: str,
) -> None:
    monkeypatch.setenv("BIND_ADDRESS", "127.0.0.1")
    monkeypatch.setenv("RTMP_PORT", port)
    assert command_line.main(["--check-config"]) == code
    assert stage.became == []
    assert printed in capsys.readouterr().out


def test_a_token_is_printed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["token", "--channel", "news", "--action", "play"]
    assert command_line.main(asked) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "TOKEN_SECRET" in printed.err
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    assert command_line.main(asked) == 0
    printed = capsys.readouterr()
    claims: Any = jwt.decode(printed.out.strip(), SECRET, algorithms=["HS256"])
    assert claims["channel"] == "news"
    assert printed.err == ""
    monkeypatch.setenv("URL_LAYOUT", "app-stream")
    assert command_line.main(asked) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    assert printed.err.startswith("WARNING: no channel fits news: ")
    assert stage.became == []


def test_several_workers_need_a_manager_and_that_needs_gunicorn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", "2")
    with pytest.raises(SystemExit):
        command_line.main([])
    assert stage.executed == [sys.executable, "-m", "rtmpsrv.workers.manager"]
    assert stage.became == ["manager"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command_line.main([]) == 1
    assert stage.logged.lines(logging.ERROR) == [
        "WORKERS=2 needs gunicorn: pip install '.[workers]' in the folder of the sources"
    ]


def test_workers_are_not_begun_where_two_listeners_have_one_port(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORKERS": "2", "RTMP_PORT": "5000", "HTTP_PORT": "5000"}.items():
        monkeypatch.setenv(name, value)
    assert command_line.main([]) == 1
    assert stage.became == []
    [line] = stage.logged.lines(logging.ERROR)
    assert line.startswith("RTMP_PORT, HTTP_PORT: both are 5000")


def test_one_of_several_is_a_worker(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    role = Role(1, 10, 11, [(12, "rtmp")], manager=True)
    monkeypatch.setenv("WORKERS", "2")
    monkeypatch.setenv(VARIABLE, role.to_text())
    assert command_line.main([]) == EXIT_CODE
    assert (stage.became, stage.role) == (["worker"], role)
    assert VARIABLE not in os.environ
    assert json.loads(role.to_text())["manager"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_who_was_started_by_another_process_succeeds_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    near, far = gsocket.socketpair(gsocket.AF_UNIX)
    monkeypatch.setenv("WORKERS", workers)
    monkeypatch.setenv(child.VARIABLE, str(near.detach()))
    assert command_line.main([]) == EXIT_CODE
    assert stage.became == ["successor"]
    told = [line for line in stage.warnings if line.startswith("WORKERS is in force after a restart only")]
    assert len(told) == (workers == "2")
    assert stage.predecessor is not None
    stage.predecessor.close()
    far.close()
