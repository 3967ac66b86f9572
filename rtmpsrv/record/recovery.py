"""Files that a process before this one did not finish, or could not note: put in order. Blocks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from . import flv_file, mp4_file
from .disk import Folder, OpenFile
from .index import DELETED, DONE, RECORDING, Entry, line_of, read

RECOVERED: Final = "recovered"
BEGINNING: Final = 1 << 18  # bytes of a box that are looked at, or of a message


class Scan(Protocol):
    """Reads a file from its beginning: heads, and the size of what they begin; see `flv_file.Scan`."""

    size: int
    end_ms: int

    @property
    def whole(self) -> int: ...
    @property
    def head_bytes(self) -> int: ...
    def read(self, head: bytes) -> int: ...
    def taken(self, head: bytes, beginning: bytes, size: int) -> None: ...
    def patches(self) -> list[tuple[int, bytes]]: ...
    @property
    def holds_media(self) -> bool: ...


SCANS: Final[dict[str, Callable[[], Scan]]] = {flv_file.SUFFIX: flv_file.Scan, mp4_file.SUFFIX: mp4_file.Scan}


def recover(folder: Folder) -> list[Entry]:
    """Finish what the index says was being recorded, and nobody writes; return what that became.

    A file that holds nothing is removed. What cannot be put in order is left as it is. Raises OSError where
    the index cannot be read.
    """
    found = []
    for entry in read(folder.noted()).values():
        if entry.state == RECORDING:
            try:
                became = _recovered(folder, entry)
            except OSError:
                continue  # the next start tries again
            if became is not None:
                folder.note([line_of(became)])
                found.append(became)
    return found


def _recovered(folder: Folder, entry: Entry) -> Entry | None:
    try:
        file = folder.take(entry.file)
    except FileNotFoundError:
        size = folder.size_of(entry.file)
        if size is None:
            return replace(entry, state=DELETED, reason="it is not there")
        return replace(entry, state=DONE, bytes=size, end=entry.start, reason=RECOVERED)
    if file is None:
        return None
    make = SCANS.get(os.path.splitext(entry.file)[1])
    if make is None:
        file.close()
        return None
    scan = make()
    _scan(file, scan)
    if not scan.holds_media:
        folder.drop(file)
        return replace(entry, state=DELETED, reason="it was empty")
    ended_at = os.fstat(file.fd).st_mtime
    file.size = scan.whole
    folder.finish(file, scan.patches())
    return replace(
        entry, state=DONE, end=ended_at, seconds=scan.end_ms / 1000, bytes=scan.whole, reason=RECOVERED
    )


def _scan(file: OpenFile, scan: Scan) -> None:
    while True:
        head = os.pread(file.fd, scan.head_bytes, scan.size)
        size = scan.read(head)
        if not size or scan.size + size > file.size:
            return
        beginning = os.pread(file.fd, min(size, BEGINNING), scan.size + len(head))
        scan.taken(head, beginning, size)
