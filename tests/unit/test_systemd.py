"""What systemd tells, and what it is told. The socket of NOTIFY_SOCKET is a real one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtmpsrv.systemd import Notifier, offered, take_sockets


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"LISTEN_FDS": "1"}, [], id="for nobody"),
        pytest.param({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, [], id="for another process"),
        pytest.param({"LISTEN_PID": "7", "LISTEN_FDS": "0"}, [], id="none"),
        pytest.param({"LISTEN_PID": "7", "LISTEN_FDS": "-1"}, [], id="fewer than none"),
        pytest.param({"LISTEN_PID": "7", "LISTEN_FDS": "x"}, [], id="no number"),
        pytest.param({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, [(3, ""), (4, "")], id="without names"),
        pytest.param(
            {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "rtmps:rtmp"},
            [(3, "rtmps"), (4, "rtmp")],
            id="with names",
        ),
    ],
)
def test_sockets_are_for_the_process_that_is_named(
    environ: dict[str, str], expected: list[tuple[int, str]]
) -> None:
    assert offered(environ, 7) == expected


def test_the_variables_are_taken_away() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "rtmp", "HOME": "/"}
    assert take_sockets(environ) == []  # of process 1
    assert environ == {"HOME": "/"}


def test_sockets_are_not_inherited_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        sock.set_inheritable(True)
        monkeypatch.setattr("rtmpsrv.systemd.FIRST_DESCRIPTOR", sock.fileno())
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        assert take_sockets(environ) == [(sock.fileno(), "")]
        assert not sock.get_inheritable()
        monkeypatch.setattr("rtmpsrv.systemd.FIRST_DESCRIPTOR", 1_000_000)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        assert take_sockets(environ) == [(1_000_000, "")]


@contextmanager
def notified(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(5)
        yield sock


def test_a_service_tells_how_it_is(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with notified(path) as sock:
        notifier = Notifier(path)
        before = time.monotonic_ns() // 1000
        for tell in (notifier.ready, notifier.reloading, notifier.stopping, lambda: notifier.took_over(8)):
            tell()
        assert sock.recv(100) == b"READY=1"
        reloading, at = sock.recv(100).decode().splitlines()
        assert reloading == "RELOADING=1"
        name, _, value = at.partition("=")
        assert name == "MONOTONIC_USEC"
        assert before <= int(value) <= time.monotonic_ns() // 1000
        assert sock.recv(100) == b"STOPPING=1"
        assert sock.recv(100) == b"MAINPID=8\nREADY=1"


def test_an_address_may_be_one_without_a_file() -> None:
    name = f"rtmpsrv-test-{os.getpid()}"
    with notified("\0" + name) as sock:
        Notifier("@" + name).ready()
        assert sock.recv(100) == b"READY=1"


def test_nobody_is_told_where_nobody_asked_or_is_there(tmp_path: Path) -> None:
    Notifier("").ready()
    Notifier(str(tmp_path / "none")).ready()
    Notifier("x\0y").ready()
