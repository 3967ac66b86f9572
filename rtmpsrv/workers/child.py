"""Starting the process that is to succeed this one: the same program, with one more descriptor."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from posix import close
from typing import Final

from gevent import socket as gsocket
from gevent import subprocess

from .wire import Wire

VARIABLE: Final = "RTMPSRV_SUCCEEDS"  # names the descriptor; for the successor only
KILL_S: Final = 5.0  # for the system to end a process after SIGKILL


class Child:
    """A process that was started to succeed this one."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid: int = process.pid
        self._process = process

    def kill(self) -> None:
        """End it, whatever it does, and wait until it is gone: it shares our sockets. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # the system hangs; nothing more can be done
            self._process.wait(KILL_S)

    def ended_with(self, timeout_s: float) -> int | None:
        """Return its exit code, that of a signal below 0; None while it lives. Blocks up to `timeout_s`."""
        with suppress(subprocess.TimeoutExpired):
            return int(self._process.wait(timeout_s))
        return None

    def wait(self) -> int:
        """Return its exit code once it has ended. Blocks."""
        return int(self._process.wait())


def start() -> tuple[Child, Wire]:
    """Start the successor as this process was started. Raises OSError. Blocks for the fork only."""
    ours, theirs = gsocket.socketpair(gsocket.AF_UNIX)
    try:
        # `orig_argv` begins with the interpreter as it was called, which need not be a path.
        process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, VARIABLE: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Child(process), Wire(ours)


def inherited() -> Wire | None:
    """Return the wire to the process that started this one to succeed it; None where nobody did.

    Call it once, before the settings are read: the variable is none.
    """
    text = os.environ.pop(VARIABLE, "")
    if not text.isdecimal():
        return None
    try:
        sock = gsocket.socket(fileno=int(text))
    except OSError:
        return None
    os.set_inheritable(sock.fileno(), False)
    return Wire(sock)


class Watched:
    """Another process, which may be asked whether it lives; also when its number is used again."""

    def __init__(self, pid: int) -> None:
        """Begin while it lives. Raises OSError when it is gone, or the system cannot watch processes."""
        self._descriptor = os.pidfd_open(pid)

    def has_died(self, patience_s: float) -> bool:
        """Tell whether it has ended. Blocks up to `patience_s` while it has not.

        The system closes the sockets of a process some time before it counts as ended.
        """
        try:
            gsocket.wait_read(self._descriptor, timeout=patience_s, timeout_exc=TimeoutError())
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Watch no more."""
        close(self._descriptor)
