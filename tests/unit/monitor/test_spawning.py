"""Processes that are started without a fork."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from rtmpsrv.monitor.spawning import Spawned, spawn

REPORTS = """
import os, signal, socket, sys
sock = socket.socket(fileno=4)
blocked = sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, [])))
held = sorted(map(int, os.listdir("/proc/self/fd")))
sock.sendall(repr((blocked, held, dict(os.environ).get("A"), os.read(3, 1))).encode())
"""


def heard(sock: socket.socket) -> str:
    data = b""
    while piece := sock.recv(4096):
        data += piece
    return data.decode()


def test_it_gets_what_it_is_given_and_nothing_else() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    os.write(writer, b"x")
    extra = os.open("/dev/null", os.O_RDONLY)
    process = spawn(("-c", REPORTS), (reader, theirs.fileno()), {"A": "b"}, [signal.SIGUSR2])
    theirs.close()
    blocked, held, value, byte = eval(heard(ours))
    assert process.reap(5.0)
    assert (blocked, value, byte) == ([signal.SIGUSR2], "b", b"x")
    assert held[:5] == [0, 1, 2, 3, 4]
    assert not {extra, ours.fileno()}.intersection(held[5:])
    for descriptor in (reader, writer, extra):
        os.close(descriptor)
    ours.close()


@pytest.mark.parametrize("watched", [True, False])
def test_one_that_hangs_is_killed(watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not watched:  # as on old systems

        def unknown(pid: int) -> int:
            raise OSError

        monkeypatch.setattr(os, "pidfd_open", unknown)
    process = spawn(("-c", "import time; time.sleep(60)"), (), {}, ())
    assert not process.reap(0.01)
    process.kill()
    assert process.reap(5.0)
    process.kill()
    assert process.reap(0.0)


def test_one_that_somebody_else_has_reaped_is_gone() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    process = Spawned(pid)
    os.waitid(os.P_PID, pid, os.WEXITED)
    assert process.reap(0.0)


def test_what_cannot_be_started_leaves_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Bad file"):
        spawn((), (0, 9999), {}, ())
    assert len(os.listdir("/proc/self/fd")) == before
