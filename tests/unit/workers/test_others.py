"""Who is there to give sessions to. The processes are real ones that do nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtmpsrv.workers import others as module
from rtmpsrv.workers.others import is_ending, others, parent_of
from rtmpsrv.workers.role import Role

NOBODY = 10_000_001  # above the highest number that Linux gives


@contextmanager
def process(*fds: int) -> Iterator[int]:
    """A process that lives until the end of the block, with these descriptors."""
    started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=fds)
    try:
        yield started.pid
    finally:
        started.kill()
        started.communicate()


def door(folder: Path, name: object, at: float) -> None:
    path = folder / f"{name}.sock"
    path.touch()
    os.utime(path, (at, at))


def test_a_parent_is_known_while_its_child_lives() -> None:
    with process() as pid:
        assert parent_of(pid) == os.getpid()
    assert parent_of(pid) is None
    assert parent_of(NOBODY) is None


def test_the_youngest_goes_first_and_only_living_workers_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_ending", lambda role: False)
    with process() as old, process() as young:
        for at, name in enumerate((old, young, os.getpid(), NOBODY, "keeper"), 1):
            door(tmp_path, name, at)
        role = Role(os.getpid(), -1, -1)
        assert others(str(tmp_path), role, os.getpid()) == [young, old]


def test_when_a_parent_ends_only_workers_of_another_one_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_ending", lambda role: True)
    with process() as pid:
        door(tmp_path, pid, 1)
        assert others(str(tmp_path), Role(os.getpid(), -1, -1), NOBODY) == []
        assert others(str(tmp_path), Role(os.getpid() + 1, -1, -1), NOBODY) == [pid]


def test_a_parent_that_has_closed_the_port_is_ending() -> None:
    with socket.socket() as port, socket.socket() as other, process(port.fileno()) as pid:
        monkey = pytest.MonkeyPatch()
        monkey.setattr(os, "getppid", lambda: pid)
        try:
            assert not is_ending(Role(pid, -1, -1, [(port.fileno(), "rtmp")]))
            assert is_ending(Role(pid, -1, -1, [(other.fileno(), "rtmp")]))
            assert is_ending(Role(pid, -1, -1, [(NOBODY, "rtmp")]))
            assert is_ending(Role(pid + 1, -1, -1, [(port.fileno(), "rtmp")])), "it has another parent now"
            monkey.setattr(os, "getppid", lambda: NOBODY)
            assert is_ending(Role(NOBODY, -1, -1, [(port.fileno(), "rtmp")])), "it cannot be known"
        finally:
            monkey.undo()


def test_a_door_that_is_closed_meanwhile_is_the_oldest(tmp_path: Path) -> None:
    assert module._age(tmp_path / "none") == 0.0
