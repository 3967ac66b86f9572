"""The admin side of a server put together: the desk, as the settings want it, and whom it asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from rtmpsrv import log
from rtmpsrv.api_settings import ASKED_BY, MISSING, installed, taken
from rtmpsrv.config import Config, texts_of
from rtmpsrv.errors import ConfigError
from rtmpsrv.log import Logger
from rtmpsrv.monitor.desk import Desk
from rtmpsrv.monitor.web_process import Ask
from rtmpsrv.workers.estate import Door

Answer = Callable[[str, tuple[Any, ...]], bytes]  # what is asked, its arguments; blocks


class AdminSide:
    """The desk of one process, if it is to have one."""

    def __init__(self, config: Config, ask: Ask | None, doors: list[Door]) -> None:
        """Without `ask` there is none; `doors` are those that a successor gets. Never blocks."""
        self.desk: Desk | None = None
        self._config = config
        self._ask = ask
        self._doors = doors

    def open(self, descriptor: int | None = None, *, patient: bool = False) -> None:
        """Listen, or take over a socket that does; see `open_desk`."""
        if self._ask is None:
            return
        self.desk = open_desk(self._config, self._ask, descriptor, patient=patient)
        if self.desk is not None:
            self._doors.append(self.desk)

    def start(self) -> None:
        """Let clients in. Never blocks."""
        if self.desk is not None:
            self.desk.start()

    def reload(self) -> None:
        """Let the certificate be looked at. Never blocks."""
        if self.desk is not None:
            self.desk.reload()

    def retire(self) -> None:
        """Leave clients to the next process. Never blocks."""
        if self.desk is not None:
            self.desk.retire()

    def close(self) -> None:
        """Be done. Idempotent. Blocks for seconds at most."""
        if self.desk is not None:
            self.desk.close()


def open_desk(
    config: Config, ask: Ask, descriptor: int | None = None, *, patient: bool = False
) -> Desk | None:
    """Return the desk, which listens; None where there is to be none, or cannot be and nobody asked for it.

    One that is `patient` may get its port later. Raises ConfigError. Blocks for a name.
    """
    if not config.api_port:
        return None
    if not installed():
        if was_asked_for(config):
            raise ConfigError([f"API_PORT: {MISSING}"])
        log.get().warning("%s (API_PORT=0 wants none)", MISSING)
        return None
    address, port = config.api_bind_address, config.api_port
    desk = Desk(address, port, texts_of(config), ask, log.get("WEB"), tls=config.api_tls)
    try:
        desk.open(descriptor)
    except OSError as exc:
        why = taken(address, port, exc)
        if patient:
            return desk
        if was_asked_for(config):
            raise ConfigError([why]) from exc
        log.get().warning("no API, metrics and page: %s", why)
        return None
    return desk


def was_asked_for(config: Config) -> bool:
    """Tell whether somebody has set where it is to be."""
    return not config.given.isdisjoint(ASKED_BY)


def ask_alone(answer: Answer, logger: Logger) -> Ask:
    """Return what asks a single process: this one."""

    def ask(what: str, arguments: tuple[Any, ...], timeout_s: float) -> dict[str, bytes | None]:
        return {"": answered(answer, what, arguments, timeout_s, logger)}

    return ask


def answered(
    answer: Answer, what: str, arguments: tuple[Any, ...], timeout_s: float, logger: Logger
) -> bytes | None:
    """Return this process's answer; None where it does not come in time. Blocks up to `timeout_s`."""
    found: bytes | None = None
    try:
        with gevent.Timeout(timeout_s, TimeoutError()):
            found = answer(what, arguments)
    except TimeoutError:
        logger.debug("%s: not answered within %g s", what, timeout_s)
    except Exception:  # a bug of ours: the others' answers are good
        logger.exception("%s failed", what)
    return found
