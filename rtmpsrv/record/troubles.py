"""Why a recording cannot go on: the kinds that are counted, and what is said of each. Pure."""

from __future__ import annotations

import errno
from typing import Final

from rtmpsrv.errors import MediaLost, MediaRefused

from .threads import TooSlow

DISK_FULL, DISK_SLOW, DISK_ERROR = "disk_full", "disk_slow", "disk_error"
MEDIA, INTERNAL = "media", "internal"
KINDS: Final = (DISK_FULL, DISK_SLOW, DISK_ERROR, MEDIA, INTERNAL)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class TooFarBehind(Exception):
    """The disk takes less than is sent; the text says so."""


class TooManyFiles(Exception):
    """The stream changes so often that there would be a file for each moment; the text says so."""


def kind_of(exc: Exception) -> str:
    """Return what a failure is counted as."""
    if isinstance(exc, TooSlow | TooFarBehind):
        return DISK_SLOW
    if isinstance(exc, OSError):
        return DISK_FULL if exc.errno in _FULL else DISK_ERROR
    return MEDIA if isinstance(exc, MediaRefused | MediaLost | TooManyFiles) else INTERNAL


def sentence_of(exc: Exception) -> str:
    """Return what the log, the index and an operator are told."""
    if isinstance(exc, OSError):
        return exc.strerror or "the disk failed"
    return str(exc) if kind_of(exc) != INTERNAL else "an error of the server"
