"""Which publications have begun and were not reported as ended yet: a file, for whoever comes after a crash.

Also which channels are closed, by a command that came once.

One line for each change, appended with one write and never synchronised: it survives the process, not the
machine. Holds stream keys, so nobody else may read it. Blocks no longer than a file does.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import Any, Final

from rtmpsrv.access.blocks import MAX_BLOCKS
from rtmpsrv.access.facts import NO_FACTS, Approval, Facts
from rtmpsrv.access.gate import Authority, Grant, PublishRequest
from rtmpsrv.log import Logger, RateLimited

COMPACT_LINES: Final = 1000  # the file is written anew when it has so many, and most of them are of no use
_USELESS: Final = 4  # lines for each publication
# Lines of the new file that are written with each one of the old: they take a millisecond at most, and who
# writes a lot pays for them.
PIECE_LINES: Final = 50


@dataclass(frozen=True, slots=True)
class Kept:
    """One publication, by whom it is served, and whether its end waits to be reported."""

    grant: Grant
    owner: str = ""
    ended: bool = False


class Journal:
    """The file. Publications are told apart by the serials of their grants, which must be unique for ever."""

    def __init__(self, path: str, log: Logger) -> None:
        """Read what there is. Raises OSError when the file cannot be read or written."""
        self._path = path
        self._failures = RateLimited(lambda count: log.error("%d lines of the journal not written", count))
        self._lines = 0
        self._fd = -1
        self._fresh: _Fresh | None = None  # while the file is written anew
        self.kept: dict[int, Kept] = {}
        self.closed: dict[str, float] = {}  # channels, and until when, by the wall clock
        self._replay()
        fresh = self._begin_anew()  # a line that was cut short must not be gone on with
        try:
            while not self._go_on(fresh):
                pass
        except OSError:
            self._give_up()
            raise

    def began(self, grant: Grant, owner: str = "") -> None:
        """Note a publication, whose end will be reported."""
        self._note(Kept(grant, owner))

    def passed_on(self, serial: int, owner: str) -> None:
        """Note that somebody else serves a publication now."""
        kept = self.kept.get(serial)
        if kept is not None and kept.owner != owner:
            self._note(replace(kept, owner=owner))

    def ended(self, grant: Grant) -> None:
        """Note that the end of a publication is to be reported, also of one that never began."""
        kept = self.kept.get(grant.serial) or Kept(grant)
        if not kept.ended:
            self._note(replace(kept, ended=True))

    def reported(self, grant: Grant) -> None:
        """Forget a publication: its end was reported, or that was given up."""
        if self.kept.pop(grant.serial, None) is not None:
            self._append({"over": grant.serial})

    def closed_until(self, channel: str, at: float) -> None:
        """Note that a channel is closed until a time by the wall clock; 0 for an open one."""
        self._close_until(channel, at)
        self._append({"closed": channel, "until": at})

    def close(self) -> None:
        """Write no more. Idempotent."""
        self._give_up()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- private ----------------------------------------------------------------------------------

    def _close_until(self, channel: str, at: float) -> None:
        self.closed.pop(channel, None)
        if at > 0:
            self.closed[channel] = at
            while len(self.closed) > MAX_BLOCKS:
                del self.closed[next(iter(self.closed))]

    def _note(self, kept: Kept) -> None:
        self.kept[kept.grant.serial] = kept
        self._append(_record(kept))

    def _append(self, record: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        line = _line(record)
        try:
            os.write(self._fd, line)
            self._lines += 1
            if self._fresh is not None:
                self._fresh.late.append(line)
            elif self._lines >= max(COMPACT_LINES, _USELESS * (len(self.kept) + len(self.closed)) + 1):
                self._begin_anew()
            if self._fresh is not None:
                self._go_on(self._fresh)
        except OSError:
            self._failures.add()
            self._give_up()  # it lacks what was not written; another one begins with all that there is

    def _replay(self) -> None:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                self._replay_line(json.loads(line))
            except (ValueError, TypeError, KeyError):
                continue  # cut short; what it was about is lost

    def _replay_line(self, record: dict[str, Any]) -> None:
        if "over" in record:
            self.kept.pop(record["over"], None)
            return
        if "closed" in record:
            self._close_until(str(record["closed"]), float(record["until"]))
            return
        channel, key, client_ip, stream_id = record["grant"]
        facts = Facts(**record["facts"]) if "facts" in record else NO_FACTS
        asked = record.get("asked", "")
        grant = Grant(channel, key, client_ip, stream_id, record["serial"], facts, asked)
        self.kept[grant.serial] = Kept(grant, record["owner"], record["ended"])

    def _begin_anew(self) -> _Fresh:
        """Begin to write the file anew; until that is done the old one is the journal, and gone on with."""
        self._fresh = fresh = _Fresh(f"{self._path}.new", self.kept, self.closed)
        return fresh

    def _go_on(self, fresh: _Fresh) -> bool:
        """Write one piece more; a complete file takes the place of the old one. Tell whether it has."""
        if not fresh.write_piece():
            return False
        os.replace(fresh.path, self._path)
        old, self._fd = self._fd, fresh.fd
        self._lines, self._fresh = fresh.lines, None
        if old >= 0:
            os.close(old)
        return True

    def _give_up(self) -> None:
        fresh, self._fresh = self._fresh, None
        if fresh is not None:
            os.close(fresh.fd)
            with suppress(OSError):
                os.unlink(fresh.path)


class _Fresh:
    """A new file with what there is now and what comes meanwhile, in this order, written in pieces."""

    def __init__(self, path: str, kept: dict[int, Kept], closed: dict[str, float]) -> None:
        self.path = path
        self.late: list[bytes] = []  # lines that came meanwhile: one for each piece
        self.lines = 0
        self._records = chain(
            map(_record, list(kept.values())),
            ({"closed": channel, "until": at} for channel, at in list(closed.items())),
        )
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(path, flags, 0o600)
        try:
            os.fchmod(self.fd, 0o600)
        except OSError:
            os.close(self.fd)
            raise

    def write_piece(self) -> bool:
        """Write so many lines; tell whether all is written. Raises OSError."""
        lines = [_line(record) for record in islice(self._records, PIECE_LINES)]
        done = len(lines) < PIECE_LINES
        if done:
            lines += self.late
        with open(self.fd, "wb", closefd=False) as file:
            file.writelines(lines)
        self.lines += len(lines)
        return done


class JournaledAuthority:
    """An authority whose reports outlive the process: each is noted before it is queued."""

    def __init__(self, authority: Authority, journal: Journal, *, reports_later: bool) -> None:
        """With `reports_later` somebody calls the journal's `reported`; else what is queued is done."""
        self.key_names_stream = authority.key_names_stream
        self._authority = authority
        self._journal = journal
        self._reports_later = reports_later

    def authorise(self, request: PublishRequest) -> str | Approval:
        """Return the stream id, or more, or raise AccessDenied. Blocks as the authority does."""
        return self._authority.authorise(request)

    def ended(self, grant: Grant) -> None:
        """Queue the report that a publication ended. Never blocks."""
        self._journal.ended(grant)
        self._authority.ended(grant)
        if not self._reports_later:
            self._journal.reported(grant)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all reports have gone out. Blocks up to `timeout_s`."""
        return self._authority.wait_idle(timeout_s)

    def close(self) -> None:
        """Give up what is queued; it stays in the journal."""
        self._authority.close()


def _record(kept: Kept) -> dict[str, Any]:
    grant = kept.grant
    record = {
        "serial": grant.serial,
        "grant": [grant.channel, grant.key, grant.client_ip, grant.stream_id],
        "owner": kept.owner,
        "ended": kept.ended,
    }
    if grant.facts != NO_FACTS:
        record["facts"] = asdict(grant.facts)
    if grant.asked:
        record["asked"] = grant.asked
    return record


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
