"""One measurement of how many players a server carries: joining, publishing and counting, step by step.

The publisher pauses between two steps. Players join in the pause, so that no join is measured, and by its end
each must have got exactly what the others got: a lost frame of any is seen, though most only count bytes.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchlib.ramp import Carried, Step, bound, carried, next_players
from benchlib.report import percentile
from benchlib.run import warm_up
from benchlib.scenarios import Scenario
from benchlib.servers import Running
from benchlib.stream import frame_sizes
from benchlib.workers import ROLES, Cores, Counters, Worker, counters, footprint, started

SETTLE_S = 2.0  # from the end of a pause to the window
STILL_S = 0.3  # without a byte for anybody: all that was published has arrived
DRAIN_S = 5.0  # at most; what has not arrived by then is lost
LOOK_S = 0.1
PROBE_EVERY = 150  # of so many players one is a probe, spread over the join order
SPARE_DESCRIPTORS = 100  # of a process: what is not a player
SPARE_PORTS = 1000
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def most_players(wanted: int | None) -> tuple[int, str]:
    """Give the end of the ramp and what it is due to."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = map(int, PORT_RANGE.read_text().split())
    limits = [
        (descriptors - SPARE_DESCRIPTORS, f"a process may have {descriptors} descriptors"),
        (high - low - SPARE_PORTS, f"an address has {high - low} ports to connect from"),
    ]
    if wanted is not None:
        limits.append((wanted, f"{wanted} players were the most asked for"))
    return min(limits)


def measure(
    server: Running,
    scenario: Scenario,
    round_number: int,
    cores: Cores,
    minutes: float,
    tell: Callable[[Step], None],
) -> Carried:
    """Add players to a running server until it fails. Raises `LoadError`.

    Blocks for `minutes` at most, and the time of a step.
    """
    most, cap = most_players(scenario.ramp_to)
    give_up_at = time.monotonic() + minutes * 60
    steps: list[Step] = []
    with started(server.target, scenario, cores) as workers:
        workers["publishers"].answer()
        warm_up(scenario)
        workers["publishers"].ask("pause")
        crowd = _Crowd(workers["players"], workers["probes"])
        alone = footprint(server)
        kb_per_player = 0.0
        while wanted := next_players(steps, scenario.players, most):
            if time.monotonic() >= give_up_at:
                cap = f"{minutes:g} minutes were over"
                break
            crowd.bring_to(wanted)
            steps.append(_step(server, scenario, workers, cores, crowd))
            tell(steps[-1])
            if steps[-1].held:
                grown = footprint(server).memory.total - alone.memory.total
                kb_per_player = grown / 1024 / crowd.size
    # no hiccup that a second try put right
    failed = [step for step in steps if step.players > carried(steps)]
    return Carried(
        server=server.name,
        scenario=scenario.name,
        round_number=round_number,
        players=carried(steps),
        bound=bound(steps, cap),
        capped=not failed,
        load_was_full=(failed or steps)[-1].load_is_full,
        memory_kb_per_player=kb_per_player,
        steps=tuple(steps),
    )


class _Crowd:
    """The players that have joined. Probes stay when others leave."""

    def __init__(self, players: Worker, probes: Worker) -> None:
        self._players, self._probes = players, probes
        self._counting = self._probing = 0

    @property
    def size(self) -> int:
        return self._counting + self._probing

    @property
    def probes(self) -> int:
        return self._probing

    def bring_to(self, wanted: int) -> None:
        """Join or leave until there are so many. Blocks."""
        if wanted < self.size:
            leaving = min(self._counting, self.size - wanted)
            self._players.ask("leave", leaving)
            self._counting -= leaving
        while self.size < wanted:
            due = -(-(self.size + 1) // PROBE_EVERY) - self._probing
            if due > 0:
                self._probes.ask("join", [0])
                self._probing += 1
            else:
                count = min(wanted - self.size, PROBE_EVERY * self._probing - self.size)
                self._players.ask("join", [0] * count, False)
                self._counting += count

    def drain(self) -> None:
        """Wait until nothing arrives any more. Blocks up to `DRAIN_S`."""
        give_up_at = time.monotonic() + DRAIN_S
        seen, still_since = -1, time.monotonic()
        while (now := time.monotonic()) < give_up_at and now - still_since < STILL_S:
            count = self._players.ask("count")
            if count != seen:
                seen, still_since = count, now
            time.sleep(LOOK_S)


def _step(
    server: Running, scenario: Scenario, workers: dict[str, Worker], cores: Cores, crowd: _Crowd
) -> Step:
    """Publish for a window, and see what came of it."""
    publishers, players = workers["publishers"], workers["players"]
    crowd.drain()
    players.tell("mark")
    players.ask("count")  # it has been marked
    publishers.tell("resume")
    begin_ns = time.monotonic_ns() + int(SETTLE_S * 1e9)
    end_ns = begin_ns + int(scenario.seconds * 1e9)
    for worker in workers.values():
        worker.tell("window", begin_ns, end_ns)
    _sleep_until(begin_ns)
    begin = counters(server, workers, cores)
    _sleep_until(end_ns)
    end = counters(server, workers, cores)
    publishers.ask("pause")
    crowd.drain()
    results = {role: workers[role].ask("report") for role in ROLES}
    return step_of(scenario, crowd.size, begin, end, cores, results)


def step_of(
    scenario: Scenario, size: int, begin: Counters, end: Counters, cores: Cores, results: dict[str, Any]
) -> Step:
    """Make a step of what was counted."""
    elapsed = end.at - begin.at
    server_cpu = end.server_cpu - begin.server_cpu
    load_cpu = sum(end.load_cpu.values()) - sum(begin.load_cpu.values())
    other = end.machine_cpu - begin.machine_cpu - server_cpu - load_cpu
    sent, players, probes = (results[role] for role in ROLES)
    latency = sorted(probes["latency_ns"])
    missing = sum(sent["sent"][channel] - count for channel, count in probes["received"])
    return Step(
        players=size,
        p50_ms=percentile(latency, 0.5) / 1e6,
        p99_ms=percentile(latency, 0.99) / 1e6,
        lost=missing + frames_missed(players["since_mark"], frame_sizes(scenario)[1]),
        closed=players["closed"] + probes["closed"],
        server_percent=_percent(end.server_cores_busy - begin.server_cores_busy, elapsed, cores.server),
        server_cpu_percent=server_cpu / elapsed * 100,
        load_percent=_percent(end.load_cores_busy - begin.load_cores_busy, elapsed, cores.load),
        load_cpu_percent=load_cpu / elapsed * 100,
        other_percent=max(0.0, other / elapsed * 100),
        reads_late_ms=players["late_p99_ms"],
        probe_late_ms=percentile(sorted(probes["delay_ns"]), 0.99) / 1e6,
        publisher_late_ms=percentile(sorted(sent["late_ns"]), 0.99) / 1e6,
    )


def frames_missed(counts: list[int], frame_bytes: int) -> int:
    """Reckon how many frames players missed against the one that got most.

    All got the same but for pings, which together are shorter than half a frame.
    """
    most = max(counts, default=0)
    return sum(round((most - count) / frame_bytes) for count in counts)


def _percent(busy: float, elapsed: float, cpus: frozenset[int]) -> float:
    return busy / elapsed / len(cpus) * 100


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))
