"""The manager's entry point: `python -m rtmpsrv` becomes this where WORKERS is above 1."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sys
from pathlib import Path

from gunicorn.app.base import BaseApplication

from .. import api_settings, http_settings, log, run_dir
from ..advice import at_start
from ..config import Config
from ..errors import ConfigError
from ..server.binding import bind
from ..server.ports import HTTP, PLAIN, SECURE, Ports, choose, offers
from ..service import Service
from ..systemd import take_sockets
from . import accepted
from .arbiter import RIGHT, TRIAL, RtmpArbiter
from .manager_log import GunicornLog
from .manager_state import ManagerState, take_state
from .worker import Worker

LOCK = "manager.lock"  # in RUN_DIR
DEAD_AFTER_S = 30  # without a heartbeat
BEFORE_KILL_S = 4  # beyond DRAIN_TIMEOUT_SECONDS


class Manager(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Our settings in gunicorn's form."""

    def __init__(self, config: Config, state: ManagerState) -> None:
        self.config = config
        self.run_dir = config.run_dir  # never empty here
        self.state = state
        self.listeners = [socket.socket(fileno=descriptor) for descriptor, _name in state.sockets]
        self.names = [name for _descriptor, name in state.sockets]
        self.socket_names = {one.fileno(): name for one, name in zip(self.listeners, self.names, strict=True)}
        super().__init__()

    def load_config(self) -> None:
        """Set what gunicorn has to know."""
        values = {
            "workers": self.config.workers,
            "worker_class": Worker,
            "logger_class": GunicornLog,
            "timeout": DEAD_AFTER_S,
            "graceful_timeout": self.config.drain_timeout_seconds + BEFORE_KILL_S,
            "proc_name": "rtmpsrv",
            "control_socket_disable": True,
        }
        for name, value in values.items():
            if name in self.cfg.settings:  # the last one is not in all versions
                self.cfg.set(name, value)

    def load(self) -> object:
        """Return what stands for a WSGI program."""
        from . import app

        return app

    def before_exec(self) -> None:
        """Write the lines of the log that are left."""
        logging.shutdown()

    def serve(self, service: Service) -> None:
        """Run until the end, which is a SystemExit. Blocks."""
        try:
            RtmpArbiter(self, service, self.state).run()
        finally:
            service.ended()
            logging.shutdown()


def main(arguments: list[str]) -> int:
    """Manage until the end; return 1 when it could not start."""
    state = take_state(os.environ)
    log.setup()
    if TRIAL in arguments:
        return _be_tried()
    try:
        if state is None:
            wanted = accepted.read(again=False)
            log.setup(wanted.config)
            state = begin(wanted.config)
            config, warnings = accepted.settle(wanted, state.fixed), wanted.warnings
        else:
            config, warnings = _go_on(state)
    except ConfigError as exc:
        _tell(exc.warnings, exc.problems)
        return 1
    log.setup(config)
    _tell(at_start(config, warnings), [])
    Manager(config, state).serve(Service(config.pid_file, state.notify_address))
    return 0


def _be_tried() -> int:
    """Tell the image that may become this one whether that would start, and what is wrong."""
    try:
        accepted.read(again=True)
    except ConfigError as exc:
        sys.stdout.write("\n".join(exc.problems) + "\n")
        return 1
    sys.stdout.write(f"{RIGHT}\n")
    return 0


def _go_on(state: ManagerState) -> tuple[Config, list[str]]:
    """Read the settings for the image after another one; wrong ones change nothing."""
    try:
        wanted = accepted.read(again=True)
        config = accepted.settle(wanted, state.fixed)
    except ConfigError as exc:
        _tell(exc.warnings, [*exc.problems, "the settings stay as they were"])
        return accepted.last(state.fixed["RUN_DIR"]), []
    return config, [*wanted.warnings, *accepted.waits(wanted, config)]


def begin(config: Config) -> ManagerState:
    """Take RUN_DIR, open the ports, and return both. Raises ConfigError."""
    _look_at_admin_port(config)
    directory = run_dir.prepare(run_dir.where(config.run_dir, config.rtmp_port, os.environ))
    lock = _lock(directory)
    given = choose(offers(take_sockets(os.environ)), config.rtmp_port, config.ssl_port, config.http_port)
    ports = Ports(
        plain=_open(given.plain, config.bind_address, config.rtmp_port, "BIND_ADDRESS, RTMP_PORT"),
        secure=_open(given.secure, config.ssl_bind_address, config.ssl_port, "SSL_BIND_ADDRESS, SSL_PORT")
        if config.tls_enabled
        else None,
        http=_open_http(given.http, config),
    )
    named = ((ports.plain, PLAIN), (ports.secure, SECURE), (ports.http, HTTP))
    sockets = [(descriptor, name) for descriptor, name in named if descriptor is not None]
    # Not for the workers: it is the manager who speaks for all.
    fixed = accepted.fixed_by(config, str(directory))
    return ManagerState(lock, sockets, os.environ.pop("NOTIFY_SOCKET", ""), fixed=fixed)


def _open(given: int | None, address: str, port: int, variables: str) -> int:
    if given is not None:
        return given
    try:
        return bind(address, port, listen=False).detach()
    except OSError as exc:
        why = f"{exc.strerror or exc} ({variables})"
        raise ConfigError([f"could not create TCP listener: {address}:{port}: {why}"]) from exc


def _open_http(given: int | None, config: Config) -> int | None:
    """Open the port of viewers; None where there is to be none, or cannot be and nobody asked for it."""
    if not config.http_port or given is not None:
        return given
    why = f"HTTP_PORT: {http_settings.MISSING}"
    if http_settings.installed():
        try:
            return bind(config.http_bind_address, config.http_port, listen=False).detach()
        except OSError as exc:
            why = http_settings.taken(config, exc)
    if http_settings.was_asked_for(config):
        raise ConfigError([why])
    log.get().warning("no viewers by HTTP: %s", why)
    return None


def _look_at_admin_port(config: Config) -> None:
    """Find out before anything starts whether the port that was asked for can be had: the keeper opens it."""
    if not config.api_port or config.given.isdisjoint(api_settings.ASKED_BY):
        return
    if not api_settings.installed():
        raise ConfigError([f"API_PORT: {api_settings.MISSING}"])
    where = config.api_bind_address, config.api_port
    try:
        bind(*where, listen=False).close()
    except OSError as exc:
        raise ConfigError([api_settings.taken(*where, exc)]) from exc


def _lock(directory: Path) -> int:
    """Keep other servers out of the directory until this process ends."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError([f"RUN_DIR: {directory} is in use by another server"]) from None
    return descriptor


def _tell(warnings: list[str], problems: list[str]) -> None:
    for line in warnings:
        log.get().warning("%s", line)
    for line in problems:
        log.get().error("%s", line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
