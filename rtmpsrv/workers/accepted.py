"""The settings that the manager accepted last, for all processes under it: a file in RUN_DIR.

A worker or a keeper may start at any moment, since another one died, while the operator edits `.env`. All
have to be of one mind about where they meet and what is allowed, so only the manager reads that file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import run_dir
from ..config import KNOWN, Config
from ..environment import ACCEPTED as VARIABLE
from ..environment import load_environment, read_accepted
from ..errors import ConfigError
from ..record_settings import lacking

FILE = "settings.json"  # in RUN_DIR; holds secrets, mode 0600
FIXED = (
    "rtmp_port", "bind_address", "ssl_port", "ssl_bind_address", "http_port", "http_bind_address", "run_dir",
    "pid_file",
)  # fmt: skip
CERTIFICATE = ("ssl_cert", "ssl_key")

__all__ = ["VARIABLE", "Wanted", "fixed_by", "last", "path_in", "read", "settle", "waits"]


@dataclass(frozen=True, slots=True, repr=False)
class Wanted:
    """What the operator wants now: settings as texts, and read."""

    environ: Mapping[str, str]
    config: Config
    warnings: list[str]


def path_in(folder: str) -> str:
    """Return where the file is."""
    return str(Path(folder) / FILE)


def read(*, again: bool) -> Wanted:
    """Read the environment and `.env`; see `load_environment`. Raises ConfigError."""
    environ, lines = load_environment(again=again)
    try:
        config, warnings = Config.load(environ)
    except ConfigError as exc:
        raise ConfigError(exc.problems, lines + exc.warnings) from None
    if missing := lacking(config):  # or each worker would find out, and end
        raise ConfigError(missing, lines + warnings)
    return Wanted(environ, config, lines + warnings)


def fixed_by(config: Config, folder: str) -> dict[str, str]:
    """Return the variables that a manager keeps as they were at its start."""
    values = {name.upper(): str(getattr(config, name)) for name in FIXED} | {"RUN_DIR": folder}
    # The port of RTMPS is opened at the start, or never.
    return values if config.tls_enabled else values | {name.upper(): "" for name in CERTIFICATE}


def settle(wanted: Wanted, fixed: Mapping[str, str]) -> Config:
    """Put into force what may change; return that. Raises ConfigError, and then nothing has changed."""
    known = {name: value for name, value in wanted.environ.items() if name in KNOWN} | dict(fixed)
    config, _warnings = Config.load(known)
    path = Path(path_in(fixed["RUN_DIR"]))
    beside = path.with_name(f".{path.name}")
    try:
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(known, file)
        beside.replace(path)
    except OSError as exc:
        raise ConfigError([f"RUN_DIR: {path} cannot be written: {exc.strerror or exc}"]) from exc
    return config


def last(folder: str) -> Config:
    """Return what was accepted last. Raises ConfigError."""
    config, _warnings = Config.load(read_accepted(path_in(folder)))
    return config


def waits(wanted: Wanted, config: Config) -> list[str]:
    """Say which changes are not in force."""
    asked = wanted.config
    names = [name for name in FIXED if name != "run_dir" and getattr(asked, name) != getattr(config, name)]
    if run_dir.where(asked.run_dir, config.rtmp_port, wanted.environ).absolute() != Path(config.run_dir):
        names.append("run_dir")
    if asked.tls_enabled and not config.tls_enabled:
        names += CERTIFICATE
    return [f"Changed, but in force after a restart only: {name.upper()}" for name in names]
