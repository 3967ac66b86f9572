"""gevent's patches and pytest-xdist in one process; a plugin, loaded before all tests (setup.cfg).

Tests and doubles cooperate on one hub, as the server does. Of a run with `-n`, the process that hands out the
tests has no tests of its own and stays as it is: it waits for its workers with threads.
"""

from __future__ import annotations

import _thread
import contextlib
import os

import pytest
from gevent import monkey

IN_WORKER = "PYTEST_XDIST_WORKER" in os.environ


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Patch, unless the tests run in other processes."""
    if not getattr(early_config.known_args_namespace, "numprocesses", None):
        monkey.patch_all()


def patch_worker() -> None:
    """Patch a worker. Its plugins are loaded late, so tests/conftest.py calls this."""
    from execnet import gateway_base

    # A thread of the system tells the worker what to run, and outlives the patches: what both wait with has
    # to be of the system too. gevent's own would find nothing to wait for, and say so.
    # execnet asks nobody else for them, so the methods are replaced.
    gateway_base.ThreadExecModel.RLock = lambda model: _thread.RLock()  # type: ignore[method-assign]
    gateway_base.ThreadExecModel.Event = lambda model: SystemEvent()  # type: ignore[method-assign]
    monkey.patch_all()


class SystemEvent:
    """As much of `threading.Event` as a worker uses, with a lock of the system, free while it is set."""

    def __init__(self) -> None:
        self._lock = monkey.get_original("_thread", "allocate_lock")()
        self._lock.acquire()

    def set(self) -> None:
        """Let all go on that wait."""
        with contextlib.suppress(RuntimeError):  # it is set
            self._lock.release()

    def clear(self) -> None:
        """Let those wait that come."""
        self._lock.acquire(blocking=False)

    def wait(self) -> None:
        """Block the whole process until it is set; nothing but tests has work to do in it."""
        self._lock.acquire()
        self.set()
