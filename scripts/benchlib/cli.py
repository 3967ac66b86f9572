"""The bench from its arguments to its tables: which servers, in which order, how often; measures nothing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from benchlib import bars, capacity, options, ramp, ramp_report, report, run, servers
from benchlib.quiet import wait_for_quiet
from benchlib.rtmpclient import Target
from benchlib.scenarios import Scenario
from benchlib.workers import Cores, LoadError, keep_time

Starter = Callable[[Scenario], AbstractContextManager[servers.Running]]


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same for all scenarios of a run."""

    starters: dict[str, Starter]
    builds: dict[str, str]  # of the servers that are ours
    cores: Cores
    rounds: int
    patience_s: float
    ramp_minutes: float


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; gives the exit code."""
    chosen = options.parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = _cores(pin=not chosen.no_pin)
    _say(f"server on CPU {_listed(cores.server)}, load on CPU {_listed(cores.load)}; {_machine()}")
    keep_time(cores)
    collected: list[dict[str, object]] = []
    builds: dict[str, str] = {}
    try:
        starters = _starters(chosen, servers.Launch(cores.server, options.environment(chosen.env)))
        builds = _builds(chosen, starters)
        bench = Bench(starters, builds, cores, chosen.rounds, chosen.patience, chosen.ramp_minutes)
        for scenario in options.scenarios(chosen):
            _say(f"\n## {scenario.name}: {_described(scenario)}")
            collected.append(_capacity(bench, scenario) if scenario.ramp else _load(bench, scenario))
    except (LoadError, servers.ServerError) as exc:
        _say(f"bench: {exc}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if chosen.json and collected:
            found = {"machine": _machine(), "time": time.time(), "builds": builds, "scenarios": collected}
            Path(chosen.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _load(bench: Bench, scenario: Scenario) -> dict[str, object]:
    """Run each server in each round, print the tables and give them for the JSON file."""
    rows = []
    for number, name in _turns(bench):
        for variant in _variants(scenario, ours=name in bench.builds):
            before = wait_for_quiet(bench.patience_s, bench.cores.all)
            with bench.starters[name](variant) as server:
                rows.append(run.measure(server, variant, number, bench.cores))
            rows[-1].values["before_percent"] = before
            _say(f"{rows[-1].server} round {number} done", end="\r" if sys.stdout.isatty() else "\n")
    middle = report.medians(rows)
    comparisons = report.ratios(middle)
    verdicts = bars.verdicts(scenario, middle, bench.builds)
    doubts = report.doubts(rows, len(bench.cores.load))
    _say(report.table([*rows, *middle.values()]))
    for line in (*comparisons, *verdicts, *doubts):
        _say(line)
    return {
        "scenario": dataclasses.asdict(scenario),
        "rows": [dataclasses.asdict(row) for row in rows],
        "medians": {name: row.values for name, row in middle.items()},
        "ratios": comparisons,
        "verdicts": verdicts,
        "doubts": doubts,
    }


def _variants(scenario: Scenario, ours: bool) -> list[Scenario]:
    """Give the loads of one server in one round: the plain one, and what a preset compares with it."""
    plain = dataclasses.replace(scenario, stalled=False, workers=1, flv=False, no_http=False)
    only_ours = scenario.workers > 1 or scenario.flv or scenario.no_http
    return [plain, scenario] if scenario.stalled or (only_ours and ours) else [plain]


def _capacity(bench: Bench, scenario: Scenario) -> dict[str, object]:
    """Let each server carry as many players as it can, print the tables and give them for the JSON file."""
    found = []
    for number, name in _turns(bench):
        before = wait_for_quiet(bench.patience_s, bench.cores.all)
        _say(f"\n{name} round {number}; the machine was {before:.0f}% of a core busy before it")
        _say(ramp_report.step_header())
        with bench.starters[name](scenario) as server:
            found.append(
                capacity.measure(server, scenario, number, bench.cores, bench.ramp_minutes, _say_step)
            )
        _say(ramp_report.carried_line(found[-1]))
    lines = ramp_report.capacities(found)
    verdicts = []
    if bars.BASE not in ramp_report.capped(found):
        verdicts = bars.capacity_verdicts(ramp_report.medians(found), bench.builds)
    _say("")
    for line in (*lines, *verdicts):
        _say(line)
    return {
        "scenario": dataclasses.asdict(scenario),
        "rows": [dataclasses.asdict(one) for one in found],
        "summary": lines,
        "verdicts": verdicts,
    }


def _turns(bench: Bench) -> Iterator[tuple[int, str]]:
    """Give each round's servers, each round beginning with another one."""
    names = list(bench.starters)
    for number in range(1, bench.rounds + 1):
        first = (number - 1) % len(names)
        for name in names[first:] + names[:first]:
            yield number, name


def _starters(chosen: argparse.Namespace, launch: servers.Launch) -> dict[str, Starter]:
    starters: dict[str, Starter] = {}
    if chosen.peer:
        host, _, port = chosen.peer.rpartition(":")
        target = Target(host.strip("[]"), int(port), bool(chosen.tls), chosen.peer_names == "channel/key")
        starters["peer"] = lambda _scenario: servers.peer(target, chosen.peer_pid)
        if chosen.only is None:
            return starters
    own: list[tuple[str, str | None]] = [("ours", None), *chosen.ours]
    for name, python in own:
        # each has to keep its own name and interpreter
        def start(
            scenario: Scenario, name: str = name, python: str | None = python
        ) -> AbstractContextManager[servers.Running]:
            return servers.ours(name, python, scenario, launch)

        starters[name] = start
    if chosen.endpoint or "endpoint" in (chosen.only or ()):
        starters["endpoint"] = lambda scenario: servers.endpoint(scenario, launch)
    missing = servers.nginx_missing(bool(chosen.tls))
    if not missing or "nginx" in (chosen.only or ()):
        starters["nginx"] = lambda scenario: servers.nginx(scenario, launch)
    elif chosen.only is None:
        _say(f"without nginx: {missing}")
    wanted = chosen.only and {*chosen.only, "peer"}
    return {name: starter for name, starter in starters.items() if not wanted or name in wanted}


def _builds(chosen: argparse.Namespace, starters: dict[str, Starter]) -> dict[str, str]:
    """Ask each interpreter which build it runs."""
    pythons: dict[str, str | None] = {"ours": None, **dict(chosen.ours)}
    builds = {name: servers.build_of(pythons[name]) for name in starters if name in pythons}
    for name, build in builds.items():
        _say(f"{name}: {build}, {pythons[name] or sys.executable}")
    return builds


def _cores(pin: bool) -> Cores:
    """Give the server one core and the load the rest, where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    if not pin or len(usable) < 2:
        return Cores(frozenset(usable), frozenset(usable))
    return Cores(frozenset(usable[:1]), frozenset(usable[1:]))


def _described(scenario: Scenario) -> str:
    players = f"{scenario.players} player(s)"
    if scenario.ramp:
        players += f" and more, until p99 passes {ramp.P99_LIMIT_MS:g} ms or a frame is lost"
    text = (
        f"{scenario.publishers} publisher(s) x {players}, {scenario.bitrate_mbit:g} Mbit/s"
        f"{' + audio' if scenario.audio else ''}, {scenario.fps:g} fps, GOP {scenario.gop_s:g} s, "
        f"chunks of {scenario.chunk_size}, {scenario.seconds:g} s"
    )
    extras = [f"MSG_BUFFER_SIZE={scenario.merge}"] if scenario.merge else []
    extras += [name for name in ("tls", "stalled") if getattr(scenario, name)]
    extras += [f"and WORKERS={scenario.workers}"] if scenario.workers > 1 else []
    extras += ["and by HTTP-FLV"] if scenario.flv else []
    extras += ["and with HTTP_PORT=0"] if scenario.no_http else []
    return ", ".join((text, *extras))


def _machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"


def _listed(cpus: frozenset[int]) -> str:
    return ",".join(str(cpu) for cpu in sorted(cpus))


def _say_step(step: ramp.Step) -> None:
    _say(ramp_report.step_line(step))


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()
