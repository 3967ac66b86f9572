"""The directory in which the processes of a server find each other: where it is, and that it is theirs."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigError

MODE = 0o700
MAX_BYTES = 80  # of the path: with a socket's name it has to fit the 107 bytes of an address


def where(given: str, rtmp_port: int, environ: Mapping[str, str], *, run: str = "/run") -> Path:
    """Return the directory for these settings; the default is one for each port."""
    if given:
        return Path(given)
    name = f"rtmpsrv-{rtmp_port}"
    if base := environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / name
    if os.access(run, os.W_OK):
        return Path(run) / name
    return Path(tempfile.gettempdir()) / f"{name}-{os.geteuid()}"


def prepare(path: Path) -> Path:
    """Make the directory if it is not there; return it as an absolute path.

    Raises ConfigError for one that another user could have put there, or could look into.
    """
    path = path.absolute()
    if len(os.fsencode(path)) > MAX_BYTES:
        raise ConfigError([f"RUN_DIR: {path} is longer than {MAX_BYTES} bytes"])
    try:
        try:
            path.mkdir(MODE)
        except FileExistsError:
            pass  # what it is shows below
        else:
            path.chmod(MODE)  # whatever the mask is
        found = problems(path)
    except OSError as exc:
        raise ConfigError([f"RUN_DIR: {path} cannot be made: {exc.strerror or exc}"]) from exc
    if found:
        raise ConfigError(found)
    return path


def problems(path: Path) -> list[str]:
    """Say what is wrong with a directory. Raises OSError where there is none."""
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        return [f"RUN_DIR: {path} is not a directory"]
    if found.st_uid != os.geteuid():
        return [f"RUN_DIR: {path} belongs to user {found.st_uid}, not to {os.geteuid()}"]
    if mode & 0o077:
        return [f"RUN_DIR: {path} is open to others: its mode is {mode:04o}, not {MODE:04o}"]
    return []
