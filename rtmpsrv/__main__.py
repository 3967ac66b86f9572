"""Entry point of the stand-alone server: `python -m rtmpsrv` and the console script `rtmpsrv`."""

from gevent import monkey

monkey.patch_all()

import argparse
import os
import signal
import sys
from typing import TextIO, cast

import gevent

from rtmpsrv import __version__, log
from rtmpsrv.app import App
from rtmpsrv.config import Config, effective_settings, load_environment
from rtmpsrv.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Run the server; return its exit code: 0 after a stop, 1 when it could not start."""
    parser = argparse.ArgumentParser(
        prog="rtmpsrv", description="Live-streaming RTMP server. Settings are environment variables."
    )
    parser.add_argument("--version", action="version", version=f"rtmpsrv {__version__}")
    parser.add_argument(
        "--check-config", action="store_true", help="print the settings in force, secrets masked, and exit"
    )
    _open_standard_streams()
    options = parser.parse_args(arguments)
    log.setup()
    logger = log.get()
    try:
        config, warnings = Config.load(load_environment())
    except ConfigError as exc:
        for problem in exc.problems:
            logger.error("%s", problem)
        return 1
    if options.check_config:
        for warning in warnings:
            print(f"# WARNING: {warning}")
        for name, value in effective_settings(config):
            print(f"{name}={value}")
        return 0
    log.setup(config)
    # Standard error may be a pipe that nobody reads. Of a stream, gevent uses `write` and `flush` only.
    gevent.get_hub().exception_stream = cast(TextIO, log.ErrorStream())
    for warning in warnings:
        logger.warning("%s", warning)
    app = App(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, app.stop)
    if config.tls_enabled:
        gevent.signal_handler(signal.SIGHUP, app.reload)
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which is nohup's doing
        gevent.signal_handler(signal.SIGHUP, app.stop)  # the terminal was closed
    try:
        app.start()
    except OSError as exc:
        where = f"{config.bind_address}:{config.rtmp_port}"
        logger.error("could not create TCP listener: %s: %s", where, exc.strerror or exc)
        return 1
    app.run()
    return 0


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
