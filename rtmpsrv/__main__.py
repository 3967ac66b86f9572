"""Entry point of the stand-alone server: `python -m rtmpsrv` and the console script `rtmpsrv`."""

from gevent import monkey

monkey.patch_all()

import argparse
import importlib.util
import logging
import os
import signal
import sys
from functools import partial
from typing import Any, TextIO, cast

import gevent

from rtmpsrv import __version__, build, log, token_command
from rtmpsrv.advice import EMPTY_SECRET
from rtmpsrv.app import App
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.server.ports import Ports, choose, offers
from rtmpsrv.service import Service
from rtmpsrv.systemd import take_sockets
from rtmpsrv.workers import child, parent
from rtmpsrv.workers.role import take_role
from rtmpsrv.workers.successor import Successor
from rtmpsrv.workers.wire import Wire, WireLost

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# They would end the process, or halt it; who sends one does not mean that. Those of a crash are not here, nor
# that of Ctrl-Z.
IGNORED = (
    signal.SIGUSR1, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO,
    signal.SIGPWR, signal.SIGTTIN, signal.SIGTTOU, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the server; return its exit code: 0 after a stop, 1 when it could not start."""
    parser = argparse.ArgumentParser(
        prog="rtmpsrv", description="Live-streaming RTMP server. Settings are environment variables."
    )
    kind = "compiled" if build.compiled() else "not compiled"
    parser.add_argument("--version", action="version", version=f"rtmpsrv {__version__} ({kind})")
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="print the settings in force, secrets masked, and what is wrong; exit with 1 if anything is",
    )
    commands = parser.add_subparsers(dest="command", metavar="[token]")
    token_command.describe_arguments(
        commands.add_parser("token", help="print a signed token for publishers or players, and end")
    )
    _open_standard_streams()
    options = parser.parse_args(arguments)
    log.setup()
    if options.command == "token":
        return _print_token(options)
    if options.check_config:
        from rtmpsrv.check import check  # not needed to serve

        lines, right = check()
        print(*lines, sep="\n")
        return 0 if right else 1
    try:
        config, warnings = Config.start()
    except ConfigError as exc:
        _log(logging.WARNING, exc.warnings)
        _log(logging.ERROR, exc.problems)
        return 1
    log.setup(config)
    role, predecessor = take_role(os.environ), child.inherited()
    if role is None and config.workers > 1:
        if predecessor is None:
            return _manage(config)
        warnings.append("WORKERS is in force after a restart only: one process has one successor")
    # Standard error may be a pipe that nobody reads. Of a stream, gevent uses `write` and `flush` only.
    gevent.get_hub().exception_stream = cast(TextIO, log.ErrorStream())
    if not config.jwt_secret and config.callback_format == "jwt" and EMPTY_SECRET not in warnings:
        warnings.append(EMPTY_SECRET)  # as the reference server does, whether tokens are made or not
    if role is not None:
        from rtmpsrv import working  # for one process of several

        return working.run(config, warnings, role)
    if predecessor is not None:
        return _succeed(predecessor, config, warnings)
    try:
        app = App(config, choose(offers(take_sockets(os.environ)), config.rtmp_port, config.ssl_port))
    except ConfigError as exc:
        _log(logging.ERROR, exc.problems)
        return 1
    return _serve(app, config, warnings)


def _succeed(predecessor: Wire, config: Config, warnings: list[str]) -> int:
    """Serve from where another process stops."""
    successor = Successor(predecessor, log.get(), patience_s=float(config.handover_timeout_seconds))
    try:
        successor.greet()
    except WireLost as exc:
        _log(logging.ERROR, [f"succession failed, this process ends: {exc}"])
        return 1
    plain, secure = successor.take_listening(config.bind_address, config.rtmp_port), None
    if config.tls_enabled:
        secure = successor.take_listening(config.ssl_bind_address, config.ssl_port)
    return _serve(App(config, Ports(plain, secure)), config, warnings, successor)


def _serve(app: App, config: Config, warnings: list[str], successor: Successor | None = None) -> int:
    service = Service(config.pid_file, os.environ.get("NOTIFY_SOCKET", ""))
    stays = parent.must_stay(os.environ)
    if stays:
        parent.adopt_orphans()
    _handle_signals(app, service, stays)
    if successor is not None:
        app.on_serving = partial(_tell_serving, service)
    problem = _start(app, config, successor)
    if problem is None and successor is None:
        try:
            service.started()
        except OSError as exc:
            problem = f"PID_FILE: cannot write {config.pid_file}: {exc.strerror or exc}"
    _log(logging.WARNING, warnings)
    if problem is not None:
        _log(logging.ERROR, [problem])
        return 1
    code = app.run()
    service.ended()
    if stays and app.handed_over:
        return parent.stay((*STOPS, signal.SIGHUP, signal.SIGUSR2))
    return code


def _tell_serving(service: Service) -> None:
    try:
        service.took_over()
    except OSError as exc:  # too late to give up: the sessions are here
        _log(logging.ERROR, [f"PID_FILE cannot be written: {exc.strerror or exc}"])


def _start(app: App, config: Config, successor: Successor | None = None) -> str | None:
    """Open the ports; return what is wrong, if anything is."""
    try:
        app.start(successor)
    except OSError as exc:
        where = f"{config.bind_address}:{config.rtmp_port}"
        return f"could not create TCP listener: {where}: {exc.strerror or exc} (BIND_ADDRESS, RTMP_PORT)"
    return None


def _manage(config: Config) -> int:
    """Become the manager of several workers, which has no use for gevent; 1 if that cannot be."""
    if importlib.util.find_spec("gunicorn") is None:
        why = f"WORKERS={config.workers} needs gunicorn: pip install 'rtmpsrv[workers]'"
        _log(logging.ERROR, [why])
        return 1
    logging.shutdown()  # lines that are not written yet
    os.execv(sys.executable, [sys.executable, "-m", "rtmpsrv.workers.manager"])


def _print_token(options: argparse.Namespace) -> int:
    try:
        print(token_command.make(options))
    except ConfigError as exc:
        print(*exc.problems, sep="\n", file=sys.stderr)
        return 1
    return 0


def _log(level: int, lines: list[str]) -> None:
    for line in lines:
        log.get().log(level, "%s", line)


def _handle_signals(app: App, service: Service, stays: bool) -> None:
    """Let three signals end the server, one reload it, one replace it, and no other harm it.

    Each runs in a greenlet. A process that `stays` passes them on when another one serves.
    """

    def serving(number: int) -> bool:
        if not (stays and app.handed_over):
            return True
        parent.pass_on(number)
        return False

    def stop(number: int) -> None:
        serving(number)
        _stop(app, service)

    def reload() -> None:
        if serving(signal.SIGHUP):
            _reload(app, service)

    def hand_over() -> None:
        if serving(signal.SIGUSR2):
            app.hand_over()

    for number in STOPS:
        gevent.signal_handler(number, stop, number)
    gevent.signal_handler(signal.SIGHUP, reload)
    gevent.signal_handler(signal.SIGUSR2, hand_over)
    watchers: dict[int, Any] = {}
    for number in IGNORED:
        watchers[number] = gevent.signal_handler(number, _tell_ignored, number, watchers)


def _stop(app: App, service: Service) -> None:
    service.stopping()
    app.stop()


def _reload(app: App, service: Service) -> None:
    service.reloading()
    try:
        config, warnings = Config.start(again=True)
    except ConfigError as exc:
        _log(logging.WARNING, exc.warnings)
        _log(logging.ERROR, [*exc.problems, "the settings stay as they were"])
        app.reload()
    else:
        _log(logging.WARNING, warnings)
        app.reload(config)
    service.reloaded()


def _tell_ignored(number: int, watchers: dict[int, Any]) -> None:
    named = number in list(signal.Signals)
    _log(logging.INFO, [f"{signal.Signals(number).name if named else f'signal {number}'} is ignored"])
    if number in (signal.SIGTTIN, signal.SIGTTOU):
        # The line itself may have been what the terminal objects to, and would again.
        watchers[number].cancel()
        signal.signal(number, signal.SIG_IGN)


def _open_standard_streams() -> None:
    """Open what whoever started the process has closed (`<&- >&-`), so that no socket gets number 0 to 2."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
    # Python has none for those.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


if __name__ == "__main__":
    sys.exit(main())
