"""The command line of the soak: run, count before and after, judge."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import time

import gevent
from benchlib.servers import PROJECT

from soaklib.load import Load
from soaklib.server import Counts, Server, running

WARM_S = 30.0  # a first, uncounted coming and going: pools, caches and the heap take their shape
SETTLE_S = 20.0  # for sessions to end, drops by stall included
SAMPLE_S = 30.0
RSS_ALLOWANCE_KIB = 8 * 1024  # fragments of the heap; a leak of a kB per visitor is more within ten minutes
SETTINGS = {
    "PLAYER_MAX_LAG_SECONDS": "3",
    "PLAYER_MAX_LAG_MB": "1",
    "PLAYER_STALL_SECONDS": "8",
    "SETUP_TIMEOUT_SECONDS": "5",
    "IDLE_TIMEOUT_SECONDS": "30",
    "PING_INTERVAL_SECONDS": "5",
    "GOP_CACHE_TOTAL_MB": "16",
}


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; gives the exit code, 1 when something was left over or went wrong."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of coming and going (10)")
    parser.add_argument("--publishers", type=int, default=20, help="at one time at most (20)")
    parser.add_argument("--players", type=int, default=200, help="at one time at most (200)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000, help="of all chances")
    parser.add_argument(
        "--stalled",
        action="store_true",
        help="instead: a player that reads nothing for 60 s beside 50 good ones, and the same without it; "
        "the preset of scripts/bench of that name, our server only",
    )
    options = parser.parse_args(arguments)
    if options.stalled:
        return _stalled()
    print(f"seed {options.seed}, {options.publishers} publishers, {options.players} players")
    with running(SETTINGS) as server:
        return _soak(server, options)


def _soak(server: Server, options: argparse.Namespace) -> int:
    load = Load(server.target, options.publishers, options.players, options.seed)
    fresh = _settled(server, None)
    print(_line("fresh", fresh))
    load.run(WARM_S)
    before = _settled(server, fresh)
    print(_line("before, after a warm-up", before))
    load.seen.clear()
    sampling = gevent.spawn(_sample, server)
    try:
        load.run(options.minutes * 60)
    finally:
        sampling.kill()
    after = _settled(server, fresh)
    print(_line("after the last one left", after))
    print("\n".join(f"{count:8} {what}" for what, count in sorted(load.seen.items())))
    problems = [f"left over: {one}" for one in after.over(fresh)]
    grown = after.rss_kib - before.rss_kib
    if grown > RSS_ALLOWANCE_KIB:
        problems.append(f"RSS grew by {grown} KiB, allowed {RSS_ALLOWANCE_KIB}")
    if load.seen["good player: gap"]:
        problems.append(f"good players missed messages {load.seen['good player: gap']} times")
    code = server.stop()
    problems += [f"exit code {code}"] * bool(code)
    problems += [f"log: {line}" for line in server.faults()[:20]]
    print(f"{len(server.log())} lines of log, {len(server.faults())} with a fault")
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("passed")
    return bool(problems)


def _settled(server: Server, wanted: Counts | None) -> Counts:
    """Count when nothing is left over any more, or `SETTLE_S` later."""
    time.sleep(1.0)
    until = time.monotonic() + SETTLE_S
    while True:
        counts = server.count()
        if wanted is None or not counts.over(wanted) or time.monotonic() > until:
            return counts
        time.sleep(0.5)


def _sample(server: Server) -> None:
    began = time.monotonic()
    while True:
        time.sleep(SAMPLE_S)
        print(_line(f"at {time.monotonic() - began:.0f} s", server.count()), flush=True)


def _line(when: str, counts: Counts) -> str:
    values = dataclasses.asdict(counts).items()
    return f"{when}: " + ", ".join(f"{name} {value}" for name, value in values)


def _stalled() -> int:
    """Let the benchmark do it, in a process that is not patched: its clocks are finer."""
    command = [sys.executable, str(PROJECT / "scripts" / "bench"), "--only", "ours"]
    command += ["--rounds", "1", "--scenario", "stalled"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    return int(done.returncode != 0 or "MISS" in done.stdout)
