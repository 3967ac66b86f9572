"""A process that is started to succeed this one: a small program stands for the server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import gevent
import pytest
from gevent import socket as gsocket
from gevent import subprocess

from rtmpsrv.workers import child
from rtmpsrv.workers.wire import WireLost

PATIENCE_S = 20.0  # for Python to start on a busy machine
HEIR = """
import gevent.monkey
gevent.monkey.patch_all()
import os, sys
from rtmpsrv.workers import child
wire = child.inherited()
wire.post([sys.argv[1:], child.VARIABLE in os.environ])
wire.flush(10)
wire.receive(20)
"""


def test_the_successor_is_this_program_with_a_wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "heir.py"
    program.write_text(HEIR)
    monkeypatch.setattr(sys, "orig_argv", ["python", str(program), "--an", "argument"])
    monkeypatch.setenv("PYTHONPATH", str(Path(child.__file__).parents[2]))
    heir, wire = child.start()
    watched = child.Watched(heir.pid)
    assert wire.receive(PATIENCE_S) == ([["--an", "argument"], False], [])
    assert not watched.has_died(0.01)
    assert heir.ended_with(0.01) is None
    heir.kill()
    heir.kill()
    assert watched.has_died(PATIENCE_S)
    with pytest.raises(WireLost):
        wire.receive(PATIENCE_S)
    wire.close()
    watched.close()
    assert heir.ended_with(PATIENCE_S) == -signal.SIGKILL
    assert heir.wait() != 0
    with pytest.raises(OSError, match="No such process"):
        child.Watched(heir.pid)


def test_nothing_is_left_when_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[gsocket.socket] = []
    pair = gsocket.socketpair

    def noted(family: int) -> tuple[gsocket.socket, gsocket.socket]:
        pairs.extend(pair(family))
        return pairs[0], pairs[1]

    monkeypatch.setattr(gsocket, "socketpair", noted)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(OSError, match="/no/such/python"):
        child.start()
    gevent.sleep(0)
    assert [one.fileno() for one in pairs] == [-1, -1]


@pytest.mark.parametrize("text", ["", "x", "-1", "987654"])
def test_a_process_that_nobody_started_so_has_no_wire(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(child.VARIABLE, text)
    assert child.inherited() is None
    assert child.VARIABLE not in os.environ


def test_a_process_that_the_system_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "KILL_S", 0.01)
    with subprocess.Popen(["sleep", "100"]) as process:
        heir = child.Child(process)
        monkeypatch.setattr(process, "send_signal", lambda number: None)
        heir.kill()
        assert process.poll() is None
        monkeypatch.undo()
        heir.kill()
