"""One measurement: load a running server, read the OS's counters, and make a row of it."""

from __future__ import annotations

import time
from typing import Any

from benchlib import procstat
from benchlib.report import Row, percentile
from benchlib.scenarios import Scenario
from benchlib.servers import Running
from benchlib.workers import ROLES, Cores, Counters, Worker, counters, footprint, started

WARM_S = 3.0  # publishers alone, at least; two GOPs if that is longer, so that caches are full
SETTLE_S = 3.0  # after the last join: the server, and an adaptive interpreter, have seen the load
LEAD_S = 0.3  # the window is announced this long before it begins
GRACE_S = 1.5  # for what was sent in the window to arrive
MEMORY_EVERY_S = 1.0  # samples beside a stalled player
SINGLE_CHANNEL_PROBES = 5  # spread over the join order: the first and the last follower differ
MANY_CHANNELS_PROBES = (
    10  # each wakes on the other core for every message, and the server pays for the waking
)


def measure(server: Running, scenario: Scenario, round_number: int, cores: Cores) -> Row:
    """Run one scenario against one server. Blocks for its whole time; raises `LoadError`."""
    with started(server.target, scenario, cores) as workers:
        publishers, players, probes = (workers[role] for role in ROLES)
        publishers.answer()
        warm_up(scenario)
        alone = footprint(server)
        join_from = time.monotonic()
        join(scenario, players, probes)
        join_s = time.monotonic() - join_from
        time.sleep(SETTLE_S)
        begin_ns = time.monotonic_ns() + int(LEAD_S * 1e9)
        end_ns = begin_ns + int(scenario.seconds * 1e9)
        for worker in workers.values():
            worker.tell("window", begin_ns, end_ns)
        before = footprint(server)
        time.sleep(max(0.0, begin_ns / 1e9 - time.monotonic()))
        begin = counters(server, workers, cores)
        peak = _wait(server, scenario, end_ns / 1e9)
        end = counters(server, workers, cores)
        after = footprint(server)
        time.sleep(GRACE_S)
        results = {role: workers[role].ask("report") for role in ROLES}
    growth = max(peak, after.memory.total) - before.memory.total
    row = _row(server.name, scenario, round_number, begin, end, results)
    memory = {
        "memory_kb_per_player": (after.memory.total - alone.memory.total) / 1024 / scenario.total_players,
        "pss_kb_per_player": (after.memory.pss - alone.memory.pss) / 1024 / scenario.total_players,
        "rss_kb_per_player": (after.memory.rss - alone.memory.rss) / 1024 / scenario.total_players,
        "sockets_kb_per_player": (after.sockets - alone.sockets) / 1024 / scenario.total_players,
        "memory_mb": after.memory.total / 2**20,
        "memfd_mb": after.memory.memfd / 2**20,
        "window_growth_mb": growth / 2**20,
        "join_s": join_s,
    }
    row.values.update(memory)
    return row


def warm_up(scenario: Scenario) -> None:
    """Let the publishers publish alone."""
    time.sleep(max(WARM_S, 2 * scenario.gop_s + 1))


def probe_plan(scenario: Scenario) -> tuple[int, int]:
    """Give how many channels are probed, and by how many of their players each."""
    most = SINGLE_CHANNEL_PROBES if scenario.publishers == 1 else MANY_CHANNELS_PROBES
    wanted = scenario.probes if scenario.probes is not None else min(most, scenario.total_players)
    channels = min(wanted, scenario.publishers)
    return channels, min(scenario.players, max(1, wanted // scenario.publishers))


def join(scenario: Scenario, players: Worker, probes: Worker) -> None:
    """Join probes and players in turns, so that probes sit at the head, in the middle and at the end."""
    probed, turns = probe_plan(scenario)
    segments: list[list[int]] = [[] for _ in range(max(1, turns - 1))]
    for number in range(scenario.players):
        for channel in range(scenario.publishers):
            rest = scenario.players - (turns if channel < probed else 0)
            if number < rest:
                segments[number * len(segments) // rest].append(channel)
    for turn in range(turns):
        probes.tell("join", list(range(probed)))
        probes.answer()
        if turn == 0 and scenario.stalled:
            players.tell("join", [0], True)
            players.answer()
        if turn < len(segments) and segments[turn]:
            players.tell("join", segments[turn], False)
            players.answer()


def variant_of(scenario: Scenario) -> str:
    """Give what stands behind a server's name where it runs a second time."""
    suffixes = {
        "+stalled": scenario.stalled,
        "+workers": scenario.workers > 1,
        "+flv": scenario.flv,
        "+nohttp": scenario.no_http,
    }
    return next((suffix for suffix, is_one in suffixes.items() if is_one), "")


def _wait(server: Running, scenario: Scenario, until: float) -> int:
    """Sleep to the end of the window; gives the most memory seen beside a stalled player, else 0."""
    peak = 0
    while scenario.stalled and time.monotonic() + MEMORY_EVERY_S < until:
        time.sleep(MEMORY_EVERY_S)
        peak = max(peak, procstat.memory(server.pid).total)
    time.sleep(max(0.0, until - time.monotonic()))
    return peak


def _row(
    name: str,
    scenario: Scenario,
    round_number: int,
    begin: Counters,
    end: Counters,
    results: dict[str, Any],
) -> Row:
    elapsed = end.at - begin.at
    server_cpu = end.server_cpu - begin.server_cpu
    load_cpu = {role: (end.load_cpu[role] - begin.load_cpu[role]) / elapsed * 100 for role in ROLES}
    other_cpu = (end.machine_cpu - begin.machine_cpu - server_cpu) / elapsed * 100 - sum(load_cpu.values())
    sent, probes, players = results["publishers"], results["probes"], results["players"]
    expected = sum(sent["sent"][channel] for channel, _ in probes["received"])
    latency = sorted(probes["latency_ns"])
    delay, late = sorted(probes["delay_ns"]), sorted(sent["late_ns"])
    wanted = scenario.bytes_per_second * scenario.seconds
    counted = players["bytes"]
    return Row(
        server=name + variant_of(scenario),
        scenario=scenario.name,
        round_number=round_number,
        values={
            "cpu_percent": server_cpu / elapsed * 100,
            "ms_per_player_s": server_cpu * 1000 / elapsed / scenario.total_players,
            "ms_per_publisher_s": server_cpu * 1000 / elapsed / scenario.publishers,
            "p50_ms": percentile(latency, 0.5) / 1e6,
            "p99_ms": percentile(latency, 0.99) / 1e6,
            "max_ms": percentile(latency, 1.0) / 1e6,
            "expected": expected,
            "lost": expected - sum(count for _, count in probes["received"]),
            "gaps": probes["gaps"],
            "slowest_player_percent": counted[0] / wanted * 100 if counted else 100.0,
            "closed": players["closed"] + probes["closed"],
            "stalled_closed": players["stalled_closed"],
            "load_cpu_percent": sum(load_cpu.values()),
            **{f"{role}_cpu_percent": value for role, value in load_cpu.items()},
            "other_cpu_percent": max(0.0, other_cpu),
            "publisher_late_p99_ms": percentile(late, 0.99) / 1e6,
            "publisher_backlog_kb": sent["backlog"] / 1024,
            "probe_late_p99_ms": percentile(delay, 0.99) / 1e6,
            "reads_late_p99_ms": players["late_p99_ms"],
        },
    )
