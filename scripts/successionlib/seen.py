"""What players saw, added up by kind, and the verdicts on it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from time import localtime, strftime

from .kinds import WHOLE, Kind


@dataclass(frozen=True, slots=True)
class Seen:
    """One player at the end of a run."""

    kind: Kind
    channel: int
    tls: bool
    closed: bool
    first: int  # number of the first that it got, of the type that began later
    received: int
    lost: int  # between the first and the last that it got
    missing: int  # behind the last
    doubled: int
    reordered: int
    damaged: int
    unwanted: int
    told_end: bool
    newest_at: float = 0.0  # wall clock, of the newest message


Claim = tuple[bool, str]
COUNTED = ("lost", "missing", "doubled", "reordered", "damaged", "unwanted")


def claims(players: list[Seen]) -> list[Claim]:
    """Say what is owed to players and whether they got it."""
    total = len(players)
    closed = sum(one.closed for one in players)
    heard = sum(one.received for one in players)
    found = [(closed == 0, f"{closed} of {total} players lost their connection")]
    for name in COUNTED:
        count = sum(getattr(one, name) for one in players)
        found.append((count == 0, f"{count} of {heard} messages {name}"))
    deaf = [one for one in players if not one.received]
    found.append((not deaf, f"{len(deaf)} players got nothing at all"))
    late = [one for one in players if one.kind in WHOLE and one.first]
    found.append((not late, f"{len(late)} of those who were there first do not have the first message"))
    untold = [one for one in players if not one.told_end and not one.closed]
    found.append((not untold, f"{len(untold)} players were not told the end of their stream"))
    return found


def unlucky(players: list[Seen], most: int = 10) -> list[str]:
    """Name some of those who did not get all, with the time from which on the server's log may tell why."""
    found = [
        one
        for one in players
        if one.closed or one.missing or one.lost or not one.told_end or (one.kind in WHOLE and one.first)
    ]
    return [_told(one) for one in found[:most]]


def _told(one: Seen) -> str:
    who = f"{one.kind}{', RTMPS' if one.tls else ''} on bench{one.channel}"
    newest = strftime("%H:%M:%S", localtime(one.newest_at))
    rest = ", closed" if one.closed else ""
    return f"{who}: from {one.first} on, lost {one.lost}, missing {one.missing}, newest at {newest}{rest}"


def table(players: Iterable[Seen]) -> list[str]:
    """Lay the sums of each kind out, for a terminal."""
    by_kind: dict[str, list[Seen]] = {}
    for one in players:
        by_kind.setdefault(f"{one.kind}{', RTMPS' if one.tls else ''}", []).append(one)
    names = [field.name for field in fields(Seen) if field.name in ("closed", "received", *COUNTED)]
    lines = [f"{'players':>28} {'count':>6} " + " ".join(f"{name:>9}" for name in names)]
    for kind, group in sorted(by_kind.items()):
        sums = (sum(getattr(one, name) for one in group) for name in names)
        lines.append(f"{kind:>28} {len(group):>6} " + " ".join(f"{value:>9}" for value in sums))
    return lines
