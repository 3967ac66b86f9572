"""The keeper as a process: `python -m rtmpsrv.keeper` runs it, with the workers' settings.

SIGTERM ends it as soon as no worker is there: who signals all processes at once must not take it away from
workers that end. So does the end of the manager. To replace it, with new settings or new code, start another
one: this one retires then. Workers go on, as they do when it is killed. With `unless-there` it leaves
where there is one: a worker that misses the keeper must not end one that is about to serve.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic, time
from typing import Protocol

import gevent
from gevent.event import Event

from rtmpsrv import log, run_dir
from rtmpsrv.access.journal import Journal, JournaledAuthority
from rtmpsrv.admission import Admission, connection_limits
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.server.turns import Turns
from rtmpsrv.workers import doors, former
from rtmpsrv.workers.book import SlotBook
from rtmpsrv.workers.calls import Calls
from rtmpsrv.workers.former import Former
from rtmpsrv.workers.keeper import Keeper
from rtmpsrv.workers.keeper_lock import LOCK, Lock, holder
from rtmpsrv.workers.keeper_start import UNLESS_THERE, WAITING
from rtmpsrv.workers.others import parent_of
from rtmpsrv.workers.role import MANAGED_BY
from rtmpsrv.workers.wire import WireLost

JOURNAL = "keeper.journal"
LOOK_EVERY_S = 0.02
PROBED_S = 0.1  # for others, who look whether the lock is held, to let it go
ALONE_S = 10.0  # without a worker: all have ended, and none will come
RETIRE_S = 15.0  # for a keeper to report what it can, and let the next one begin
LINGER_S = 3600.0  # for publications of a control server to end, whose link cannot be handed on


class Beside(Protocol):
    """What else there is in the keeper's process."""

    def descriptor(self) -> int | None:
        """Return the socket that the next keeper gets; None for none."""

    def start(self, descriptor: int | None = None) -> None:
        """Begin, with the socket of the keeper before if there is one. Never blocks."""

    def retire(self) -> None:
        """Leave it to the next keeper's process. Never blocks."""

    def close(self) -> None:
        """End. Blocks for seconds at most. Idempotent."""


class Nothing:
    """There is nothing else."""

    def descriptor(self) -> None:
        """Return None."""

    def start(self, descriptor: int | None = None) -> None:
        """Do nothing."""

    retire = close = start


MakeBeside = Callable[[Config, Keeper, Admission], Beside]


def make(config: Config, folder: str, formers: Sequence[Former] = ()) -> tuple[Keeper, Admission]:
    """Build a keeper that goes on where the ones before it were. Raises OSError for an unusable folder."""
    logger = log.get("KEEPER")
    journal = Journal(os.path.join(folder, JOURNAL), logger)

    def journaled(admission: Admission) -> JournaledAuthority:
        if admission.callbacks is not None:
            admission.callbacks.on_reported = journal.reported
        return JournaledAuthority(admission.authority, journal, reports_later=admission.callbacks is not None)

    admission = Admission(config, Turns(), journaled)
    admission.on_block = lambda channel, seconds: journal.closed_until(
        channel, time() + seconds if seconds > 0 else 0.0
    )
    for channel, until in journal.closed.items():
        admission.gate.block(channel, until - time())
    keeper = Keeper(
        admission.gate,
        SlotBook(connection_limits(config)),
        journal,
        logger,
        formers,
        remembers=admission.coordinator is None,
    )
    keeper.on_block = admission.block
    return keeper, admission


def succeed(folder: str) -> Lock:
    """Become the keeper: one that is there already retires. Blocks. Raises OSError when it does not."""
    lock = Lock(os.path.join(folder, LOCK))
    until = monotonic() + RETIRE_S
    told: int | None = None
    while not lock.take(LOOK_EVERY_S):
        if monotonic() >= until:
            lock.release()
            raise OSError(errno.EBUSY, "another keeper does not retire")
        pid = holder(folder)
        if pid not in (None, told) and _tell_to_retire(folder):  # each that comes in between, and is faster
            told = pid
    return lock


def begin(folder: str) -> Lock | None:
    """Become the keeper; None where there is one. Blocks for a moment. Raises OSError."""
    lock = Lock(os.path.join(folder, LOCK))
    if lock.take(PROBED_S):
        return lock
    lock.release()
    return None


def serve(
    config: Config,
    folder: str,
    stopping: Event,
    linger_s: float = LINGER_S,
    *,
    unless_there: bool = False,
    make_beside: MakeBeside = lambda config, keeper, admission: Nothing(),
    is_over: Callable[[], bool] = lambda: False,
) -> bool:
    """Be the keeper until `stopping` is set, or another one begins; tell whether nothing was left undone.

    With `unless_there` do nothing where there is one. Once it `is_over`, end when no worker is there. Blocks.
    Raises OSError.
    """
    lock = begin(folder) if unless_there else succeed(folder)
    if lock is None:
        return True
    if is_over():  # no worker comes: what is in the journal is for the next start
        lock.release()
        return True
    door = doors.path_of(folder, doors.KEEPER)
    formers = former.find(folder, log.get("KEEPER"))
    keeper, admission = make(config, folder, formers)
    keeper.listen(doors.listen(door))
    admission.start()
    beside = make_beside(config, keeper, admission)
    beside.start(former.door_of(formers))
    keeper.admin_door = beside.descriptor
    looking = gevent.spawn(_end_when_alone, keeper, stopping, is_over)
    over_or_next = Event()
    for event in (stopping, keeper.retiring):
        event.rawlink(lambda _: over_or_next.set())
    over_or_next.wait()
    looking.kill()
    if stopping.is_set():
        over = keeper.close(float(config.drain_timeout_seconds))
        with suppress(FileNotFoundError):
            os.unlink(door)
    else:
        beside.retire()
        path = doors.path_of(folder, former.name_of(os.getpid()))
        keeper.retire(doors.listen(path), lock.release, linger_s)
        with suppress(FileNotFoundError):
            os.unlink(path)
        over = True
    beside.close()
    admission.stop_commands()
    lock.release()
    return over


def _tell_to_retire(folder: str) -> bool:
    try:
        line = Calls(doors.connect(doors.path_of(folder, doors.KEEPER)), log.get("KEEPER"), {}, {})
    except WireLost:  # it does not listen yet
        return False
    line.tell("retire")
    line.finish()
    return True


def _end_when_alone(keeper: Keeper, stopping: Event, is_over: Callable[[], bool]) -> None:
    """End when all workers have, and none will come, or none has for a while."""
    alone_since = monotonic()
    while True:
        gevent.sleep(LOOK_EVERY_S)
        if keeper.members:
            alone_since = monotonic()
        elif is_over() or monotonic() - alone_since >= ALONE_S:
            stopping.set()


def _has_ended(manager: int) -> bool:
    """Tell whether a process has. Where the system tells of none, not even of this one, it has not."""
    return parent_of(manager) is None and parent_of(os.getpid()) is not None


def main(
    arguments: Sequence[str] = (),
    make_beside: MakeBeside = lambda config, keeper, admission: Nothing(),
) -> int:
    """Run to a signal; return the exit code."""
    log.setup()
    try:
        config, _warnings = Config.start()  # which the manager has told of
        log.setup(config)
        log.name_process("KEEPER")
        folder = str(run_dir.prepare(run_dir.where(config.run_dir, config.rtmp_port, os.environ)))
    except ConfigError as exc:
        for problem in exc.problems:
            log.get().error("%s", problem)
        return 1
    told, manager = Event(), os.environ.get(MANAGED_BY)
    gevent.signal_handler(signal.SIGTERM, told.set)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITING)
    try:
        over = serve(
            config,
            folder,
            Event(),
            unless_there=UNLESS_THERE in arguments,
            make_beside=make_beside,
            is_over=lambda: told.is_set() or (manager is not None and _has_ended(int(manager))),
        )
    except OSError as exc:
        log.get().error("the keeper cannot use %s: %s (RUN_DIR)", folder, exc.strerror or exc)
        return 1
    log.get("KEEPER").log(logging.INFO if over else logging.WARNING, "Stopped")
    return 0
