"""Gunicorn's arbiter, bent to workers that hold streams: no worker ends before another one has its sessions.

What gunicorn would do is to end the old workers of a reload at once, to count those that stay behind for a
while, and to start a second arbiter for an upgrade. Here a reload replaces one worker after the other, each
by one that takes over its sessions, and an upgrade is a new image of this very process, whose number stays.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import time
from collections import deque
from time import monotonic
from typing import Any

from gunicorn import arbiter
from gunicorn.errors import HaltServer

from ..errors import ConfigError
from ..service import Service
from . import accepted
from .keeper_start import COMMAND, WAITING, keeper_of
from .manager_state import VARIABLE, ManagerState, WorkerState
from .others import parent_of
from .role import MANAGED_BY
from .worker import Worker

BOOT_S = 60.0  # to start a worker, on a busy machine
LOOK_S = 0.05
AT_ONCE_S = 2.0  # for the keeper to end after SIGQUIT
TRIAL_S = 30.0  # to see whether a new image would start
MAX_PAUSE_S = 30.0  # between attempts to start a worker
FAILED = 1  # exit code
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
TRIAL, RIGHT = "--trial", "right"  # argument and answer of a program on trial


class RtmpArbiter(arbiter.Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """The manager: one process that starts, watches and replaces the workers, and serves nobody itself."""

    WORKERS: dict[int, Worker]

    def __init__(self, app: Any, service: Service, left: ManagerState) -> None:
        """Go on from what is `left`: by the image before this one, or nothing but the ports."""
        super().__init__(app)
        self.WORKERS = {}
        self.worker_age: int = 0
        self.LISTENERS = app.listeners
        self._service = service
        self._left = left
        self._to_succeed: deque[int] = deque()  # processes whose sessions have to move to new ones
        self._succession: Worker | None = None  # a newcomer that is not ready yet
        self._outdated = False  # and that has older settings
        self._started_at: dict[int, float] = {}  # by process: those that are not ready
        self._failures = 0  # to start, one after the other
        self._next_start_at = 0.0
        self._announced = False
        self._ends = False  # or is about to: a signal that says so waits
        self._renews_keeper = False  # when all workers are new ones
        self.cfg.set("pre_fork", lambda _arbiter, worker: self._before_fork(worker))
        self.cfg.set("child_exit", lambda _arbiter, worker: self._after_exit(worker))

    # --- called by gunicorn -----------------------------------------------------------------------

    def start(self) -> None:
        """Take up the workers of the image before this one. The ports are there already."""
        self.pid = os.getpid()
        self.init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)  # see `reexec`
        for one in self._left.workers:
            self.WORKERS[one.pid] = self._adopt(one)
            self.worker_age = max(self.worker_age, one.age)
        if self.WORKERS:
            self._renews_keeper = True
            self._to_succeed.extend(worker.pid for worker in self._counted())

    def manage_workers(self) -> None:
        """Look what has become of the workers, go on with a reload, start and end what has to be."""
        self.reap_workers()
        for worker in list(self.WORKERS.values()):
            worker.forked()
            if worker.became_ready():
                self._arrived(worker)
            elif not worker.ready and monotonic() > self._started_at.get(worker.pid, monotonic()) + BOOT_S:
                self.log.error("worker %d does not start: it is ended", worker.pid)
                self.kill_worker(worker.pid, signal.SIGKILL)
        self._succeed_next()
        self._adjust_number()

    def handle_hup(self) -> None:
        """Read the settings again, and replace the workers one after the other."""
        self._service.reloading()
        try:
            wanted = accepted.read(again=True)
            config = accepted.settle(wanted, self._left.fixed)
        except ConfigError as exc:
            for line in exc.warnings:
                self.log.warning("%s", line)
            for line in (*exc.problems, "the settings stay as they were"):
                self.log.error("%s", line)
            self._service.reloaded()
            return
        for line in (*wanted.warnings, *accepted.waits(wanted, config)):
            self.log.warning("%s", line)
        self.app.config = config
        self.num_workers = config.workers
        self._dismiss_surplus()
        self._to_succeed = deque(worker.pid for worker in self._counted())
        if self._succession is not None:  # it has read the settings of before, or may have
            self._outdated = True
            self._to_succeed.append(self._succession.pid)
        self.log.info("Settings read again, %d workers to replace", len(self._to_succeed))
        self._announced, self._renews_keeper = False, True

    def handle_usr2(self) -> None:
        """Become a new image of the program, if it can be started."""
        self.reexec()

    def handle_int(self) -> None:
        """Drain, as for SIGTERM: the terminal's Ctrl-C."""
        raise StopIteration

    def handle_winch(self) -> None:
        """Do nothing: a window was resized."""

    def handle_usr1(self) -> None:
        """Do nothing: there are no files of the log to open again."""

    def reexec(self) -> None:
        """Replace this process's image; workers, ports and number stay. Does not return, if all is right."""
        if self._succession is not None or self._to_succeed:
            self.log.warning("SIGUSR2 is ignored: workers are being replaced")
            return
        if not self._would_start():
            self.log.error("the new program does not start: the old one goes on")
            return
        state = ManagerState(
            self._left.lock,
            [(one.fileno(), name) for one, name in zip(self.LISTENERS, self.app.names, strict=True)],
            self._left.notify_address,
            [self._state_of(worker) for worker in self.WORKERS.values()],
            self._left.fixed,
        )
        for descriptor in state.descriptors:
            os.set_inheritable(descriptor, True)
        self.log.info("Starting the new program in this process")
        self._service.reloading()
        self.app.before_exec()
        self._keep_signals()
        environ = dict(os.environ) | {VARIABLE: state.to_text()}
        os.execve(sys.executable, [sys.executable, "-m", "rtmpsrv.workers.manager"], environ)

    def signal(self, sig: int, frame: Any) -> None:
        """Let a signal wait for its turn. Called in the middle of anything."""
        self._ends = self._ends or sig in ENDS
        super().signal(sig, frame)

    def wait_for_signals(self, timeout: float | None = 1.0) -> list[int]:
        """Return the next signal, if there is one: those after it may be for the image after this one."""
        with contextlib.suppress(queue.Empty):
            number = self.SIG_QUEUE.get(timeout=timeout)
            return [number] if number != self.WAKEUP_REQUEST else []
        return []

    def stop(self, graceful: bool = True) -> None:
        """End all workers, those too that stay behind for the sessions that cannot move."""
        self._ends = True
        self._service.stopping()
        super().stop(graceful)
        self._end_keeper(self.cfg.graceful_timeout if graceful else AT_ONCE_S)

    # --- private ----------------------------------------------------------------------------------

    def _counted(self) -> list[Worker]:
        """Return the workers that are there to stay, the oldest first."""
        there = [one for one in self.WORKERS.values() if not one.leaving and one is not self._succession]
        return sorted(there, key=lambda worker: worker.age)

    def _adjust_number(self) -> None:
        counted = self._counted()
        if len(counted) < self.num_workers:
            if monotonic() >= self._next_start_at:
                for _ in range(self.num_workers - len(counted)):
                    self.spawn_worker()
        elif self._succession is None and not self._to_succeed:
            self._dismiss_surplus()
            self._announce()

    def _dismiss_surplus(self) -> None:
        """Let those go that are too many, the oldest first; their sessions go to the others."""
        counted = self._counted()
        for worker in counted[: max(0, len(counted) - self.num_workers)]:
            worker.leaving = True
            self.kill_worker(worker.pid, signal.SIGTERM)

    def _announce(self) -> None:
        """Say once that all serve: at the start, and after a reload."""
        if not self._announced and all(worker.ready for worker in self._counted()):
            self._announced = True
            self._tell_started(first=not self._renews_keeper)
            if self._renews_keeper:
                self._renews_keeper = False
                self._renew_keeper()
            self.log.info("%d workers serve", self.num_workers)

    def _tell_started(self, *, first: bool) -> None:
        try:
            self._service.started()
        except OSError as exc:
            problem = f"PID_FILE: cannot write {self.app.config.pid_file}: {exc.strerror or exc}"
            self.log.error("%s", problem)
            if first:
                raise HaltServer(problem, FAILED) from exc

    def _succeed_next(self) -> None:
        """Start the successor of the next worker, when the last one has arrived."""
        if self._succession is not None and self._succession.pid not in self.WORKERS:
            self.log.error("the successor of worker %s ended: that one goes on", self._succession.succeeds)
            self._succession = None
            if not self._outdated:
                self._to_succeed.clear()
        while self._to_succeed and self._succession is None:
            old = self.WORKERS.get(self._to_succeed.popleft())
            if old is None or old.leaving:
                continue
            if not old.ready:
                self._to_succeed.append(old.pid)
                return
            self._next_succeeds = old.pid
            pid = self.spawn_worker()
            self._succession, self._outdated = self.WORKERS[pid], False

    def _arrived(self, worker: Worker) -> None:
        self._failures = 0
        self._started_at.pop(worker.pid, None)
        if worker is self._succession:
            self._succession = None
            old = self.WORKERS.get(worker.succeeds or 0)
            if old is not None:
                old.leaving = True
                self.log.info("worker %d has succeeded worker %d", worker.pid, old.pid)
                if not worker.succeeded:
                    self.kill_worker(old.pid, signal.SIGTERM)

    _next_succeeds: int | None = None

    def _before_fork(self, worker: Worker) -> None:
        worker.succeeds, self._next_succeeds = self._next_succeeds, None

    def spawn_worker(self) -> int:
        """Start a worker. In the child this does not return."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # the child would take them for the manager's
        try:
            pid: int = super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        self.WORKERS[pid].forked()
        self._started_at[pid] = monotonic()
        return pid

    def _after_exit(self, worker: Worker) -> None:
        self._started_at.pop(worker.pid, None)
        ready = worker.ready or worker.became_ready()
        worker.gone()
        if ready or worker.leaving or worker is self._succession or self._ends:
            return
        self._failures += 1
        if not self._announced and self._failures >= self.num_workers and not self._any_ready():
            raise HaltServer("no worker can be started", FAILED)
        self._next_start_at = monotonic() + min(2.0 ** (self._failures - 1), MAX_PAUSE_S)

    def _any_ready(self) -> bool:
        return any(worker.ready for worker in self.WORKERS.values())

    def _renew_keeper(self) -> None:
        """Start a keeper with the new settings, and new code; the one that is there retires."""
        if keeper_of(self.app.run_dir) is not None:
            environ = os.environ | {
                accepted.VARIABLE: accepted.path_in(self.app.run_dir),
                MANAGED_BY: str(os.getpid()),
            }
            os.posix_spawn(sys.executable, [sys.executable, *COMMAND], environ, setsigmask=WAITING)

    def _end_keeper(self, timeout_s: float) -> None:
        """Let the keeper report what the workers have left; what it cannot stays in its journal. Blocks."""
        pid = keeper_of(self.app.run_dir)
        if pid is None:
            return
        until = monotonic() + timeout_s
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            while parent_of(pid) is not None:
                if monotonic() > until:
                    self.log.warning("the keeper does not end: it is killed")
                    os.kill(pid, signal.SIGKILL)
                    return
                time.sleep(LOOK_S)
                self.reap_workers()

    def _would_start(self) -> bool:
        """Start the program on trial: it reads its settings, says so and ends. Blocks up to `TRIAL_S`."""
        command = [sys.executable, "-m", "rtmpsrv.workers.manager", TRIAL]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=TRIAL_S, text=True, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            self.log.error("%s", exc)
            return False
        lines = done.stdout.splitlines()
        if lines[-1:] == [RIGHT]:
            return True
        for line in lines:
            self.log.error("%s", line)
        return False

    def _keep_signals(self) -> None:
        """Let signals wait for the next image, which unblocks them when it can act on them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
        with contextlib.suppress(queue.Empty):
            while True:
                number = self.SIG_QUEUE.get_nowait()
                if number in self.SIGNALS:
                    signal.raise_signal(number)  # no other thread may take it

    def _state_of(self, worker: Worker) -> WorkerState:
        heartbeat = worker.tmp.fileno()
        return WorkerState(worker.pid, worker.age, heartbeat, worker.status, worker.ready, worker.leaving)

    def _adopt(self, state: WorkerState) -> Worker:
        for descriptor in (state.heartbeat, state.status):
            os.set_inheritable(descriptor, False)
        worker = self.worker_class(
            state.age, self.pid, self.LISTENERS, self.app, self.timeout / 2, self.cfg, self.log
        )
        worker.adopt(state)
        return worker  # type: ignore[no-any-return]  # gunicorn has no types
