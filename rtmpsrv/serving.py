"""A single process that serves, from its ports to its end: the first one, or one that succeeds another."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Protocol

from . import log
from .app import App
from .config import Config
from .errors import ConfigError
from .server.ports import Ports, choose, offers
from .service import Service
from .signals import STOPS, Led, Signals
from .systemd import take_sockets
from .workers import parent
from .workers.successor import Successor
from .workers.wire import Wire, WireLost


class Served(Led, Protocol):
    """What serves: an application."""

    on_serving: Callable[[], None]  # called when clients are let in

    def start(self, successor: Successor | None = None) -> None:
        """Open the ports. Raises OSError, or ConfigError for those of HTTP, when that cannot be."""

    def run(self) -> int:
        """Serve to the end; return the exit code. Blocks."""


def serve(config: Config, warnings: list[str]) -> int:
    """Serve with ports of its own, or of whoever started it; return the exit code. Blocks."""
    try:
        offered = offers(take_sockets(os.environ))
        app = App(config, choose(offered, config.rtmp_port, config.ssl_port, config.http_port))
    except ConfigError as exc:
        log.tell(logging.ERROR, exc.problems)
        return 1
    return lead(app, config, warnings)


def succeed(predecessor: Wire, config: Config, warnings: list[str]) -> int:
    """Serve from where another process stops; return the exit code. Blocks."""
    successor = Successor(predecessor, log.get(), patience_s=float(config.handover_timeout_seconds))
    try:
        successor.greet()
    except WireLost as exc:
        log.tell(logging.ERROR, [f"succession failed, this process ends: {exc}"])
        successor.close()
        return 1
    plain, secure = successor.take_listening(config.bind_address, config.rtmp_port), None
    if config.tls_enabled:
        secure = successor.take_listening(config.ssl_bind_address, config.ssl_port)
    http = successor.take_listening(config.http_bind_address, config.http_port)
    admin = successor.take_listening(config.api_bind_address, config.api_port)
    try:
        app = App(config, Ports(plain, secure, http, admin), login_secret=successor.login_secret)
    except ConfigError as exc:  # the other process goes on as soon as it hears nothing from this one
        log.tell(logging.ERROR, [*exc.problems, "succession failed, this process ends"])
        log.flush()  # the other process kills this one as soon as it has lost it
        successor.close()
        return 1
    return lead(app, config, warnings, successor)


def lead(app: Served, config: Config, warnings: list[str], successor: Successor | None = None) -> int:
    """Lead an application from its start to its end, as signals say; return the exit code. Blocks."""
    service = Service(config.pid_file, os.environ.get("NOTIFY_SOCKET", ""))
    stays = parent.must_stay(os.environ)
    if stays:
        parent.adopt_orphans()
    Signals(app, service, stays=stays).handle()
    if successor is not None:
        app.on_serving = partial(_tell_serving, service)
    problems = _start(app, config, successor)
    if not problems and successor is None:
        try:
            service.started()
        except OSError as exc:
            problems = [f"PID_FILE: cannot write {config.pid_file}: {exc.strerror or exc}"]
    log.tell(logging.WARNING, warnings)
    if problems:
        log.tell(logging.ERROR, problems)
        return 1
    code = app.run()
    service.ended()
    if stays and app.handed_over:
        return parent.stay((*STOPS, signal.SIGHUP, signal.SIGUSR2))
    return code


def _start(app: Served, config: Config, successor: Successor | None) -> list[str]:
    """Open the ports; return what is wrong."""
    try:
        app.start(successor)
    except OSError as exc:
        where = f"{config.bind_address}:{config.rtmp_port}"
        return [f"could not create TCP listener: {where}: {exc.strerror or exc} (BIND_ADDRESS, RTMP_PORT)"]
    except ConfigError as exc:
        return exc.problems
    return []


def _tell_serving(service: Service) -> None:
    try:
        service.took_over()
    except OSError as exc:  # too late to give up: the sessions are here
        log.tell(logging.ERROR, [f"PID_FILE cannot be written: {exc.strerror or exc}"])
