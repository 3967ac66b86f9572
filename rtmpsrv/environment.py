"""Where the texts of settings come from: the process's environment, and a file `.env`. Reads no setting."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

from rtmpsrv.errors import ConfigError

ACCEPTED = "RTMPSRV_SETTINGS"  # names a file, which a manager has written for the processes under it


def load_environment(*, again: bool = False) -> tuple[dict[str, str], list[str]]:
    """Give the environment, completed by the first `.env` in the working directory or one above it.

    A variable that is in the environment wins over the file. The second part are lines of the file to warn
    of. Raises ConfigError when there is a file that cannot be read; a named pipe cannot be `again`, while
    clients are served, who would wait for its other end too. Under a manager it is what that has accepted.
    """
    if accepted := os.environ.get(ACCEPTED):
        return read_accepted(accepted), []
    path = _dotenv_file()
    if path is None:
        return dict(os.environ), []
    if again and path.is_fifo():
        raise ConfigError([f"{path} is a named pipe, which is read at the start only"])
    from dotenv import dotenv_values  # needed by few, and it takes a tenth of the time to start
    from dotenv.parser import parse_stream

    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError([f"{path} cannot be read: {exc}"]) from exc
    wrong = [one.original.line for one in parse_stream(io.StringIO(text)) if one.error]
    from_file = {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value}
    return from_file | dict(os.environ), [
        f"{path}, line {line}: not of the form NAME=VALUE, and ignored" for line in wrong
    ]


def read_accepted(path: str) -> dict[str, str]:
    """Return what a manager has accepted. Raises ConfigError."""
    try:
        values: dict[str, str] = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is damaged"  # it holds secrets
        raise ConfigError([f"{path} cannot be read: {why}"]) from None
    return values


def _dotenv_file() -> Path | None:
    """Find the first `.env` from the working directory upwards; a named pipe will do."""
    with contextlib.suppress(OSError):  # the working directory was removed, or may not be looked into
        here = Path.cwd()
        for directory in (here, *here.parents):
            path = directory / ".env"
            if path.is_file() or path.is_fifo():
                return path
    return None
