"""The worker class for gunicorn's arbiter, and for our manager: what becomes of a forked child.

It becomes a new process image, `python -m rtmpsrv` with a role. So a reload brings all code anew, and nothing
of gunicorn or of a hub of the parent is left in it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from typing import Any

from gunicorn import util
from gunicorn.workers import base

from . import accepted
from .heart import READY, SUCCEEDED
from .manager_state import WorkerState
from .role import MANAGED_BY, VARIABLE, Role


class Worker(base.Worker):  # type: ignore[misc]  # gunicorn has no types
    """One worker, as its parent sees it; in the child, `init_process` starts it."""

    tmp: Any  # the file of heartbeats

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.status, self._status_end = os.pipe()
        os.set_blocking(self.status, False)
        self.ready = False  # it serves
        self.succeeded = False  # and has taken over the sessions of the worker before it
        self.leaving = False  # it hands its sessions on; not counted any more
        self.succeeds: int | None = None

    @classmethod
    def setup(cls) -> None:
        """Let gunicorn's log call the sockets what they are. Called in the parent."""
        logging.getLogger("gunicorn.error").addFilter(_no_http)

    def became_ready(self) -> bool:
        """Tell, once, that the worker serves. Called in the parent. Never blocks."""
        if self.ready:
            return False
        with contextlib.suppress(BlockingIOError):
            said = os.read(self.status, 1)
            self.ready, self.succeeded = said in (READY, SUCCEEDED), said == SUCCEEDED
        return self.ready

    def adopt(self, state: WorkerState) -> None:
        """Stand for a worker that runs already, started by the image of the manager before this one."""
        self.gone()
        self.tmp.close()
        self.tmp = _Heartbeat(state.heartbeat)
        self.pid, self.status = state.pid, state.status
        self.ready, self.leaving, self.booted = state.ready, state.leaving, True

    def forked(self) -> None:
        """Let go of the child's end of the pipe. Called in the parent, after the fork."""
        if self._status_end >= 0:
            os.close(self._status_end)
            self._status_end = -1

    def gone(self) -> None:
        """Let go of everything. Called in the parent, when the child has ended."""
        self.forked()
        if self.status >= 0:
            os.close(self.status)
            self.status = -1

    def init_process(self) -> None:
        """Become the server. Called in the child; does not return."""
        os.environ.update(self.cfg.env or {})
        util.set_owner_process(self.cfg.uid, self.cfg.gid, initgroups=self.cfg.initgroups)
        names: dict[int, str] = getattr(self.app, "socket_names", {})  # of our manager
        role = Role(
            parent=self.ppid,
            heartbeat=self.tmp.fileno(),
            status=self._status_end,
            sockets=[(one.fileno(), names.get(one.fileno(), "")) for one in self.sockets],
            succeeds=self.succeeds,
            manager=bool(names),
        )
        for descriptor in role.descriptors:
            os.set_inheritable(descriptor, True)
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all, also while they start
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)
        os.environ[VARIABLE] = role.to_text()
        if role.manager:
            os.environ[accepted.VARIABLE] = accepted.path_in(self.app.run_dir)
            os.environ[MANAGED_BY] = str(self.ppid)
        os.execv(sys.executable, [sys.executable, "-m", "rtmpsrv"])


class _Heartbeat:
    """The file of an adopted worker, in gunicorn's `WorkerTmp` form."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def last_update(self) -> float:
        return os.fstat(self._descriptor).st_mtime

    def close(self) -> None:
        os.close(self._descriptor)


def _no_http(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    if "http://" in text:
        record.msg, record.args = text.replace("http://", "rtmp://"), ()
    return True
