"""The keeper's process put together: `python -m rtmpsrv.keeper`. It has the admin side of all workers."""

from __future__ import annotations

from rtmpsrv.patching import patch_all

if __name__ == "__main__":
    patch_all()

import sys
from typing import Any

import gevent

from rtmpsrv import admin, log
from rtmpsrv.admin import AdminSide
from rtmpsrv.admission import Admission
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.monitor.web_process import Ask
from rtmpsrv.monitoring import monitor_of_keeper
from rtmpsrv.workers import keeper_process
from rtmpsrv.workers.keeper import Keeper

NAME = "keeper"  # among those that answer


def ask_all(keeper: Keeper, answer: admin.Answer) -> Ask:
    """Return what asks all workers, and the keeper itself."""
    logger = log.get("KEEPER")

    def ask(what: str, arguments: tuple[Any, ...], timeout_s: float) -> dict[str, bytes | None]:
        own = gevent.spawn(admin.answered, answer, what, arguments, timeout_s, logger)
        told = keeper.members.ask(what, arguments, timeout_s)
        return {**told, NAME: own.get()}

    return ask


class Beside:
    """The admin side in the keeper's process, and what it shows of that."""

    def __init__(self, config: Config, keeper: Keeper, admission: Admission) -> None:
        self._monitor = monitor_of_keeper(admission)
        self._admin = AdminSide(config, ask_all(keeper, self._monitor.answer), [])

    def descriptor(self) -> int | None:
        """Return the socket that listens, for the next keeper; None for none."""
        return self._admin.desk.descriptor if self._admin.desk is not None else None

    def start(self, descriptor: int | None = None) -> None:
        """Take over a socket, or open the port as soon as it is free; workers need not wait."""
        self._monitor.start_watching()
        try:
            self._admin.open(descriptor, patient=True)
        except ConfigError as exc:  # the extra has gone since the start
            log.get().error("%s", exc.problems[0])
        self._admin.start()

    def retire(self) -> None:
        """Leave the port to the next keeper. Never blocks."""
        self._admin.retire()

    def close(self) -> None:
        """End. Idempotent. Blocks for seconds at most."""
        self._monitor.stop_watching()
        self._admin.close()


if __name__ == "__main__":
    sys.exit(keeper_process.main(sys.argv[1:], Beside))
