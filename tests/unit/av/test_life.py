from __future__ import annotations

import resource
import signal
import subprocess
import sys

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.av import life
from rtmpsrv.av.life import MEMORY_BYTES, Life
from rtmpsrv.errors import MediaRefused
from rtmpsrv.media.mp4_source import Question
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
        "from rtmpsrv.av.life import restrict; restrict()\n"
        "from resource import *; print(*getrlimit(RLIMIT_AS), *getrlimit(RLIMIT_CORE))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=50
    )
    assert said.stdout.split() == [str(MEMORY_BYTES)] * 2 + ["0", "0"]
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != MEMORY_BYTES


def test_one_that_nobody_has_started_says_so() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "rtmpsrv.av"], capture_output=True, check=False, text=True, timeout=50
    )
    assert said.returncode == 1
    assert "started by the server" in said.stdout + said.stderr
