"""The start of a manager, up to where it would start workers."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.workers import accepted, manager
from rtmpsrv.workers.arbiter import RIGHT, TRIAL, RtmpArbiter
from rtmpsrv.workers.manager import Manager, begin
from rtmpsrv.workers.manager_state import VARIABLE, ManagerState
from tests.server_process import free_port


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no `.env` of the developer be read."""
    monkeypatch.chdir(tmp_path)
    for name in ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", VARIABLE):
        monkeypatch.delenv(name, raising=False)


def config(tmp_path: Path, **settings: object) -> Config:
    values = {
        "bind_address": "127.0.0.1",
        "rtmp_port": free_port(),
        "run_dir": str(tmp_path / "run"),
        "http_port": 0,
    }
    return Config(**values | settings)  # type: ignore[arg-type]


def close(state: ManagerState) -> None:
    for descriptor in state.descriptors:
        os.close(descriptor)


def test_the_ports_are_taken_but_nobody_is_let_in_before_a_worker_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@x")
    settings = config(tmp_path, ssl_cert="x", ssl_key="y", ssl_port=free_port(), ssl_bind_address="127.0.0.1")
    state = begin(settings)
    assert [name for _descriptor, name in state.sockets] == ["rtmp", "rtmps"]
    for (descriptor, _name), port in zip(state.sockets, (settings.rtmp_port, settings.ssl_port), strict=True):
        with closing(socket.socket(fileno=os.dup(descriptor))) as sock:
            assert sock.getsockname() == ("127.0.0.1", port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
    assert state.notify_address == "@x"
    assert "NOTIFY_SOCKET" not in os.environ, "the workers have nothing to tell"
    close(state)


def test_the_port_of_the_api_matters_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        close(begin(config(tmp_path, api_port=port)))
        asked = config(tmp_path, api_port=port, given=frozenset({"API_PORT"}))
        with pytest.raises(ConfigError) as caught:
            begin(asked)
    assert caught.value.problems[0].startswith(f"API_PORT: cannot listen on 127.0.0.1:{port}: ")
    close(begin(asked))
    monkeypatch.setattr("rtmpsrv.api_settings.installed", lambda: False)
    with pytest.raises(ConfigError) as caught:
        begin(asked)
    assert "'.[web]'" in caught.value.problems[0]
    close(begin(config(tmp_path, api_port=0, given=frozenset({"API_PORT"}))))


def test_a_directory_has_one_server(tmp_path: Path) -> None:
    state = begin(config(tmp_path))
    with pytest.raises(ConfigError) as caught:
        begin(config(tmp_path))
    assert caught.value.problems == [f"RUN_DIR: {tmp_path / 'run'} is in use by another server"]
    close(state)
    close(begin(config(tmp_path)))


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with socket.create_server(("127.0.0.1", settings.rtmp_port)), pytest.raises(ConfigError) as caught:
        begin(settings)
    where = f"127.0.0.1:{settings.rtmp_port}"
    assert caught.value.problems == [
        f"could not create TCP listener: {where}: Address already in use (BIND_ADDRESS, RTMP_PORT)"
    ]


def test_a_socket_of_systemd_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(tmp_path)
    sock = socket.create_server(("127.0.0.1", settings.rtmp_port))
    descriptor = sock.detach()
    monkeypatch.setattr("rtmpsrv.systemd.FIRST_DESCRIPTOR", descriptor)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    state = begin(settings)
    assert state.sockets == [(descriptor, "rtmp")]
    close(state)


def test_gunicorn_is_told_our_settings() -> None:
    told = Manager(Config(workers=3, drain_timeout_seconds=8), ManagerState(-1, [], ""))
    assert (told.cfg.workers, told.cfg.graceful_timeout, told.cfg.timeout) == (3, 12, 30)
    assert told.cfg.worker_class.__name__ == "Worker"
    assert callable(told.load())


def test_a_program_on_trial_says_that_it_is_right_or_what_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert manager.main([TRIAL]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == RIGHT
    monkeypatch.setenv("WORKERS", "0")
    assert manager.main([TRIAL]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("WORKERS: ")


def test_it_says_why_it_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUN_DIR", str(tmp_path / "none" / "run"))
    assert manager.main([]) == 1
    monkeypatch.setenv("WORKERS", "0")
    assert manager.main([]) == 1


def test_its_number_is_in_the_file_when_all_serve_and_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def run(arbiter: RtmpArbiter) -> None:
        assert not (tmp_path / "pid").exists()
        arbiter.num_workers = 0
        arbiter._announce()
        seen.append((tmp_path / "pid").read_text())
        close(arbiter._left)
        for listener in arbiter.LISTENERS:
            listener.detach()

    monkeypatch.setattr(RtmpArbiter, "run", run)
    for name, value in {
        "WORKERS": "2",
        "RUN_DIR": str(tmp_path / "run"),
        "PID_FILE": str(tmp_path / "pid"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RTMP_PORT", str(free_port()))
    monkeypatch.setenv("BIND_ADDRESS", "127.0.0.1")
    assert manager.main([]) == 0
    assert seen == [f"{os.getpid()}\n"]
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("spoilt", [False, True])
def test_the_image_after_another_keeps_what_is_fixed_and_survives_bad_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: bool
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    before = config(tmp_path, max_connections=5)
    fixed = accepted.fixed_by(before, str(folder))
    accepted.settle(accepted.Wanted({"MAX_CONNECTIONS": "5"}, before, []), fixed)
    text = "WORKERS=0\n" if spoilt else "RTMP_PORT=7\nMAX_CONNECTIONS=6\n"
    (tmp_path / ".env").write_text(text)
    seen: list[Config] = []
    monkeypatch.setattr(RtmpArbiter, "run", lambda arbiter: seen.append(arbiter.app.config))
    monkeypatch.setenv(VARIABLE, ManagerState(-1, [], "", fixed=fixed).to_text())
    assert manager.main([]) == 0
    (now,) = seen
    assert (now.rtmp_port, now.run_dir) == (before.rtmp_port, str(folder))
    assert now.max_connections == (5 if spoilt else 6)
