"""The project's bars for each preset, and how a server's medians stand against them."""

from __future__ import annotations

from dataclasses import dataclass

from benchlib.report import Row
from benchlib.scenarios import Scenario

COMPILED, PURE = "compiled", "pure"
BOTH = (COMPILED, PURE)
MEMORY_BAR_KB = 26.0  # per player
CACHE_MEMORY_BAR_KB = 40.0  # per player, where a cache of a few seconds of video is shared by few
ENDPOINT_CPU_BAR = 1.25  # times that of the stand-alone server in the same run
STALLED_P99_BAR = 2.0  # times the p99 without a stalled player
WORKERS_CPU_BAR = 1.35  # times that of one process in the same run, several workers and their keeper together
WORKERS_P99_BAR = 1.3  # times the p99 of one process
FLV_CPU_BAR = 1.1  # times that of RTMP players in the same run
UNWATCHED_CPU_BAR = 1.02  # times that of a server without HTTP in the same run
CAPACITY_BAR = 2.5  # times the players that nginx-rtmp carries
BASE = "nginx"


@dataclass(frozen=True, slots=True)
class Bar:
    """One median must be at most this; relative bars are a multiple of nginx-rtmp's in the same run."""

    what: str
    key: str
    most: float
    unit: str
    relative: bool = False
    builds: tuple[str, ...] = BOTH


def _cpu(most: float, *builds: str) -> Bar:
    return Bar(f"CPU / {BASE}", "cpu_percent", most, "x", relative=True, builds=builds or BOTH)


def _p99(most: float, *builds: str) -> Bar:
    return Bar("p99 latency", "p99_ms", most, " ms", builds=builds or BOTH)


def _memory(most: float) -> Bar:
    return Bar("memory per player", "memory_kb_per_player", most, " KB")


BARS: dict[str, tuple[Bar, ...]] = {
    "few": (_cpu(2.0), Bar("p50 latency", "p50_ms", 1.0, " ms"), _p99(5.0)),
    "fanout300": (_cpu(0.78, COMPILED), _p99(20, COMPILED), _cpu(0.8, PURE), _p99(40, PURE), _memory(26)),
    "fanout1000": (_cpu(0.32, COMPILED), _p99(80, COMPILED), _cpu(0.45, PURE), _p99(120, PURE), _memory(26)),
    "fanout1000-low": (_cpu(0.5), _memory(26)),
    "merge1": (_cpu(1.3), _p99(15), _memory(26)),
    "ingest100": (_cpu(1.0, COMPILED), _cpu(1.15, PURE), _p99(60), _memory(26)),
    "ingest100-128": (_cpu(0.55, COMPILED), _cpu(1.5, PURE), _memory(26)),
    "channels500": (_cpu(1.2, COMPILED), _cpu(1.5, PURE), _p99(100, COMPILED), _memory(26)),
    "busy": (_memory(CACHE_MEMORY_BAR_KB),),
    "stalled": (_memory(CACHE_MEMORY_BAR_KB),),
}


def verdicts(scenario: Scenario, middle: dict[str, Row], builds: dict[str, str]) -> list[str]:
    """Hold the medians of each of our servers against the bars of its build."""
    base = middle.get(BASE)
    lines = []
    for name, build in builds.items():
        row = middle.get(name)
        if row is None:
            continue
        for bar in BARS.get(scenario.name, ()):
            if build in bar.builds and not (bar.relative and base is None):
                got = row.values[bar.key]
                if bar.relative and base is not None:
                    got = _share(got, base.values[bar.key])
                lines.append(verdict(name, bar.what, got, bar.most, bar.unit))
        lines.append(verdict(name, "messages lost", row.values["lost"], 0, ""))
        stalled = middle.get(f"{name}+stalled")
        if stalled is not None:
            got = _share(stalled.values["p99_ms"], row.values["p99_ms"])
            lines.append(verdict(name, "p99 beside a stalled player / without", got, STALLED_P99_BAR, "x"))
            lines.append(verdict(name, "messages lost beside it", stalled.values["lost"], 0, ""))
        lines += _workers_verdicts(name, row, middle.get(f"{name}+workers"))
        lines += _http_verdicts(name, row, middle.get(f"{name}+flv"), middle.get(f"{name}+nohttp"))
    return [*lines, *_endpoint_verdicts(middle)]


def capacity_verdicts(players: dict[str, float], builds: dict[str, str]) -> list[str]:
    """Hold the players that our servers carry against what nginx-rtmp carries."""
    base = players.get(BASE)
    if base is None:
        return []
    return [
        verdict(name, f"players / {BASE}", _share(count, base), CAPACITY_BAR, "x", least=True)
        for name, count in players.items()
        if name in builds
    ]


def verdict(name: str, what: str, got: float, bar: float, unit: str, least: bool = False) -> str:
    """Say in one line whether a figure keeps its bar."""
    kept, side = (got >= bar, "least") if least else (got <= bar, "most")
    return f"{'ok  ' if kept else 'MISS'} {name}: {what}: {got:.2f}{unit} (at {side} {bar:g}{unit})"


def _workers_verdicts(name: str, alone: Row, several: Row | None) -> list[str]:
    if several is None:
        return []
    cpu = _share(several.values["ms_per_player_s"], alone.values["ms_per_player_s"])
    p99 = _share(several.values["p99_ms"], alone.values["p99_ms"])
    return [
        verdict(name, "CPU of several workers / of one process", cpu, WORKERS_CPU_BAR, "x"),
        verdict(name, "p99 of several workers / of one process", p99, WORKERS_P99_BAR, "x"),
        verdict(name, "messages lost with several workers", several.values["lost"], 0, ""),
    ]


def _http_verdicts(name: str, plain: Row, flv: Row | None, no_http: Row | None) -> list[str]:
    lines = []
    if flv is not None:
        got = _share(flv.values["ms_per_player_s"], plain.values["ms_per_player_s"])
        lines.append(verdict(name, "CPU of HTTP-FLV / of RTMP", got, FLV_CPU_BAR, "x"))
        lines.append(verdict(name, "messages lost by HTTP-FLV", flv.values["lost"], 0, ""))
    if no_http is not None:
        got = _share(plain.values["cpu_percent"], no_http.values["cpu_percent"])
        lines.append(verdict(name, "CPU with HTTP that nobody asks / without", got, UNWATCHED_CPU_BAR, "x"))
    return lines


def _endpoint_verdicts(middle: dict[str, Row]) -> list[str]:
    embedded, alone = middle.get("endpoint"), middle.get("ours")
    if embedded is None or alone is None:
        return []
    got = _share(embedded.values["cpu_percent"], alone.values["cpu_percent"])
    return [
        verdict("endpoint", "CPU / of the stand-alone server", got, ENDPOINT_CPU_BAR, "x"),
        verdict("endpoint", "messages lost", embedded.values["lost"], 0, ""),
    ]


def _share(value: float, base: float) -> float:
    return value / base if base > 0 else float("nan")
