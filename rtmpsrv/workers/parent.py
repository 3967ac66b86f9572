"""The first process of a line, where others hold on to it: it waits for those that came after it.

That of a container is process 1, with which the container ends. Elsewhere a variable asks for it. By then
nothing is served here any more.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from posix import waitpid  # that of `os` is replaced by gevent's, which knows only its own children
from types import FrameType
from typing import Any, Final

import gevent

VARIABLE: Final = "RTMPSRV_PARENT_STAYS"  # YES: the first process stays
LAST_TURN_S: Final = 0.01  # of the event loop
_PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2): orphans below come to us, not to process 1


def must_stay(environ: MutableMapping[str, str]) -> bool:
    """Tell whether this process has to stay; those that succeed it do not, so the variable is taken away."""
    return environ.pop(VARIABLE, "").upper() == "YES" or os.getpid() == 1


def adopt_orphans() -> None:
    """Become the parent of processes whose own has ended, if the system can do that."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def stay(signals: Iterable[int]) -> int:
    """Wait until there is no process below this one; pass on signals to all of them. Blocks.

    Returns the exit code of the first that failed, 0 if none did. The event loop has its last turn here.
    """
    for number in signals:
        signal.signal(number, pass_on)
    gevent.sleep(LAST_TURN_S)  # what came before is in the loop still, which has a handler for it
    loop: Any = gevent.get_hub().loop  # whose stubs do not know this
    loop.reset_sigchld()  # it would take the exit codes
    return first_failure(lambda: waitpid(-1, 0))


def first_failure(wait: Callable[[], tuple[int, int]]) -> int:
    """Let `wait` tell of each process that ends, with its status, until there is none; see `stay`."""
    failure = 0
    while True:
        try:
            _pid, status = wait()
        except ChildProcessError:
            return failure
        code = os.waitstatus_to_exitcode(status)
        failure = failure or (code if code >= 0 else 128 - code)


def descendants(pid: int, proc: Path = Path("/proc")) -> set[int]:
    """Return the processes below one, as the system knows them now."""
    children: dict[int, list[int]] = {}
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: set[int] = set()
    new = [pid]
    while new:
        for child in children.get(new.pop(), []):
            if child not in found:
                found.add(child)
                new.append(child)
    return found


def pass_on(number: int, _frame: FrameType | None = None) -> None:
    """Send a signal to all processes below this one. Never blocks."""
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it was faster
