"""The command line: which scenarios, which servers, how many rounds; puts the parts together."""

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
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchlib import report, servers
from benchlib.rtmpclient import Target
from benchlib.run import LoadError, measure
from benchlib.scenarios import Scenario, presets
from benchlib.stream import MIN_CHUNK_SIZE

# scenario fields that an option of the same name overrides
OVERRIDES = (
    *("publishers", "players", "bitrate_mbit", "fps", "gop_s", "audio"),
    *("chunk_size", "seconds", "merge", "tls", "stalled", "probes"),
)
STALL_S = 60.0
STALLED_SECONDS = STALL_S + 5
Starter = Callable[[Scenario], AbstractContextManager[servers.Running]]


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; gives the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.peer) != bool(options.peer_pid):
        parser.error("--peer and --peer-pid go together")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server_cpus, load_cpus = _cpus(pin=not options.no_pin)
    _say(f"server on CPU {_listed(server_cpus)}, load on CPU {_listed(load_cpus)}; {_machine()}")
    starters = _starters(options, servers.Launch(server_cpus, _environment(options.env)))
    collected: list[dict[str, object]] = []
    try:
        for scenario in _scenarios(options):
            rows = _rounds(scenario, starters, options.rounds, load_cpus)
            collected.append(_finish(scenario, rows, len(load_cpus)))
    except (LoadError, servers.ServerError) as exc:
        _say(f"bench: {exc}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if options.json and collected:
            text = json.dumps(
                {"machine": _machine(), "time": time.time(), "scenarios": collected},
                indent=1,
            )
            Path(options.json).write_text(text + "\n")
    return 0


def _rounds(
    scenario: Scenario,
    starters: dict[str, Starter],
    rounds: int,
    load_cpus: frozenset[int],
) -> list[report.Row]:
    """Run each server in each round, in an order that turns with the round."""
    plain = dataclasses.replace(scenario, stalled=False)
    variants = [plain, scenario] if scenario.stalled else [plain]
    _say(f"\n## {scenario.name}: {_described(scenario)}")
    rows = []
    for number in range(1, rounds + 1):
        order = list(starters) if number % 2 else list(reversed(starters))
        for name in order:
            for variant in variants:
                with starters[name](variant) as server:
                    rows.append(measure(server, variant, number, load_cpus))
                _say(
                    f"{rows[-1].server} round {number} done",
                    end="\r" if sys.stdout.isatty() else "\n",
                )
    return rows


def _finish(scenario: Scenario, rows: list[report.Row], load_cores: int) -> dict[str, object]:
    """Print a scenario's tables and give them for the JSON file."""
    middle = report.medians(rows)
    comparisons = report.ratios(middle)
    verdicts = report.verdicts(scenario, middle)
    doubts = report.doubts(rows, load_cores)
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


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    given = {name: getattr(options, name) for name in OVERRIDES if getattr(options, name) is not None}
    if given.get("stalled"):
        given.setdefault("seconds", STALLED_SECONDS)
    known = presets()
    return [
        dataclasses.replace(known.get(name, Scenario()), **given) for name in options.scenario or ["custom"]
    ]


def _starters(options: argparse.Namespace, launch: servers.Launch) -> dict[str, Starter]:
    starters: dict[str, Starter] = {}
    if options.peer:
        host, _, port = options.peer.rpartition(":")
        channel_is_app = options.peer_names == "channel/key"
        target = Target(host.strip("[]"), int(port), bool(options.tls), channel_is_app)
        starters["peer"] = lambda _scenario: servers.peer(target, options.peer_pid)
        if options.only is None:
            return starters
    if options.only in (None, "ours"):
        starters["ours"] = lambda scenario: servers.ours(scenario, launch)
    if options.endpoint or options.only == "endpoint":
        starters["endpoint"] = lambda scenario: servers.endpoint(scenario, launch)
    missing = servers.nginx_missing(bool(options.tls))
    if options.only == "nginx" or (options.only is None and not missing):
        starters["nginx"] = lambda scenario: servers.nginx(scenario, launch)
    elif options.only is None:
        _say(f"without nginx: {missing}")
    return starters


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure CPU, latency and memory of this server and of nginx-rtmp under the same load.",
    )
    add = parser.add_argument
    add(
        "--scenario",
        action="append",
        choices=sorted(presets()),
        help="a preset; may be given again",
    )
    add("--publishers", type=_positive, help="number of publishers, a channel each (1)")
    add(
        "--players",
        type=_positive,
        help="players of each publisher, probes included (300)",
    )
    add(
        "--bitrate",
        type=float,
        dest="bitrate_mbit",
        metavar="MBIT",
        help="video bitrate, Mbit/s (2.5)",
    )
    add("--fps", type=float, help="video messages a second (30)")
    add(
        "--gop",
        type=float,
        dest="gop_s",
        metavar="SECONDS",
        help="from keyframe to keyframe (2)",
    )
    add(
        "--audio",
        action="store_const",
        const=True,
        help="add audio of 128 kbit/s, 43 messages a second",
    )
    add(
        "--chunk-size",
        type=_chunk_size,
        metavar="BYTES",
        help="of the publishers (4096)",
    )
    add("--seconds", type=float, help="length of the measured window (20)")
    add("--rounds", type=_positive, default=3, help="times that each server runs (3)")
    add(
        "--probes",
        type=_positive,
        help="measuring players (5 on one channel, else one each on up to 10)",
    )
    add("--merge", type=_positive, metavar="N", help="MSG_BUFFER_SIZE of our server")
    add(
        "--tls",
        action="store_const",
        const=True,
        help="RTMPS, for publishers and players",
    )
    add(
        "--stalled",
        action="store_const",
        const=True,
        help="run each server also beside a player that stops",
    )
    add("--only", choices=("ours", "endpoint", "nginx"), help="start this server alone")
    add(
        "--endpoint",
        action="store_true",
        help="run a relay made of the endpoint's API beside the others",
    )
    add("--peer", metavar="ADDRESS:PORT", help="measure a server that runs already")
    add(
        "--peer-pid",
        type=_positive,
        metavar="PID",
        help="its process; the whole tree below it is counted",
    )
    add(
        "--peer-names",
        choices=("live/channel", "channel/key"),
        default="live/channel",
        help="its URL form",
    )
    add(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of our server",
    )
    add("--json", metavar="FILE", help="write all rows and medians there")
    add(
        "--no-pin",
        action="store_true",
        help="leave the placing on cores to the scheduler",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _chunk_size(text: str) -> int:
    value = int(text)
    if not MIN_CHUNK_SIZE <= value <= 0xFFFFFF:
        raise argparse.ArgumentTypeError(f"{value} is not in {MIN_CHUNK_SIZE}..16777215")
    return value


def _cpus(pin: bool) -> tuple[frozenset[int], frozenset[int]]:
    """Give the server one core and the load the rest, where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    if not pin or len(usable) < 2:
        return frozenset(usable), frozenset(usable)
    return frozenset(usable[:1]), frozenset(usable[1:])


def _environment(pairs: list[str]) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in pairs)


def _described(scenario: Scenario) -> str:
    text = (
        f"{scenario.publishers} publisher(s) x {scenario.players} player(s), {scenario.bitrate_mbit:g} Mbit/s"
        f"{' + audio' if scenario.audio else ''}, {scenario.fps:g} fps, GOP {scenario.gop_s:g} s, "
        f"chunks of {scenario.chunk_size}, {scenario.seconds:g} s"
    )
    extras = [f"MSG_BUFFER_SIZE={scenario.merge}"] if scenario.merge else []
    extras += [name for name in ("tls", "stalled") if getattr(scenario, name)]
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


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()
