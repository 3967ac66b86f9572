"""Keeps the folder of recordings in order: what was left unfinished, what is too old, what is too much.

Used in one thread: all of it blocks, and raises OSError where the index cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .disk import Folder
from .index import DELETED, DONE, OPEN, Entry, line_of, to_delete
from .ledger import Ledger
from .recovery import recover
from .steady import SteadyClock

MAX_AT_ONCE: Final = 1000  # files deleted at one look
GONE: Final = "it is not there"


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long files are kept, and how much of them. 0: no bound."""

    days: int = 0
    max_bytes: int = 0


class Caretaker:
    """Of one folder. Several processes may have one each: each thing is done once, by either."""

    def __init__(
        self,
        folder: Folder,
        keeping: Keeping,
        clock: SteadyClock | None = None,
    ) -> None:
        self.ledger = Ledger(folder)
        self._folder = folder
        self._keeping = keeping
        self._clock = clock or SteadyClock()

    def recover(self) -> list[Entry]:
        """Finish what nobody writes any more; return what that became."""
        unfinished = self.ledger.open()
        return recover(self._folder, unfinished, self._clock.now()) if unfinished else []

    def delete(self) -> list[Entry]:
        """Delete what is too old or too much; return that."""
        days = self._keeping.days if self._clock.is_steady() else 0
        max_bytes = self._keeping.max_bytes
        if not days and not max_bytes:
            return []
        entries = self._measured(self.ledger.entries())
        too_much = to_delete(entries, self._clock.now(), days, max_bytes)
        if max_bytes and too_much:  # somebody else may have deleted some
            entries = self._without_lost(entries)
            too_much = to_delete(entries, self._clock.now(), days, max_bytes)
        gone = []
        for entry in too_much[:MAX_AT_ONCE]:
            if self._folder.remove(entry.file):
                gone.append(entry)
            self._folder.note([line_of(replace(entry, state=DELETED))])
        self.ledger.shorten()
        return gone

    def _measured(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """Return entries with the sizes of what is being written."""
        return entries | {
            entry.file: replace(entry, bytes=self._folder.part_size_of(entry.file))
            for entry in self.ledger.open()
        }

    def _without_lost(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """Return entries of files that are there; the others are noted as deleted."""
        found = {}
        for file, entry in entries.items():
            if entry.state in OPEN or self._folder.size_of(file) is not None:
                found[file] = entry
            elif entry.state == DONE:
                self._folder.note([line_of(replace(entry, state=DELETED, reason=GONE))])
        return found
