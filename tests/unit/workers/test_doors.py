"""Sockets of our own processes, by name, in a folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.workers import doors
from rtmpsrv.workers.wire import Wire, WireLost
from tests.unit.workers.lines import PATIENCE_S, eventually


def test_who_connects_is_heard_and_nobody_else_may(tmp_path: Path) -> None:
    path = doors.path_of(str(tmp_path), "w1")
    listener = doors.listen(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    connecting = gevent.spawn(doors.connect, path)
    far = Wire(listener.accept()[0])
    near = connecting.get(timeout=PATIENCE_S)
    near.post("hello")
    assert far.receive(PATIENCE_S) == ("hello", [])
    for wire in (near, far):
        wire.close()
    listener.close()


def test_a_newcomer_takes_the_name_over_from_the_living_and_the_dead(tmp_path: Path) -> None:
    path = doors.path_of(str(tmp_path), "w1")
    first, second = doors.listen(path), doors.listen(path)
    connecting = gevent.spawn(doors.connect, path)
    sock, _ = second.accept()
    connecting.get(timeout=PATIENCE_S).close()
    for one in (sock, second, first):
        one.close()
    Path(f"{path}.{os.getpid()}").write_bytes(b"")  # of a process that was killed in between
    doors.listen(path).close()
    assert os.listdir(tmp_path) == ["w1.sock"]


def test_a_folder_that_is_not_there_is_an_error_without_a_leak(tmp_path: Path) -> None:
    path = doors.path_of(str(tmp_path / "none"), "w1")
    with pytest.raises(OSError, match="No such file"):
        doors.listen(path)
    with pytest.raises(WireLost, match="No such file"):
        doors.connect(path)


def test_nobody_who_accepts_is_waited_for_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "CONNECT_S", 0.02)
    monkeypatch.setattr(doors, "BACKLOG", 0)
    path = doors.path_of(str(tmp_path), "w1")
    listener = doors.listen(path)
    waiting = [doors.connect(path)]
    with pytest.raises(WireLost, match="within"):
        waiting.append(doors.connect(path))
    waiting[0].close()
    listener.close()


def test_who_is_told_to_stop_while_connecting_leaves_nothing(tmp_path: Path) -> None:
    path = doors.path_of(str(tmp_path), "w1")
    connecting = gevent.spawn(doors.connect, path)
    connecting.kill()
    assert connecting.dead


def test_what_the_killed_have_left_is_swept_up(tmp_path: Path) -> None:
    listeners = {name: doors.listen(doors.path_of(str(tmp_path), name)) for name in ("w1", "w2", "keeper")}
    listeners["w1"].close()
    (tmp_path / "keeper.journal").touch()
    (tmp_path / "file.sock").mkdir()
    doors.sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["file.sock", "keeper.journal", "keeper.sock", "w2.sock"]
    for name in ("w2", "keeper"):
        listeners[name].close()


class Scarce:
    """A listener that finds no descriptor once."""

    def __init__(self, listener: gsocket.socket) -> None:
        self.listener = listener
        self.failures = [OSError(errno.EMFILE, "Too many open files")]

    def accept(self) -> object:
        if self.failures:
            raise self.failures.pop()
        return self.listener.accept()

    def fileno(self) -> int:
        return self.listener.fileno()


def test_running_out_of_descriptors_is_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "ACCEPT_PAUSE_S", 0.0)
    path = doors.path_of(str(tmp_path), "w1")
    listener, welcomed = doors.listen(path), list[Wire]()
    scarce: Any = Scarce(listener)
    accepting = gevent.spawn(doors.accept, scarce, lambda sock: welcomed.append(Wire(sock)))
    near = doors.connect(path)
    eventually(lambda: welcomed, "welcome")
    assert scarce.failures == []
    listener.close()
    accepting.get(timeout=PATIENCE_S)
    for wire in (near, *welcomed):
        wire.close()
