"""The limits, and the judgement of what was seen during one attack. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

# What the product promises to everybody else while one client, or one trusted peer, does its worst.
P99_MS = 250.0  # latency of the good stream, from when a message was due, from the attack's first byte on
JOIN_S = 1.0  # from connecting to the first frame
GROWTH_MB = 150.0  # resident memory and memory files, while the attacker is there
LEFT_MB = 20.0  # of that, soon after it left
DESCRIPTORS = 500  # more than before, while the attacker is there
DESCRIPTORS_LEFT = 8  # soon after it left: a join or two may be under way


class Over(Enum):
    """Which limit was passed."""

    LATENCY = "p99"
    JOIN_TIME = "slow join"
    JOIN = "join failed"
    LOST = "messages lost"
    DOUBLED = "messages doubled"
    CLOSED = "healthy connection closed"
    GROWTH = "memory grew"
    LEFT = "memory not given back"
    DESCRIPTORS = "descriptors used up"
    DESCRIPTORS_LEFT = "descriptors not given back"
    LOG = "traceback in the log"
    DIED = "server died"
    COMPLAINT = "complaint"


TIMES = frozenset({Over.LATENCY, Over.JOIN_TIME})  # what a busy machine alone may bring about
EVERYTHING = frozenset(Over)


@dataclass(frozen=True)
class Sample:
    """What the server held at one moment."""

    at: float
    memory_mb: float
    descriptors: int
    cpu_s: float = 0.0
    queued_s: float = 0.0  # it could have run, but the machine had no processor for it


@dataclass
class Seen:
    """All that was seen between two moments."""

    began: float
    ended: float
    before: Sample
    during: list[Sample]
    after: Sample
    delays_s: list[float]  # of all messages that were due; infinite for those that never came
    doubled: int = 0
    closed: list[str] = field(default_factory=list)  # of the healthy
    joins_s: list[float] = field(default_factory=list)
    failed_joins: list[str] = field(default_factory=list)
    tracebacks: int = 0
    alive: bool = True
    complaints: list[str] = field(default_factory=list)  # of the attacker, about how it was treated


@dataclass(frozen=True)
class Verdict:
    """The figures in a line, and what is over a limit."""

    figures: str
    over: frozenset[Over]

    @property
    def only_times(self) -> bool:
        """True when nothing but times was over a limit."""
        return bool(self.over) and self.over <= TIMES

    def __str__(self) -> str:
        names = ", ".join(sorted(one.value for one in self.over))
        return self.figures + (f" -> OVER: {names}" if names else "")


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of all values does not exceed; infinite when there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else math.inf


def judge(seen: Seen, judged: frozenset[Over] = EVERYTHING) -> Verdict:
    """Compare with the limits; only what is `judged` can be over one."""
    p99_ms = 1e3 * percentile(seen.delays_s, 0.99)
    lost = sum(math.isinf(delay) for delay in seen.delays_s)
    slowest_s = max(seen.joins_s, default=0.0)
    most = max([*seen.during, seen.after], key=lambda one: one.memory_mb).memory_mb - seen.before.memory_mb
    left = seen.after.memory_mb - seen.before.memory_mb
    descriptors = max(one.descriptors for one in [*seen.during, seen.after]) - seen.before.descriptors
    descriptors_left = seen.after.descriptors - seen.before.descriptors
    passed = {
        Over.LATENCY: p99_ms > P99_MS,
        Over.JOIN_TIME: slowest_s > JOIN_S,
        Over.JOIN: bool(seen.failed_joins),
        Over.LOST: bool(lost),
        Over.DOUBLED: bool(seen.doubled),
        Over.CLOSED: bool(seen.closed),
        Over.GROWTH: most > GROWTH_MB,
        Over.LEFT: left > LEFT_MB,
        Over.DESCRIPTORS: descriptors > DESCRIPTORS,
        Over.DESCRIPTORS_LEFT: descriptors_left > DESCRIPTORS_LEFT,
        Over.LOG: bool(seen.tracebacks),
        Over.DIED: not seen.alive,
        Over.COMPLAINT: bool(seen.complaints),
    }
    span = max(0.01, seen.after.at - seen.before.at)
    cpu = (seen.after.cpu_s - seen.before.cpu_s) / span
    queued = (seen.after.queued_s - seen.before.queued_s) / span
    figures = [
        f"p99 {p99_ms:.0f} ms, slowest {1e3 * max(seen.delays_s, default=math.inf):.0f}",
        f"lost {lost} of {len(seen.delays_s)}",
        f"{len(seen.joins_s)} joins up to {slowest_s:.2f} s, {len(seen.failed_joins)} failed",
        f"memory {most:+.0f} MB then {left:+.0f}",
        f"descriptors {descriptors:+d} then {descriptors_left:+d}",
        f"CPU {100 * cpu:.0f}%, waited {100 * queued:.0f}%",
        *(f"closed: {one}" for one in seen.closed),
        *seen.failed_joins[:1],
        *seen.complaints,
    ]
    return Verdict(", ".join(figures), frozenset(one for one, bad in passed.items() if bad) & judged)
