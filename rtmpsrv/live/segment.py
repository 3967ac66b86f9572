"""A piece of a channel's log: serialised messages in an anonymous memory file, and their index.

The bytes of a message never depend on what was sent before, so every player can share them: a player is
sent from the file by `sendfile`, without a copy into Python. Bytes are collected in memory and written to
the file only when somebody needs the file, since a channel with a handful of up-to-date players is
served from the collected bytes alone. Never blocks; does not know channels or players.
"""

from __future__ import annotations

import errno
import os
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time

AUDIO, VIDEO, DATA = 1, 2, 4  # what a message is, in its index flags
HEADER = 8  # a decoder needs it whatever else it skips
KEYFRAME = 16  # a player may start here

Headers = tuple[tuple[int, bytes], ...]  # (type id, payload), in the order in which they are sent

_COLLECT_LIMIT = 4 << 20  # bytes collected before they are written to the file in one call, needed or not
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)  # out of descriptors: this process, the machine


class Budget:
    """Bytes held by all segments of the process, against one limit."""

    __slots__ = ("limit_bytes", "relieve", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.relieve: Callable[[], None] = lambda: None  # called when more is used than allowed


class Segment:
    """Messages of one channel in order; changed by its channel only, read by players.

    Dropping the last reference closes the file; pages the kernel still has to send stay valid.
    """

    __slots__ = (
        "_budget", "_collected", "_fd", "_written", "arrivals", "base", "first_number", "flags", "headers",
        "next", "offsets", "size",
    )  # fmt: skip

    def __init__(self, base: int, first_number: int, headers: Headers, budget: Budget) -> None:
        self.base = base  # bytes appended to the log before this segment
        self.first_number = first_number  # messages appended before it
        self.headers = headers  # in force before its first message
        self.size = 0  # bytes
        self.offsets = array("Q")  # where each message begins
        self.flags = bytearray()
        self.arrivals = array("d")  # monotonic seconds
        self.next: Segment | None = None
        self._budget = budget
        self._collected: list[bytes] = []
        self._written = 0  # bytes in the file
        self._fd = -1

    def __del__(self) -> None:
        self._budget.used_bytes -= self.size
        if self._fd >= 0:
            close(self._fd)

    def append(self, data: bytes, flags: int, now: float) -> None:
        """Add one framed message."""
        self.offsets.append(self.size)
        self.flags.append(flags)
        self.arrivals.append(now)
        self.size += len(data)
        self._budget.used_bytes += len(data)
        self._collected.append(data)
        if self.size - self._written > _COLLECT_LIMIT:
            self.file()

    def file(self) -> int:
        """Return a descriptor from which all bytes of the segment can be sent. It stays the segment's.

        -1 while the process is out of descriptors: what there is must be read then.
        """
        if self._collected:
            if self._fd < 0:
                self._fd = _memory_file()
                if self._fd < 0:
                    return -1
            data = memoryview(b"".join(self._collected))
            while data:
                count = os.write(self._fd, data)
                data = data[count:]
                self._written += count
            self._collected.clear()
        return self._fd

    def read(self, offset: int, count: int) -> bytes:
        """Return a copy of a range."""
        if not count:
            return b""
        fd = self.file()
        if fd >= 0:
            return os.pread(fd, count, offset)
        self._collected = [b"".join(self._collected)]  # never written: all bytes are here
        return self._collected[0][offset : offset + count]

    def message_at(self, offset: int) -> int:
        """Return the number of the message that holds the byte at `offset` (the count at the end)."""
        return bisect_right(self.offsets, offset) - 1 if offset < self.size else len(self.offsets)

    def is_boundary(self, offset: int) -> bool:
        """Tell whether a message begins (or the segment ends) at `offset`."""
        return self.next_boundary(offset) == offset

    def next_boundary(self, offset: int) -> int:
        """Return the first message boundary at or after `offset`."""
        number = bisect_left(self.offsets, offset)
        return self.offsets[number] if number < len(self.offsets) else self.size


def _memory_file() -> int:
    try:
        if hasattr(os, "memfd_create"):
            return os.memfd_create("rtmpsrv-log", os.MFD_CLOEXEC)
        with tempfile.TemporaryFile() as file:  # systems without memfd: an unlinked file
            return os.dup(file.fileno())
    except OSError as exc:
        if exc.errno not in _EXHAUSTED:
            raise
        return -1
