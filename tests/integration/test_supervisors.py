"""The server under a supervisor: systemd's sockets and words, and the files in config/."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtmpsrv.protocol.handshake import HANDSHAKE_SIZE
from tests.client import stage
from tests.doubles.pairs import issue
from tests.kin import Kin
from tests.media_files import system_tool
from tests.server_process import PROJECT, START_S, STOP_S, ServerProcess, environment, free_port

CONFIG = PROJECT / "config"


class Heard:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(START_S)

    def next(self) -> list[str]:
        """Return the lines of the next message, without values that cannot be foretold."""
        text = self._socket.recv(1000).decode()
        return [re.sub(r"(MONOTONIC_USEC=)\d+", r"\1", line) for line in text.splitlines()]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    end = Heard(tmp_path / "notify")
    yield end
    end.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told_how_the_service_is(tmp_path: Path, heard: Heard, workers: str) -> None:
    settings = {"WORKERS": workers, "RUN_DIR": str(tmp_path / "run"), "PID_FILE": str(tmp_path / "pid")}
    with ServerProcess(NOTIFY_SOCKET=heard.path, **settings) as server:
        assert heard.next() == ["READY=1"]
        assert int((tmp_path / "pid").read_text()) == server.process.pid
        server.process.send_signal(signal.SIGHUP)
        assert heard.next() == ["RELOADING=1", "MONOTONIC_USEC="]
        assert heard.next() == ["READY=1"]
        server.process.send_signal(signal.SIGTERM)
        assert heard.next() == ["STOPPING=1"]
        assert server.wait() == 0
        assert not (tmp_path / "pid").exists()


def test_an_upgrade_of_the_manager_is_told_as_a_reload(tmp_path: Path, heard: Heard) -> None:
    settings = {"WORKERS": "2", "RUN_DIR": str(tmp_path / "run")}
    with ServerProcess(NOTIFY_SOCKET=heard.path, **settings) as server:
        assert heard.next() == ["READY=1"]
        server.process.send_signal(signal.SIGUSR2)
        assert heard.next() == ["RELOADING=1", "MONOTONIC_USEC="]
        assert heard.next() == ["READY=1"]
        server.process.send_signal(signal.SIGTERM)
        assert heard.next() == ["STOPPING=1"]


def test_a_successor_becomes_the_service_s_main_process(tmp_path: Path, heard: Heard) -> None:
    file = tmp_path / "pid"
    with ServerProcess(NOTIFY_SOCKET=heard.path, PID_FILE=str(file)) as server:
        assert heard.next() == ["READY=1"]
        server.process.send_signal(signal.SIGUSR2)
        main, ready = heard.next()
        assert ready == "READY=1"
        successor = int(main.removeprefix("MAINPID="))
        try:
            assert successor != server.process.pid
            assert server.process.wait(STOP_S) == 0
            assert int(file.read_text()) == successor, "who leaves does not remove it"
            with stage(server.port) as on:
                on.publisher("app").fence()
        finally:
            os.kill(successor, signal.SIGTERM)
        assert heard.next() == ["STOPPING=1"]
        server.wait()
        assert not file.exists()


def test_one_process_is_not_succeeded_by_several(tmp_path: Path, heard: Heard) -> None:
    (tmp_path / ".env").write_text("WORKERS=1\n")
    with ServerProcess(cwd=str(tmp_path), NOTIFY_SOCKET=heard.path) as server:
        assert heard.next() == ["READY=1"]
        (tmp_path / ".env").write_text("WORKERS=2\n")
        server.process.send_signal(signal.SIGUSR2)
        successor = int(heard.next()[0].removeprefix("MAINPID="))
        os.kill(successor, signal.SIGTERM)
        server.wait()
        assert server.matching("WORKERS is in force after a restart only")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_server_does_not_take_the_file_of_the_first(tmp_path: Path, workers: str) -> None:
    file = tmp_path / "pid"
    with ServerProcess(PID_FILE=str(file)) as server:
        settings = {"RTMP_PORT": str(free_port()), "BIND_ADDRESS": "127.0.0.1", "PID_FILE": str(file)}
        settings |= {"WORKERS": workers, "RUN_DIR": str(tmp_path / "run")}
        done = subprocess.run(
            [sys.executable, "-m", "rtmpsrv"],
            env=environment(settings),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert done.returncode == 1
        assert f"{file}: it names process {server.process.pid}, another server that runs" in done.stdout
        assert int(file.read_text()) == server.process.pid


def test_a_file_that_cannot_be_written_is_an_error(heard: Heard) -> None:
    settings = {"RTMP_PORT": str(free_port()), "PID_FILE": "/none/pid", "NOTIFY_SOCKET": heard.path}
    done = subprocess.run(
        [sys.executable, "-m", "rtmpsrv"],
        env=environment(settings),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    assert done.returncode == 1
    assert "[ERROR] PID_FILE: cannot write /none/pid: No such file or directory" in done.stdout


@contextmanager
def activated(tmp_path: Path, listen: list[str], *options: str, **settings: str) -> Iterator[Path]:
    """Run the server as systemd would with open sockets: at the first connection. Gives its log."""
    log, kin = tmp_path / "log", Kin()
    sockets = [f"--listen={one}" for one in listen]
    names = [f"--setenv={name}={value}" for name, value in environment(settings | kin.settings).items()]
    with log.open("w") as output:
        process = subprocess.Popen(
            [system_tool("systemd-socket-activate"), *sockets, *options, *names,
             sys.executable, "-m", "rtmpsrv"],
            cwd=tmp_path, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)
    finally:
        process.kill()
        kin.kill()
        process.wait()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_opens_the_port(tmp_path: Path, workers: str) -> None:
    port = free_port()
    settings = {"WORKERS": workers, "RUN_DIR": str(tmp_path / "run"), "RTMP_PORT": str(port)}
    with activated(tmp_path, [f"127.0.0.1:{port}"], **settings) as log, until_open(port), stage(port) as on:
        on.publisher("app").fence()
    assert "Traceback" not in log.read_text()
    assert "LISTEN" not in log.read_text()


@contextmanager
def until_open(port: int) -> Iterator[None]:
    """Wait until somebody listens, and answers: connections wait until the server was started."""
    for _ in range(200):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                sock.settimeout(START_S)
                sock.sendall(b"\x03" + bytes(HANDSHAKE_SIZE))
                assert sock.recv(1) == b"\x03"
                break
        signal.sigtimedwait([], 0.05)
    yield


def test_sockets_are_known_by_their_names(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    chain, key = issue().write(tmp_path)
    settings = {"SSL_CERT": str(chain), "SSL_KEY": str(key)}
    listen = [f"127.0.0.1:{port}" for port in ports]
    with (
        activated(tmp_path, listen, "--fdname=rtmps:rtmp", **settings) as log,
        until_open(ports[1]),
        stage(ports[1]) as on,
    ):
        on.publisher("app").fence()
    assert f"[SERVER:TLS] [INFO] Listening on 127.0.0.1:{ports[0]}" in log.read_text()


# --- the files -------------------------------------------------------------------------------------------


def unit(name: str) -> ConfigParser:
    parsed = ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # as the standard library says
    parsed.read(CONFIG / name)
    return parsed


def test_the_units_hold_what_the_server_relies_on() -> None:
    service = unit("rtmpsrv.service")["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert service["RuntimeDirectoryMode"] == "0700"
    assert service["Environment"] == f"RUN_DIR=%t/{service['RuntimeDirectory']}"
    assert service["ExecStart"].endswith("-m rtmpsrv")
    assert service["WorkingDirectory"] == "/etc/rtmpsrv", "where .env is, which a reload reads"
    assert "EnvironmentFile" not in service
    assert service["StateDirectory"] == "rtmpsrv", "where recordings are, as docs/recording.md says"
    assert service["User"] == service["Group"] == "rtmpsrv", "whose group may read the certificate"
    assert unit("rtmpsrv.socket")["Socket"]["FileDescriptorName"] == "rtmp"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("rtmpsrv.service", "rtmpsrv.socket"):
        text = (CONFIG / name).read_text().replace("/opt/rtmpsrv/.venv/bin/python", sys.executable)
        (tmp_path / name).write_text(text.replace("file:/opt", "file:///opt"))
    paths = [str(tmp_path / name) for name in ("rtmpsrv.service", "rtmpsrv.socket")]
    done = subprocess.run(
        [system_tool("systemd-analyze"), "verify", "--man=no", *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "rtmpsrv" in line]
    assert about_ours == []


def test_supervisord_starts_what_can_be_started() -> None:
    program = unit("supervisord.conf")["program:rtmpsrv"]
    assert program["command"] == "%(here)s/../.venv/bin/python -m rtmpsrv"
    assert program["stopsignal"] == "TERM"
    assert int(program["stopwaitsecs"]) > 8
    assert program["environment"] == 'WORKERS="2"'
