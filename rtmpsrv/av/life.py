"""The process of FFmpeg's libraries, from start to end: answers one question at a time, within bounds."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gevent import socket as gsocket

from rtmpsrv.av.process import BLOCKED, DEADLINE_S
from rtmpsrv.errors import MediaRefused
from rtmpsrv.log import Logger
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.monitor.spawning import FIRST_DESCRIPTOR
from rtmpsrv.workers.calls import Calls
from rtmpsrv.workers.wire import Wire

MEMORY_BYTES: Final = 1 << 30  # of addresses; the libraries take some 160 MB for usual questions
NICENESS: Final = 5  # streams come first
DESCRIPTORS: Final = 64
# A question that is in the library's hands cannot be told to stop: the system does it.
ALARM_S: Final = 2 * DEADLINE_S
CPU_S: Final = 4.0  # of all threads

Made = Callable[[Question], bytes]


class Life:
    """Answers until whoever started it is gone."""

    def __init__(self, wire: Wire, log: Logger, first_part: Made, picture: Made) -> None:
        """Take over a wire."""
        self._calls = Calls(
            wire,
            log,
            tells={},
            calls={
                "ready": lambda: None,
                "init": lambda question: _answer(first_part, question),
                "picture": lambda question: _answer(picture, question),
            },
        )

    def run(self) -> None:
        """Blocks to the end."""
        self._calls.serve()


def inherited() -> Wire:
    """Return the wire that this process was started with. Raises OSError."""
    os.set_inheritable(FIRST_DESCRIPTOR, False)
    return Wire(gsocket.socket(fileno=FIRST_DESCRIPTOR))


def restrict() -> None:
    """Bound what this process may take, and leave signals to those that serve. Never blocks."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    for number in BLOCKED:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
    with suppress(OSError):
        os.nice(NICENESS)


def _answer(make: Made, question: Question) -> tuple[bool, bytes | str]:
    """Return what was made, or why it cannot be."""
    signal.alarm(int(ALARM_S))
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        return True, make(question)
    except MediaRefused as exc:
        return False, str(exc)
    except MemoryError:
        return False, "that takes too much memory"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
