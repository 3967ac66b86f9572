"""The load's processes and how they are told what to do; and the OS's counters of them and of the server."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from benchlib import procstat
from benchlib.players import Players
from benchlib.probes import Probes
from benchlib.publishers import Publishers
from benchlib.rtmpclient import ClientError, Target
from benchlib.scenarios import Scenario
from benchlib.servers import Running

ANSWER_S = 180.0  # for 1000 joins of a slow server
ROLES = ("publishers", "players", "probes")
# Probes go first: what a publisher sends late is stamped late, what a probe reads late looks old.
REAL_TIME = {"probes": 3, "publishers": 2}  # the bench itself: 1


class LoadError(Exception):
    """The load could not be put on, or broke down."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A load process and the pipe to it."""

    role: str
    pid: int
    pipe: Connection

    def tell(self, *command: object) -> None:
        """Send a command. Raises `LoadError` when the process has ended."""
        try:
            self.pipe.send(command)
        except OSError as exc:
            raise LoadError(f"{self.role}: ended") from exc

    def answer(self) -> Any:
        """Wait for the answer. Blocks up to `ANSWER_S`; raises `LoadError`."""
        try:
            if not self.pipe.poll(ANSWER_S):
                raise LoadError(f"{self.role}: no answer in {ANSWER_S} s")
            found = self.pipe.recv()
        except (EOFError, OSError) as exc:
            raise LoadError(f"{self.role}: ended") from exc
        if isinstance(found, tuple) and found[0] == "error":
            raise LoadError(f"{self.role}: {found[1]}")
        return found

    def ask(self, *command: object) -> Any:
        """Send a command and wait for its answer."""
        self.tell(*command)
        return self.answer()


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the server has, and which the load; the same where there is one core."""

    server: frozenset[int]
    load: frozenset[int]

    @property
    def all(self) -> frozenset[int]:
        """Give the cores of both."""
        return self.server | self.load


@dataclass(frozen=True, slots=True)
class Counters:
    """The OS's counters at one moment; seconds of CPU."""

    at: float
    server_cpu: float
    load_cpu: dict[str, float]
    machine_cpu: float
    server_cores_busy: float
    load_cores_busy: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory at one moment. Taking it looks at every descriptor of the server: not within a window."""

    memory: procstat.Memory
    sockets: int


def keep_time(cores: Cores) -> None:
    """Let this process read counters when it means to, and never on the server's core.

    What it starts inherits the cores, but not the real-time class.
    """
    os.sched_setaffinity(0, cores.load)
    if not cores.load & cores.server:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def counters(server: Running, workers: dict[str, Worker], cores: Cores) -> Counters:
    """Read all counters now."""
    return Counters(
        at=time.monotonic(),
        server_cpu=procstat.cpu_seconds(server.pid),
        load_cpu={role: procstat.cpu_seconds(worker.pid) for role, worker in workers.items()},
        machine_cpu=procstat.busy_seconds(cores.all),
        server_cores_busy=procstat.busy_seconds(cores.server),
        load_cores_busy=procstat.busy_seconds(cores.load),
    )


def footprint(server: Running) -> Footprint:
    """Look at the memory of a server and of the machine's sockets."""
    return Footprint(procstat.memory(server.pid), procstat.socket_memory())


@contextmanager
def started(target: Target, scenario: Scenario, cores: Cores) -> Iterator[dict[str, Worker]]:
    """Run the load's processes for the time of the block. The publishers answer once, when they publish."""
    context = multiprocessing.get_context("fork")
    processes = []
    workers: dict[str, Worker] = {}
    try:
        for role in ROLES:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(role, theirs, target, scenario, cores), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            workers[role] = Worker(role, process.pid or 0, ours)
        yield workers
        for role in reversed(ROLES):
            workers[role].tell("stop")
    finally:
        for worker in workers.values():
            worker.pipe.close()
        for process in processes:
            process.join(2)
            if process.is_alive():
                process.kill()
                process.join()


def _work(
    role: str,
    pipe: Connection,
    target: Target,
    scenario: Scenario,
    cores: Cores,
) -> None:
    """Be one load process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.sched_setaffinity(0, cores.load)
    _schedule(role, alone=not cores.load & cores.server)
    # A collection stops a process that holds thousands of clients for tens of ms, and finds nothing.
    gc.collect()
    gc.freeze()
    gc.disable()
    start: dict[str, Callable[[], Publishers | Players | Probes]] = {
        "publishers": lambda: Publishers(target, scenario),
        "players": lambda: Players(target, scenario.flv),
        "probes": lambda: Probes(target, scenario.flv),
    }
    try:
        load = start[role]()
        if role == "publishers":
            pipe.send("publishing")
        load.run(pipe)
    except (ClientError, OSError) as exc:
        try:
            pipe.send(("error", f"{type(exc).__name__}: {exc}"))
        except OSError:
            return  # nobody listens any more
    except EOFError:
        return  # the bench was stopped


def _schedule(role: str, alone: bool) -> None:
    """Let the processes that keep time go before the players, who are many and in no hurry.

    As real-time processes they woke 0.1 ms late (p99) beside other work on their core, as ordinary ones 3 ms.
    Where that is not permitted, or would keep the server from its core, the players step back instead:
    as idle ones, since nice values made the others wait up to 8 ms.
    """
    ordinary = os.sched_param(0)
    try:
        if not alone:
            raise PermissionError
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME.get(role, 1)))
        if role not in REAL_TIME:
            os.sched_setscheduler(0, os.SCHED_OTHER, ordinary)
    except PermissionError:
        os.sched_setscheduler(0, os.SCHED_OTHER if role in REAL_TIME else os.SCHED_IDLE, ordinary)
