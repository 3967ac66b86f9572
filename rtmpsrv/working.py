"""A worker's process: composed here, and led from its start to its end."""

from __future__ import annotations

import logging
import os
import signal
from time import monotonic

import gevent

from . import log, run_dir
from .app import App, membership
from .config import Config
from .errors import ConfigError
from .server.ports import choose, offers
from .workers.heart import Heart
from .workers.keeper_start import KeeperStarter
from .workers.others import is_ending, others
from .workers.replacing import Replacing
from .workers.role import Role
from .workers.successor import Successor
from .workers.wire import WireLost

AT_ONCE_S = 1.0  # for connections to end after SIGQUIT
KEEPER_S = 10.0  # for the keeper to be there, before anybody is let in
RETRY_S = 0.2  # to find somebody who takes the sessions of one that leaves
# Not meant for a worker: a terminal sends the first two to all processes.
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)


class WorkerProcess:
    """One worker, and the signals that lead it. `run` blocks until the end."""

    def __init__(self, config: Config, role: Role) -> None:
        """Build it. Raises ConfigError when RUN_DIR cannot be used."""
        self._config = config
        self._role = role
        self._log = log.get("WORKER")
        offered = offers(role.sockets)
        ports = choose(offered, config.rtmp_port, config.ssl_port, config.http_port)
        # Under gunicorn the port is that of its `-b`, and of two servers each has a directory.
        port = next((one.port for one in offered if one.descriptor == ports.plain), config.rtmp_port)
        self._run_dir = str(run_dir.prepare(run_dir.where(config.run_dir, port, os.environ)))
        self._member = membership(config, str(os.getpid()), self._run_dir)
        self._starter = KeeperStarter(self._run_dir, self._misses_keeper, self._log)
        self.app = App(config, ports, self._member)
        self._patience_s = float(config.handover_timeout_seconds)
        self._replacing = Replacing(
            self.app.estate,
            self.app.succession,
            self._member.neighbours,
            self._log,
            patience_s=self._patience_s,
        )
        self._member.moving.is_leaving = lambda: self._replacing.is_leaving
        self._heart = Heart(role, self.app.stop)
        self._leaving = False

    def run(self) -> int:
        """Serve; return the exit code. Blocks. Raises OSError when the port cannot be listened on."""
        self._heart.start()
        self._starter.start()
        if not self._member.connect(KEEPER_S):  # limits would be this worker's alone
            self._log.warning("there is no keeper yet: publishers have to wait")
        successor = self._succeed()
        self.app.on_serving = lambda: self._heart.ready(succeeded=successor is not None)
        self.app.start(successor)
        code = self.app.run()
        self._starter.stop()
        self._heart.stop()
        return code

    def leave(self) -> None:
        """Let the other workers have all sessions, or drain where there is none. Blocks."""
        if self._leaving:
            return
        self._leaving = True
        gevent.sleep(RETRY_S)  # the signal may have come to all: then the manager closes the ports now
        until = monotonic() + self._patience_s
        waits = False
        while not self._replacing.leave(self._others):
            if is_ending(self._role) or monotonic() > until:
                self.app.stop()
                return
            if not waits:
                waits = True
                # Such as one that still takes over from a worker in which RTMPS goes on.
                self._log.info(
                    "no other worker can take the sessions now: waiting up to %.0f s", self._patience_s
                )
            gevent.sleep(RETRY_S)  # gunicorn tells old workers to end before the new ones are there

    def _succeed(self) -> Successor | None:
        """Meet the worker whose place this one takes; None when there is none, or it cannot hand over."""
        if self._role.succeeds is None:
            return None
        try:
            return self._replacing.succeed(str(self._role.succeeds))
        except WireLost as exc:
            self._log.warning("worker %d does not hand over: %s", self._role.succeeds, exc)
            return None

    def _others(self) -> list[str]:
        return [str(pid) for pid in others(self._run_dir, self._role, os.getpid())]

    def _misses_keeper(self) -> bool:
        return self._member.link.line is None


def run(config: Config, warnings: list[str], role: Role) -> int:
    """Be a worker until the end; return the exit code. Blocks."""
    log.name_process(f"W{os.getpid()}")
    if not role.manager:  # ours has told them
        for line in warnings:
            log.get().log(logging.WARNING, "%s", line)
    try:
        process = WorkerProcess(config, role)
    except ConfigError as exc:
        for line in exc.problems:
            log.get().error("%s", line)
        return 1
    gevent.signal_handler(signal.SIGTERM, process.leave)
    gevent.signal_handler(signal.SIGQUIT, process.app.stop, AT_ONCE_S)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    try:
        return process.run()
    except OSError as exc:
        where = f"{config.bind_address}:{config.rtmp_port}"
        why = f"{exc.strerror or exc} (BIND_ADDRESS, RTMP_PORT)"
        log.get().error("could not create TCP listener: %s: %s", where, why)
        return 1
