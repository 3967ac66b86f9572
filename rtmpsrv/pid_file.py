"""The file that says whom to signal. Whoever serves writes it; who is named in it removes it at the end."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

# Of a command line: any of these among its arguments, or among their last parts, shows one of our processes.
_OURS: Final = {b"rtmpsrv", b"rtmpsrv.workers.manager"}
_LONGEST: Final = 64  # bytes that a process is named with, white space and all
FOREIGN: Final = "it is there, and names no process: remove it, or name another file"


class PidFile:
    """One file, or none where no path was given."""

    def __init__(self, path: str) -> None:
        # The working directory may be another one when the file is removed.
        self._path = Path(path).absolute() if path else None

    def claim(self) -> None:
        """Name this process, at its start. Raises OSError, also where another server that runs is named.

        Or where there is something else: a mistyped path must not cost anybody a file.
        """
        if self._path is not None and is_foreign(self._path):
            raise OSError(errno.EEXIST, FOREIGN)
        other = self._named()
        if other not in (None, os.getpid()) and _is_server(other):
            raise OSError(errno.EEXIST, f"it names process {other}, another server that runs")
        self.write()

    def write(self, pid: int | None = None) -> None:
        """Name a process, by default this one. A reader sees the old name or the new one. Raises OSError."""
        if self._path is None:
            return
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            beside.write_text(f"{pid or os.getpid()}\n")
            beside.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    def remove(self) -> None:
        """Remove the file if it names this process. Never raises."""
        if self._path is not None and self._named() == os.getpid():
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _named(self) -> int | None:
        """Return the process that the file names; None where it names none."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._path.read_text()) if self._path is not None else None
        return None


def is_foreign(path: Path) -> bool:
    """Tell whether what is there is no such file: it names no process. An empty one may become one."""
    try:
        if not path.is_file():  # opening a pipe would block
            return path.exists()
        with path.open("rb") as file:
            said = file.read(_LONGEST + 1)
    except OSError:  # whoever writes it is told
        return False
    return len(said) > _LONGEST or not (said.isspace() or said.strip().isdigit() or not said)


def _is_server(pid: int | None) -> bool:
    """Tell whether a process is one of ours: after a crash the system may have given its number to any."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # gone, as a rule
        return False
    return any(argument.rpartition(b"/")[2] in _OURS for argument in arguments)
