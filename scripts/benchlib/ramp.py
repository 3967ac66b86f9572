"""How many players to try next, and what a failed step was bounded by; pure, measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

P99_LIMIT_MS = 250.0
FULL_PERCENT = 95.0  # a side whose cores are busier has no time left
LATE_READS_MS = 100.0  # players that read later than this are not what the scenario is about
FINE = 0.05  # of the players: how exactly the limit is found
FINEST = 20  # players
TRIES = 2  # a machine's hiccup must not end a ramp


@dataclass(frozen=True, slots=True)
class Step:
    """What one number of players came to."""

    players: int
    p50_ms: float
    p99_ms: float
    lost: int  # frames, all players together
    closed: int
    server_percent: float  # of the server's cores: how busy they were, whoever kept them so
    server_cpu_percent: float  # of one core: the server's own processes
    load_percent: float  # of the load's cores: how busy they were
    load_cpu_percent: float  # of one core: the load's own processes
    other_percent: float  # of one core: what the cores of both did besides
    reads_late_ms: float
    probe_late_ms: float
    publisher_late_ms: float

    @property
    def held(self) -> bool:
        """Say whether the server carried them."""
        return self.p99_ms <= P99_LIMIT_MS and not self.lost and not self.closed

    @property
    def load_is_full(self) -> bool:
        """Say whether the load could not have been sure to carry more."""
        return self.load_percent >= FULL_PERCENT or self.reads_late_ms >= LATE_READS_MS


@dataclass(frozen=True, slots=True)
class Carried:
    """What one server came to in one round."""

    server: str
    scenario: str
    round_number: int
    players: int
    bound: str
    capped: bool  # the ramp ended before the server failed: it carries at least so many
    load_was_full: bool  # at the first step that failed, or at the last
    memory_kb_per_player: float
    steps: tuple[Step, ...]


def next_players(steps: Sequence[Step], first: int, most: int) -> int | None:
    """Give the number of players to measure next; None when the limit is found."""
    if not steps:
        return min(first, most)
    last, best = steps[-1], carried(steps)
    if not last.held and sum(step.players == last.players for step in steps) < TRIES:
        return last.players
    failed = min((step.players for step in steps if step.players > best), default=None)
    if best == 0:
        return last.players // 2 if last.players > FINEST else None
    if failed is None:
        return min(best + _stride(last), most) if best < most else None
    fine = max(FINEST, int(best * FINE))
    return best + fine if failed - best > fine else None


def carried(steps: Sequence[Step]) -> int:
    """Give the most players that a step held; 0 if none did."""
    return max((step.players for step in steps if step.held), default=0)


def bound(steps: Sequence[Step], cap: str) -> str:
    """Say what kept the server from carrying more; `cap` names the end of the ramp that no failure made."""
    if not steps:
        return cap
    last = steps[-1]
    # a hiccup that the second try put right is no failure
    failures = [step for step in steps if not step.held and step.players > carried(steps)]
    if not failures:
        load = ", and the load is full" if last.load_is_full else ""
        return f"neither: {cap}{load}; server's core {last.server_percent:.0f}% busy"
    step = min(failures, key=lambda failure: failure.players)
    server_is_full = step.server_percent >= FULL_PERCENT
    if server_is_full and step.load_is_full:
        side = "server and load, both full"
    elif server_is_full:
        side = "server CPU"
    elif step.load_is_full:
        side = "load"
    else:
        side = "server, with time left"
    return (
        f"{side}: at {step.players} players {_failure(step)}; server's core {step.server_percent:.0f}% busy "
        f"(itself {step.server_cpu_percent:.0f}%), load's {step.load_percent:.0f}%, "
        f"reads up to {step.reads_late_ms:.0f} ms late"
    )


def _stride(step: Step) -> int:
    """Give how many players to add to a step that held: the fewer, the less room there is."""
    room = min(1 - step.server_cpu_percent / 100, 1 - step.p99_ms / P99_LIMIT_MS)
    share = 0.4 if room > 0.5 else 0.15 if room > 0.25 else FINE
    return max(FINEST, int(step.players * share))


def _failure(step: Step) -> str:
    parts = [] if step.p99_ms <= P99_LIMIT_MS else [f"p99 was {step.p99_ms:.0f} ms"]
    parts += [f"{step.lost} frames were lost"] if step.lost else []
    parts += [f"{step.closed} players were closed"] if step.closed else []
    return " and ".join(parts)
