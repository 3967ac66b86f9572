from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.av import life
from rtmpsrv.av.life import DESCRIPTORS, MEMORY_BYTES, Life
from rtmpsrv.av.process import COMMAND
from rtmpsrv.errors import MediaRefused
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.monitor.spawning import spawn
from rtmpsrv.workers.calls import CallLost, Calls
from rtmpsrv.workers.wire import Wire


def refused(_: Question) -> bytes:
    raise MediaRefused("no")


def test_it_answers_until_the_other_end_is_gone() -> None:
    ours, theirs = gsocket.socketpair(gsocket.AF_UNIX)
    alarms: list[float] = []

    def made(_: Question) -> bytes:
        alarms.append(signal.alarm(int(life.ALARM_S)))
        return b"made"

    one = Life(Wire(theirs), log.get("AV"), made, refused)
    running = gevent.spawn(one.run)
    calls = Calls(Wire(ours), log.get("AV"), tells={}, calls={})
    reading = gevent.spawn(calls.serve)

    assert calls.call("ready", timeout_s=5) is None
    assert calls.call("init", Question(()), timeout_s=5) == (True, b"made")
    assert calls.call("picture", Question(()), timeout_s=5) == (False, "no")
    assert alarms[0] > 0  # the system ends what does not end
    assert signal.alarm(0) == 0
    with pytest.raises(CallLost):
        calls.call("other", timeout_s=5)

    calls.close()
    running.join(5)
    assert running.ready()
    reading.join(5)


def test_it_may_take_only_so_much() -> None:
    code = (
        "import os; from rtmpsrv.av.life import restrict; restrict()\n"
        "from resource import *\n"
        "print(*getrlimit(RLIMIT_AS), *getrlimit(RLIMIT_CORE), *getrlimit(RLIMIT_NOFILE), os.nice(0))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=50
    )
    *limits, niceness = map(int, said.stdout.split())
    assert limits == [MEMORY_BYTES, MEMORY_BYTES, 0, 0, DESCRIPTORS, DESCRIPTORS]
    assert niceness >= os.nice(0)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != MEMORY_BYTES


def test_one_that_nobody_has_started_says_so() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "rtmpsrv.av"], capture_output=True, check=False, text=True, timeout=50
    )
    assert said.returncode == 1
    assert "started by the server" in said.stdout + said.stderr


def test_a_question_may_take_only_so_much_time_of_the_machine() -> None:
    code = (
        "from rtmpsrv.av import life; life.CPU_S = 0.05\n"
        "def turn(question):\n    while True: pass\n"
        "life._answer(turn, None)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=50)
    assert said.returncode == -signal.SIGPROF


def test_it_has_no_descriptors_of_others() -> None:
    """Neither what somebody left open for all programs, nor anything but its streams and the wire."""
    ours, theirs = socket.socketpair()
    with socket.socket() as listening, ours, theirs:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.set_inheritable(True)
        process = spawn(COMMAND, (theirs.fileno(),), dict(os.environ), ())
        theirs.close()
        wire = Wire(gsocket.socket(fileno=ours.detach()))
        calls = Calls(wire, log.get("AV"), tells={}, calls={})
        reading = gevent.spawn(calls.serve)
        calls.call("ready", timeout_s=50)

        kinds = [path.readlink().name for path in Path(f"/proc/{process.pid}/fd").iterdir()]

        assert f"socket:[{os.fstat(listening.fileno()).st_ino}]" not in kinds
        assert sum(kind.startswith("socket:") for kind in kinds) <= 1 + 3  # the streams may be sockets
        calls.close()
        assert process.reap(20)
        reading.join(5)
