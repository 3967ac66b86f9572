"""The file that says whom to signal. Whoever serves writes it; who is named in it removes it at the end."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class PidFile:
    """One file, or none where no path was given."""

    def __init__(self, path: str) -> None:
        # The working directory may be another one when the file is removed.
        self._path = Path(path).absolute() if path else None

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
        if self._path is None:
            return
        with contextlib.suppress(OSError, ValueError):  # gone, or somebody else's
            if int(self._path.read_text()) == os.getpid():
                self._path.unlink()
