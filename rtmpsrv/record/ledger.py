"""What the index says, as far as it was read: each look reads only what was added since the last one.

Used in one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gevent.monkey import get_original

from .disk import NOTHING_READ, Folder
from .index import DONE, LINES_AT_ONCE, OPEN, Entry, entry_of, is_long, put, shortened

MAX_FILES: Final = 100_000  # that are known; older ones are not listed, and not deleted
REST_S: Final = 0.001

_sleep: Callable[[float], None] = get_original("time", "sleep")


def rest() -> None:
    """Leave the interpreter to the thread that serves."""
    _sleep(REST_S)


class Ledger:
    """The files of one folder. All of it blocks, and raises OSError."""

    def __init__(self, folder: Folder, rest: Callable[[], None] = rest) -> None:
        self._folder = folder
        self._rest = rest
        self._mark = NOTHING_READ
        self._lines = 0
        self._entries: dict[str, Entry] = {}
        self._open: dict[str, Entry] = {}
        self._ended: dict[str, Entry] = {}  # by channel: what was finished last

    def entries(self) -> dict[str, Entry]:
        """Return what there is by file, in the order in which files were begun; not to be changed."""
        text, mark = self._folder.noted_since(self._mark) if self._folder.is_there() else (b"", NOTHING_READ)
        if mark[0] != self._mark[0] or mark[1] - len(text) < self._mark[1]:
            self._entries, self._open, self._ended, self._lines = {}, {}, {}, 0
        self._mark = mark
        for line in text.splitlines():
            self._lines += 1
            if not self._lines % LINES_AT_ONCE:
                self._rest()
            entry = entry_of(line)
            if entry is not None:
                self._take(entry)
        while len(self._entries) > MAX_FILES:
            self._forget(next(iter(self._entries)))
        return self._entries

    def open(self) -> list[Entry]:
        """Return what is not whole."""
        self.entries()
        return list(self._open.values())

    def ended(self, channel: str) -> Entry | None:
        """Return the file of a channel that was finished last."""
        self.entries()
        return self._ended.get(channel)

    def of(self, channel: str, most: int) -> list[Entry]:
        """Return the newest files, oldest first, of one channel or of all ("")."""
        found = [one for one in self.entries().values() if not channel or one.channel == channel]
        return found[-most:]

    def shorten(self) -> None:
        """Write the index anew where most of it counts no more."""
        if is_long(self._lines, len(self._entries)):
            self._folder.rewrite(lambda text: shortened(text, self._rest))

    def _take(self, entry: Entry) -> None:
        put(self._entries, entry)
        self._open.pop(entry.file, None)
        if entry.state in OPEN:
            self._open[entry.file] = entry
        elif entry.state == DONE:
            self._ended[entry.channel] = entry

    def _forget(self, file: str) -> None:
        entry = self._entries.pop(file)
        self._open.pop(file, None)
        if self._ended.get(entry.channel) is entry:
            del self._ended[entry.channel]
