"""The process as its supervisor sees it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rtmpsrv.service import Service


def test_a_life_is_told_in_order(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(5)
        service = Service(str(tmp_path / "pid"), str(path))
        service.started()
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
        service.reloading()
        service.reloaded()
        service.stopping()
        service.ended()
        assert not (tmp_path / "pid").exists()
        told = [sock.recv(100).split(b"\n")[0] for _ in range(4)]
    assert told == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]


def test_a_successor_is_the_main_process_whether_its_file_can_be_written_or_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        Service(str(tmp_path / "pid"), str(tmp_path / "notify")).took_over()
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
        with pytest.raises(FileNotFoundError):
            Service(str(tmp_path / "none" / "pid"), str(tmp_path / "notify")).took_over()
        assert [sock.recv(100) for _ in range(2)] == [f"MAINPID={os.getpid()}\nREADY=1".encode()] * 2


def test_it_is_not_ready_without_its_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        with pytest.raises(FileNotFoundError):
            Service(str(tmp_path / "none" / "pid"), str(tmp_path / "notify")).started()
        with pytest.raises(BlockingIOError):
            sock.recv(100)
