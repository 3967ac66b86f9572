"""The command `rtmpsrv`: its arguments, and which kind of process this is to be. Serving is elsewhere."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TextIO, cast

import gevent

from . import __version__, build, extras, log, serving, token_command
from .advice import at_start
from .config import Config
from .errors import ConfigError
from .standard_streams import open_standard_streams
from .workers import child
from .workers.role import take_role

MANAGER = ("-m", "rtmpsrv.workers.manager")


def main(arguments: list[str] | None = None) -> int:
    """Run the server; return its exit code: 0 after a stop, 1 when it could not start."""
    parser = _parser()
    open_standard_streams()
    options = parser.parse_args(arguments)
    log.setup()
    if options.command == "token":
        return _print_token(options)
    if options.check_config:
        from .check import check  # not needed to serve

        lines, right = check()
        try:
            print(*lines, sep="\n", flush=True)
        except BrokenPipeError:  # whoever reads has seen enough; the rest is written when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if right else 1
    return _serve()


def _parser() -> argparse.ArgumentParser:
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
    return parser


def _serve() -> int:
    """Be the one process, its successor, the manager of several, or one of these."""
    try:
        config, warnings = Config.start()
    except ConfigError as exc:
        log.tell(logging.WARNING, exc.warnings)
        log.tell(logging.ERROR, exc.problems)
        return 1
    log.setup(config)
    role, predecessor = take_role(os.environ), child.inherited()
    if role is None and config.workers > 1:
        if predecessor is None:
            return _manage(config)
        warnings.append("WORKERS is in force after a restart only: one process has one successor")
    # Standard error may be a pipe that nobody reads. Of a stream, gevent uses `write` and `flush` only.
    gevent.get_hub().exception_stream = cast(TextIO, log.ErrorStream())
    warnings = at_start(config, warnings)
    if role is not None:
        from . import working  # for one process of several

        return working.run(config, warnings, role)
    if predecessor is not None:
        return serving.succeed(predecessor, config, warnings)
    return serving.serve(config, warnings)


def _manage(config: Config) -> int:
    """Become the manager of several workers, which has no use for gevent; 1 if that cannot be."""
    if not extras.installed("gunicorn"):
        why = f"WORKERS={config.workers} needs gunicorn: {extras.how_to_get('workers')}"
        log.tell(logging.ERROR, [why])
        return 1
    logging.shutdown()  # lines that are not written yet
    os.execv(sys.executable, [sys.executable, *MANAGER])


def _print_token(options: argparse.Namespace) -> int:
    try:
        token, warnings = token_command.make(options)
    except ConfigError as exc:
        print(*exc.problems, sep="\n", file=sys.stderr)
        return 1
    for line in warnings:
        print(f"WARNING: {line}", file=sys.stderr)
    print(token)
    return 0
