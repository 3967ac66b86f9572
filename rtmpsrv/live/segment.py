"""A piece of a log: serialised messages in an anonymous memory file, and their index.

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
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time
from typing import Any, Final, NoReturn

from .budget import LOG, Budget

# What a message is, in its index flags.
AUDIO: Final = 1
VIDEO: Final = 2
DATA: Final = 4
HEADER: Final = 8  # a decoder needs it whatever else it skips
KEYFRAME: Final = 16  # a player may start here

# What the index takes for each message, with room for growth of its arrays: offset 8, timestamp 4, arrival 8,
# flags 1, and the object of the bytes while they are collected.
INDEX_BYTES: Final = 64
# Bytes collected before they are written to the file in one call, needed or not.
_COLLECT_LIMIT: Final = 4 << 20
# So many small ones are joined: freed one by one, they would leave the heap in pieces.
_SMALL_PIECES: Final = 64
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)  # out of descriptors: this process, the machine


def frame_kinds(mask: int, waits: bool) -> tuple[int, ...]:
    """Return the index flags of the frames that a player is sent: what it wants, and whether video waits."""
    audio = (AUDIO,) if mask & AUDIO else ()
    if not mask & VIDEO:
        return audio
    return (*audio, VIDEO | KEYFRAME) if waits else (*audio, VIDEO, VIDEO | KEYFRAME)


class Segment:
    """Messages of one log in order; changed by its log only, read by players.

    Dropping the last reference closes the file; pages the kernel still has to send stay valid. Cannot be
    pickled: two owners of one descriptor would close it twice.
    """

    __slots__ = (
        "_budget",
        "_collected",
        "_counted_bytes",
        "_fd",
        "_joined",
        "arrivals",
        "base",
        "first_number",
        "flags",
        "offsets",
        "size",
        "timestamps",
        "written",
    )  # fmt: skip

    def __init__(self, base: int, first_number: int, budget: Budget) -> None:
        self.base = base  # bytes of the log before this segment
        self.first_number = first_number  # messages before it
        self.size = 0  # bytes
        self.written = 0  # bytes in the file
        self.offsets = array("Q")  # where each message begins
        self.flags = bytearray()
        self.timestamps = array("I")  # of the media, ms
        self.arrivals = array("d")  # monotonic seconds
        self._budget = budget
        self._counted_bytes = 0
        self._collected: list[bytes] = []
        self._joined = 0  # how many of them, from the first on, are joined ones
        self._fd = -1

    def __del__(self) -> None:
        self._budget.change(LOG, -self._counted_bytes)
        if self._fd >= 0:
            close(self._fd)
            self._budget.give_descriptor()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a segment owns a descriptor: it is handed over, not copied")

    @property
    def end(self) -> int:
        """The position of the log behind its last byte."""
        return self.base + self.size

    def append(self, data: bytes, flags: int, timestamp: int, now: float) -> None:
        """Add one framed message."""
        self.offsets.append(self.size)
        self.flags.append(flags)
        self.timestamps.append(timestamp)
        self.arrivals.append(now)
        self.size += len(data)
        self._collected.append(data)

    def snapshot(self, first: int, fds: list[int] | None) -> dict[str, Any]:
        """Return the messages from a number on, as `extend` takes them in another process.

        Their bytes stay in the file, which is appended to `fds` and stays the segment's; with None the other
        process has it. Where there is no file to be had the bytes go along.
        """
        begin = self.offset_of(first)
        value: dict[str, Any] = {
            "base": self.base,
            "first_number": self.first_number,
            "first": first,
            "size": self.size,
            "offsets": self.offsets[first:].tobytes(),
            "flags": bytes(self.flags[first:]),
            "timestamps": self.timestamps[first:].tobytes(),
            "arrivals": self.arrivals[first:].tobytes(),
            "file": None,  # its place among the descriptors
            "data": None,
        }
        fd = self.file()
        if fd < 0:
            value["data"] = self.read(begin, self.size - begin)
        elif fds is not None:
            value["file"] = len(fds)
            fds.append(fd)
        return value

    def extend(self, value: dict[str, Any], fds: list[int]) -> None:
        """Add what another process has added to its segment; the file is this one's from now on."""
        assert value["first"] == len(self.offsets), "the caller has compared"
        if value["file"] is not None:
            self._take_file(fds[value["file"]])
        if value["data"] is None:
            assert self._fd >= 0, "the first to tell of a segment sends its file"
            self.written = value["size"]
        elif value["data"]:
            self._collected.append(value["data"])
        self.offsets.frombytes(value["offsets"])
        self.flags.extend(value["flags"])
        self.timestamps.frombytes(value["timestamps"])
        self.arrivals.frombytes(value["arrivals"])
        self.size = value["size"]
        self.settle()

    def settle(self) -> None:
        """Count what was appended since the last time; a batch is counted at once."""
        held_bytes = self.size + len(self.offsets) * INDEX_BYTES
        self._budget.change(LOG, held_bytes - self._counted_bytes)
        self._counted_bytes = held_bytes
        if len(self._collected) - self._joined >= _SMALL_PIECES:
            self._collected[self._joined :] = [b"".join(self._collected[self._joined :])]
            self._joined += 1
        if self.size - self.written > _COLLECT_LIMIT:
            self.file()

    def file(self) -> int:
        """Return a descriptor from which all bytes of the segment can be sent. It stays the segment's.

        -1 while there is none to be had: what there is must be read then.
        """
        if self._collected:
            if self._fd < 0 and not self._open():
                return -1
            self._write()
        return self._fd

    def read(self, offset: int, count: int) -> bytes:
        """Return a copy of a range."""
        if not count:
            return b""
        fd = self.file()
        if fd >= 0:
            return os.pread(fd, count, offset)
        self._collected = [b"".join(self._collected)]  # never written: all bytes are here
        self._joined = 1
        return self._collected[0][offset : offset + count]

    def copy_of(self, number: int) -> Segment:
        """Copy one message into a segment of its own, so that this one can be let go of."""
        begin, end = self.offset_of(number), self.offset_of(number + 1)
        copy = Segment(self.base + begin, self.first_number + number, self._budget)
        data = self.read(begin, end - begin)
        copy.append(data, self.flags[number], self.timestamps[number], self.arrivals[number])
        copy.settle()
        return copy

    def message_at(self, offset: int) -> int:
        """Return the number of the message that holds the byte at `offset` (the count at the end)."""
        return bisect_right(self.offsets, offset) - 1 if offset < self.size else len(self.offsets)

    def find(self, kinds: tuple[int, ...], begin: int) -> int | None:
        """Return the number of the first message from `begin` on whose flags are one of these."""
        return min([number for kind in kinds if (number := self.flags.find(kind, begin)) >= 0], default=None)

    def find_last(self, kinds: tuple[int, ...]) -> int | None:
        """Return the number of the last message whose flags are one of these."""
        return max([number for kind in kinds if (number := self.flags.rfind(kind)) >= 0], default=None)

    def offset_of(self, number: int) -> int:
        """Return where a message begins; the size for the one behind the last."""
        return self.offsets[number] if number < len(self.offsets) else self.size

    def next_boundary(self, offset: int) -> int:
        """Return the first message boundary at or after `offset`."""
        return self.offset_of(bisect_left(self.offsets, offset))

    def _write(self) -> None:
        """Write what was collected. After an error what was not written is still there."""
        data = b"".join(self._collected)
        done = 0
        try:
            while done < len(data):
                # Not where the descriptor is: another process may have had the same one.
                done += os.pwrite(self._fd, data[done:] if done else data, self.written + done)
        finally:
            self.written += done
            self._collected = [data[done:]] if done < len(data) else []
            self._joined = len(self._collected)

    def _take_file(self, fd: int) -> None:
        """Read all bytes so far from a file that has them."""
        if self._fd >= 0:
            close(self._fd)
        else:
            self._budget.adopt_descriptor()
        self._fd = fd
        self._collected = []
        self._joined = 0

    def _open(self) -> bool:
        if not self._budget.take_descriptor():
            return False
        self._fd = _memory_file()
        if self._fd < 0:
            self._budget.give_descriptor()
        return self._fd >= 0


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
