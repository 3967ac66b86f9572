"""Opening files that the operator names while clients are being served: nothing but plain files will do.

Whoever opens a named pipe waits for its other end, and the whole server with him. Knows nothing of contents.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO


def open_regular(path: str) -> BinaryIO:
    """Open a file to read; raises OSError for what cannot be read or is no regular file. Never waits."""
    return open(path, "rb", opener=_open_at_once)


def _open_at_once(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(descriptor).st_mode
    # A folder is left to `open`, which says that it is one.
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return descriptor
