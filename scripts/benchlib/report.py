"""Rows, medians, ratios and doubts as text; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LOAD_CPU_LIMIT = 85.0  # % of the load's cores: above, the load may be what is measured
OTHER_CPU_LIMIT = 20.0  # % of one core taken by anything else: the server's caches and core were shared
LOAD_LATE_LIMIT_MS = 10.0  # a probe or publisher that wakes later than this adds to the latency it reports

# title, key of Row.values, format
COLUMNS = (
    ("CPU %", "cpu_percent", ".1f"),
    ("ms/player-s", "ms_per_player_s", ".4f"),
    ("ms/publ-s", "ms_per_publisher_s", ".3f"),
    ("p50 ms", "p50_ms", ".1f"),
    ("p99 ms", "p99_ms", ".1f"),
    ("max ms", "max_ms", ".0f"),
    ("KB/player", "memory_kb_per_player", ".1f"),
    ("grew MB", "window_growth_mb", ".1f"),
    ("messages", "expected", ".0f"),
    ("lost", "lost", ".0f"),
    ("slowest %", "slowest_player_percent", ".1f"),
    ("closed", "closed", ".0f"),
    ("load %", "load_cpu_percent", ".0f"),
    ("other %", "other_cpu_percent", ".0f"),
    ("publ late", "publisher_late_p99_ms", ".1f"),
    ("probe late", "probe_late_p99_ms", ".1f"),
    ("reads late", "reads_late_p99_ms", ".0f"),
    ("before %", "before_percent", ".0f"),
)
RATIOS = (
    ("CPU", "cpu_percent"),
    ("p50", "p50_ms"),
    ("p99", "p99_ms"),
    ("memory", "memory_kb_per_player"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one server did in one round of one scenario."""

    server: str
    scenario: str
    round_number: int
    values: dict[str, float] = field(default_factory=dict)


def percentile(ordered: Sequence[int], share: float) -> float:
    """Give the value below which `share` of a sorted sequence lies; nan if it is empty."""
    if not ordered:
        return float("nan")
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


def medians(rows: Iterable[Row]) -> dict[str, Row]:
    """Give each server's median of every value over its rounds, as a row of round 0."""
    by_server: dict[str, list[Row]] = {}
    for row in rows:
        by_server.setdefault(row.server, []).append(row)
    return {
        name: Row(
            name,
            group[0].scenario,
            0,
            {key: statistics.median(row.values[key] for row in group) for key in group[0].values},
        )
        for name, group in by_server.items()
    }


def table(rows: Iterable[Row]) -> str:
    """Lay rows out as a Markdown table, aligned for a terminal."""
    cells = [["server", "round", *(title for title, _, _ in COLUMNS)]]
    for row in rows:
        numbers = (format(row.values[key], style) for _, key, style in COLUMNS)
        cells.append([row.server, str(row.round_number or "median"), *numbers])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return "\n".join(lines)


def ratios(middle: dict[str, Row]) -> list[str]:
    """Compare each server with nginx, the endpoint with ours, and one's variants with itself."""
    lines = []
    for name, row in middle.items():
        bases = ["nginx", name.partition("+")[0]]
        if name == "endpoint":
            bases.append("ours")
        for base in bases:
            other = middle.get(base)
            if other is None or base == name or (base == "nginx" and "+" in name):
                continue
            parts = [f"{title} {_ratio(row.values[key], other.values[key])}" for title, key in RATIOS]
            lines.append(f"{name} / {base}: " + ", ".join(parts))
    return lines


def doubts(rows: Iterable[Row], load_cores: int) -> list[str]:
    """Name the rows whose figures the load itself may have limited."""
    lines = []
    for row in rows:
        value = row.values
        reasons = []
        if value["load_cpu_percent"] > LOAD_CPU_LIMIT * load_cores:
            reasons.append(f"load CPU {value['load_cpu_percent']:.0f}% of {load_cores} core(s)")
        if value["other_cpu_percent"] > OTHER_CPU_LIMIT:
            reasons.append(f"other work on the machine {value['other_cpu_percent']:.0f}% of a core")
        if value["before_percent"] > OTHER_CPU_LIMIT:
            reasons.append(f"the machine was {value['before_percent']:.0f}% of a core busy before it")
        for title, key in (
            ("publishers", "publisher_late_p99_ms"),
            ("probe", "probe_late_p99_ms"),
        ):
            if not value[key] <= LOAD_LATE_LIMIT_MS:
                reasons.append(f"{title} late by {value[key]:.0f} ms (p99)")
        if reasons:
            lines.append(f"doubtful: {row.server} round {row.round_number}: " + ", ".join(reasons))
    return lines


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}x" if base > 0 else "-"
