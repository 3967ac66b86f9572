"""Which publications have begun and were not reported as ended yet: a file, for whoever comes after a crash.

Also which channels are closed, by a command that came once.

One line for each change, appended with one write and never synchronised: it survives the process, not the
machine. Holds stream keys, so nobody else may read it. Blocks no longer than a file does.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from rtmpsrv.access.blocks import MAX_BLOCKS
from rtmpsrv.access.facts import NO_FACTS, Approval, Facts
from rtmpsrv.access.gate import Authority, Grant, PublishRequest
from rtmpsrv.log import Logger, RateLimited

COMPACT_LINES: Final = 1000  # the file is written anew when it has so many, and most of them are of no use
_USELESS: Final = 4  # lines for each publication


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
        self.kept: dict[int, Kept] = {}
        self.closed: dict[str, float] = {}  # channels, and until when, by the wall clock
        self._replay()
        self._compact()  # a line that was cut short must not be gone on with

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
        try:
            os.write(self._fd, _line(record))
            self._lines += 1
            if self._lines >= COMPACT_LINES and self._lines > _USELESS * (len(self.kept) + len(self.closed)):
                self._compact()
        except OSError:
            self._failures.add()

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

    def _compact(self) -> None:
        """Write the file anew; it is whole at any moment."""
        fresh = f"{self._path}.new"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(fresh, flags, 0o600)
        try:
            os.fchmod(fd, 0o600)
            with open(fd, "wb", closefd=False) as file:
                file.writelines([_line(_record(kept)) for kept in self.kept.values()])
                closed = [{"closed": channel, "until": at} for channel, at in self.closed.items()]
                file.writelines([_line(record) for record in closed])
            os.replace(fresh, self._path)
        except OSError:
            os.close(fd)
            raise
        self.close()
        self._fd, self._lines = fd, len(self.kept) + len(self.closed)


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
