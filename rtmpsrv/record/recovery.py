"""Files that a process before this one did not finish, or could not note: put in order. Blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Protocol

from . import flv_file, mp4_file
from .disk import Folder, OpenFile
from .index import DELETED, DONE, MOVED, Entry, line_of

RECOVERED: Final = "recovered"
MAX_AT_ONCE: Final = 16  # files at one look, which read all of each
HANDING_S: Final = 60.0  # for a process to go on with what another one left
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


def recover(folder: Folder, unfinished: Iterable[Entry], now: float) -> list[Entry]:
    """Finish what the index says is not whole, and nobody writes; return what that became.

    A file that holds nothing is removed. What cannot be put in order is left as it is, and so is what a
    process has let go of a moment ago, so that another one goes on with it.
    """
    found: list[Entry] = []
    for entry in unfinished:
        if len(found) >= MAX_AT_ONCE:
            break
        if entry.state == MOVED and abs(now - entry.end) < HANDING_S:
            continue
        try:
            became = put_in_order(folder, entry)
        except OSError:
            continue  # it is tried again
        if became is not None:
            found.append(became)
    return found


def put_in_order(folder: Folder, entry: Entry) -> Entry | None:
    """Finish one file, and note that; None where somebody writes it. Raises OSError."""
    became = _recovered(folder, replace(entry, carried=None))
    if became is not None:
        folder.note([line_of(became)])
    return became


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
    try:
        _scan(file, scan)
    except OSError:
        file.close()
        raise
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
