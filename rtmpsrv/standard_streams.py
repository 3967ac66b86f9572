"""Standard input, output and error of a process: all three are there, whoever started it."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
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
