"""What servers carried, as text; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from benchlib.ramp import Carried, Step
from benchlib.report import OTHER_CPU_LIMIT

WIDTH = 11
# title, field of Step, format
COLUMNS = (
    ("players", "players", "d"),
    ("p50 ms", "p50_ms", ".1f"),
    ("p99 ms", "p99_ms", ".1f"),
    ("lost", "lost", "d"),
    ("closed", "closed", "d"),
    ("CPU %", "server_cpu_percent", ".1f"),
    ("its core %", "server_percent", ".0f"),
    ("load core %", "load_percent", ".0f"),
    ("load CPU %", "load_cpu_percent", ".1f"),
    ("other %", "other_percent", ".0f"),
    ("reads late", "reads_late_ms", ".0f"),
    ("probe late", "probe_late_ms", ".1f"),
    ("publ late", "publisher_late_ms", ".1f"),
    ("held", "held", ""),
)


def step_header() -> str:
    """Give the head of a table of steps."""
    titles = "|".join(f" {title:>{WIDTH}} " for title, _, _ in COLUMNS)
    return f"|{titles}|\n|" + "|".join("-" * (WIDTH + 1) + ":" for _ in COLUMNS) + "|"


def step_line(step: Step) -> str:
    """Give a step's line of that table."""
    cells = []
    for _, name, style in COLUMNS:
        value = getattr(step, name)
        text = ("yes" if value else "no") if isinstance(value, bool) else format(value, style)
        cells.append(f" {text:>{WIDTH}} ")
    return "|" + "|".join(cells) + "|"


def carried_line(one: Carried) -> str:
    """Say what a server carried in one round, and what bounded it."""
    return (
        f"{one.server} round {one.round_number}: {one.players} players, "
        f"{one.memory_kb_per_player:.1f} KB each; bounded by {one.bound}"
    )


def medians(found: Iterable[Carried]) -> dict[str, float]:
    """Give each server's median of the players over its rounds."""
    by_server: dict[str, list[int]] = {}
    for one in found:
        by_server.setdefault(one.server, []).append(one.players)
    return {name: statistics.median(counts) for name, counts in by_server.items()}


def capped(found: Iterable[Carried]) -> set[str]:
    """Name the servers that were not brought to their limit in every round."""
    return {one.server for one in found if one.capped}


def capacities(found: list[Carried]) -> list[str]:
    """Sum up all rounds: the medians, their ratios to nginx, and where the load was the limit."""
    middle = medians(found)
    base = middle.get("nginx", 0)
    lines = [carried_line(one) for one in found]
    for name, players in middle.items():
        ratio = f", {players / base:.2f}x nginx" if base and name != "nginx" else ""
        more = " or more" if name in capped(found) else ""
        lines.append(f"{name}: median {players:g} players{more}{ratio}")
    for one in found:
        worst = max((step.other_percent for step in one.steps), default=0.0)
        if worst > OTHER_CPU_LIMIT:
            lines.append(
                f"doubtful: {one.server} round {one.round_number}: "
                f"other work on the machine up to {worst:.0f}% of a core"
            )
    for name in middle:
        full = [one.round_number for one in found if one.server == name and one.load_was_full]
        if full:
            rounds = ", ".join(map(str, full))
            lines.append(f"doubtful: {name}: the load was full at the limit in round {rounds}")
    return lines
