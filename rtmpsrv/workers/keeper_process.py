"""The keeper as a process of its own: `python -m rtmpsrv.workers.keeper_process`, with the workers' settings.

SIGTERM ends it, and all that its workers have on the air. To replace it, with new settings or new code, start
another one: this one retires then. Workers go on, as they do when it is killed.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import errno
import fcntl
import logging
import os
import signal
import sys
from contextlib import suppress
from time import monotonic, time

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
from rtmpsrv.workers.keeper import Keeper
from rtmpsrv.workers.wire import WireLost

JOURNAL, LOCK = "keeper.journal", "keeper.lock"
LOOK_EVERY_S = 0.02
ALONE_S = 10.0  # without a worker: all have ended, and none will come
RETIRE_S = 15.0  # for a keeper to report what it can, and let the next one begin
LINGER_S = 3600.0  # for publications of a control server to end, whose link cannot be handed on


class Lock:
    """Held by the one process that is the keeper; given up with its end, whatever that is."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def take(self, timeout_s: float) -> bool:
        """Wait until nobody else has it. Blocks up to `timeout_s`."""
        until = monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if monotonic() >= until:
                    return False
                gevent.sleep(LOOK_EVERY_S)

    def release(self) -> None:
        """Let the next one have it. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def make(config: Config, folder: str) -> tuple[Keeper, Admission]:
    """Build a keeper that goes on where the one before it was. Raises OSError for an unusable folder."""
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
        former.find(folder, logger),
        remembers=admission.coordinator is None,
    )
    return keeper, admission


def succeed(folder: str) -> Lock:
    """Become the keeper: one that is there already retires. Blocks. Raises OSError when it does not."""
    lock = Lock(os.path.join(folder, LOCK))
    if not lock.take(0.0):
        with suppress(WireLost):
            line = Calls(doors.connect(doors.path_of(folder, doors.KEEPER)), log.get("KEEPER"), {}, {})
            line.tell("retire")
            line.flush(RETIRE_S)
            line.close()
        if not lock.take(RETIRE_S):
            lock.release()
            raise OSError(errno.EBUSY, "another keeper does not retire")
    return lock


def serve(config: Config, folder: str, stopping: Event, linger_s: float = LINGER_S) -> bool:
    """Be the keeper until `stopping` is set, or another one begins; tell whether nothing was left undone.

    Blocks. Raises OSError.
    """
    lock = succeed(folder)
    keeper, admission = make(config, folder)
    keeper.listen(doors.listen(doors.path_of(folder, doors.KEEPER)))
    admission.start()
    looking = gevent.spawn(_end_when_alone, keeper, stopping)
    over_or_next = Event()
    for event in (stopping, keeper.retiring):
        event.rawlink(lambda _: over_or_next.set())
    over_or_next.wait()
    looking.kill()
    if stopping.is_set():
        over = keeper.close(float(config.drain_timeout_seconds))
    else:
        path = doors.path_of(folder, former.name_of(os.getpid()))
        keeper.retire(doors.listen(path), lock.release, linger_s)
        with suppress(FileNotFoundError):
            os.unlink(path)
        over = True
    admission.stop_commands()
    lock.release()
    return over


def _end_when_alone(keeper: Keeper, stopping: Event) -> None:
    """End when all workers have, and none has come for a while."""
    alone_since = monotonic()
    while True:
        gevent.sleep(LOOK_EVERY_S)
        if keeper.members:
            alone_since = monotonic()
        elif monotonic() - alone_since >= ALONE_S:
            stopping.set()


def main() -> int:
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
    stopping = Event()
    gevent.signal_handler(signal.SIGTERM, stopping.set)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    try:
        over = serve(config, folder, stopping)
    except OSError as exc:
        log.get().error("the keeper cannot use %s: %s (RUN_DIR)", folder, exc.strerror or exc)
        return 1
    log.get("KEEPER").log(logging.INFO if over else logging.WARNING, "Stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
