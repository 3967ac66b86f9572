"""What `--check-config` says: all that a start would warn of or fail at. Serves nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from . import api_settings, extras, http_settings, pid_file, run_dir
from .access.trust import Trust
from .advice import authorities
from .config import Config, effective_settings
from .entrance import entrance_from
from .errors import CertificateError, ConfigError
from .record_settings import lacking
from .server.binding import bind
from .server.turns import Turns


def check() -> tuple[list[str], bool]:
    """Return the lines to print, settings with secrets masked among them, and whether all is right."""
    try:
        config, warnings = Config.start()
    except ConfigError as exc:
        return [*_marked("WARNING", exc.warnings), *_marked("ERROR", exc.problems)], False
    problems = list(_problems(config, warnings))
    warnings += _flaws(config, problems)
    settings = [f"{name}={value}" for name, value in effective_settings(config)]
    found = [*_marked("WARNING", warnings), *_marked("ERROR", problems)]
    return found + settings, not found


def _marked(level: str, lines: list[str]) -> list[str]:
    return [f"# {level}: {line}" for line in lines]


def _problems(config: Config, warnings: list[str]) -> Iterator[str]:
    """Find what only this machine knows: whether it has the addresses, and what is in files.

    What is merely odd goes to the warnings.
    """
    addresses = {"BIND_ADDRESS": config.bind_address}
    if config.tls_enabled:
        addresses["SSL_BIND_ADDRESS"] = config.ssl_bind_address
    if config.api_port:
        addresses["API_BIND_ADDRESS"] = config.api_bind_address
    if config.http_port:
        addresses["HTTP_BIND_ADDRESS"] = config.http_bind_address
    for name, address in addresses.items():
        try:
            bind(address, 0).close()  # whichever port is free: the server itself may be running
        except OSError as exc:
            yield f"{name}: cannot listen on {address}: {exc.strerror or exc}"
    try:
        entrance_from(config, Turns(), os.urandom(32), warnings.append).close()
    except ConfigError as exc:
        yield from exc.problems
    for name, path in authorities(config):
        try:
            Trust(path).context()
        except OSError as exc:
            yield f"{name}: {path} holds no certificates that can be read: {exc.strerror or exc}"
    yield from _missing_sides(config, warnings)
    yield from lacking(config)
    if config.record:
        yield from _record_problems(Path(config.record_dir).absolute())
    yield from _process_problems(config)


def _missing_sides(config: Config, warnings: list[str]) -> Iterator[str]:
    """Name the ports that nothing is installed for; a start does without those that nobody asked for."""
    sides = (("API_PORT", config.api_port, api_settings), ("HTTP_PORT", config.http_port, http_settings))
    for name, port, side in sides:
        if not port or side.installed():
            continue
        if config.given.isdisjoint(side.ASKED_BY):
            warnings.append(f"{side.MISSING} ({name}=0 wants none)")
        else:
            yield f"{name}: {side.MISSING}"


def _record_problems(path: Path) -> Iterator[str]:
    """Say why recordings could not be kept; no folder is made here."""
    there = next(one for one in (path, *path.parents) if one.exists())
    if not there.is_dir():
        yield f"RECORD_DIR: {path} cannot be used: {there} is not a directory"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f"RECORD_DIR: {path} cannot be used: {there} may not be written"


def _process_problems(config: Config) -> Iterator[str]:
    if config.workers > 1 and not extras.installed("gunicorn"):
        yield f"WORKERS: {config.workers} need gunicorn: {extras.how_to_get('workers')}"
    if config.workers > 1 or (config.run_dir and config.callback_used):
        yield from _directory_problems(run_dir.where(config.run_dir, config.rtmp_port, os.environ).absolute())
    if config.pid_file:
        file = Path(config.pid_file).absolute()
        if file.is_dir():
            yield f"PID_FILE: {config.pid_file} is a directory"
        elif not os.access(file.parent, os.W_OK | os.X_OK):
            yield f"PID_FILE: {config.pid_file} cannot be written"
        elif pid_file.is_foreign(file):
            yield f"PID_FILE: cannot write {config.pid_file}: {pid_file.FOREIGN}"


def _directory_problems(path: Path) -> Iterator[str]:
    """Say why a directory could not be used, or made where there is none; nothing is made here."""
    if len(os.fsencode(path)) > run_dir.MAX_BYTES:
        yield f"RUN_DIR: {path} is longer than {run_dir.MAX_BYTES} bytes"
        return
    try:
        yield from run_dir.problems(path)
    except FileNotFoundError:
        if not os.access(path.parent, os.W_OK | os.X_OK):
            why = "may not be written" if path.parent.exists() else "is not there"
            yield f"RUN_DIR: {path} cannot be made: {path.parent} {why}"
    except OSError as exc:
        yield f"RUN_DIR: {path} cannot be made: {exc.strerror or exc}"


def _flaws(config: Config, problems: list[str]) -> list[str]:
    """Return what is to say against the certificate; a pair that cannot be used is one of the problems."""
    if not config.tls_enabled:
        return []
    from .server.certificates import check_pair, read_pair  # loads cryptography and OpenSSL
    from .server.reloader import WARN_BELOW_DAYS

    now = datetime.now(UTC)
    try:
        pair = check_pair(read_pair(config.ssl_cert, config.ssl_key), now)
    except CertificateError as exc:
        problems.append(f"SSL_CERT, SSL_KEY: {exc}")
        return []
    days = pair.days_left(now)
    soon = [f"the certificate expires in {days} days"] if 0 <= days < WARN_BELOW_DAYS else []
    return [f"SSL_CERT, SSL_KEY: {flaw}" for flaw in (*pair.flaws, *soon)]
