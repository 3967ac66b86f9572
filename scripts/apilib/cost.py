"""What the API costs the streams, and how fast it answers: scripts/measure_api.py."""

from __future__ import annotations

import argparse
import http.client
import os
import resource
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchlib import procstat
from benchlib.quiet import wait_for_quiet
from benchlib.report import percentile
from benchlib.run import GRACE_S, LEAD_S, SETTLE_S, join, warm_up
from benchlib.scenarios import Scenario
from benchlib.servers import HOST, Launch, Running, ours
from benchlib.workers import ROLES, Cores, LoadError, Worker, keep_time, started

from tests.server_process import free_port

LIST = "/v3/paths/list"
EVENTS = "/events"
METRICS = "/metrics"
ASK_EVERY_S = 0.5
SCRAPE_EVERY_S = 5.0
ANSWER_S = 20.0
WEB = b"rtmpsrv.web"
ANSWER_BAR_MS = 100.0
P99_BAR = 1.2
CPU_BAR_PERCENT = 2.0
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Bench:
    """What all loads have in common."""

    port: int  # of the API
    cores: Cores
    rounds: int
    seconds: float
    environment: dict[str, str]


@dataclass
class Window:
    """What was seen in one turn."""

    p99_ms: float
    publisher_late_ms: float
    lost: int
    closed: int
    cpu_percent: float  # of the server and its web process
    web_percent: float


@dataclass
class Asker:
    """Asks for a path again and again, in a thread. Use as a context."""

    port: int
    path: str
    every_s: float
    times_ms: list[float] = field(default_factory=list)
    size: int = 0
    failed: str = ""

    def __enter__(self) -> Asker:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self.size = len(ask(self.port, self.path))
            except (OSError, http.client.HTTPException, LoadError) as exc:
                self.failed = f"{self.path}: {exc!r}"
            self.times_ms.append((time.monotonic() - began) * 1000)
            self._over.wait(max(0.0, began + self.every_s - time.monotonic()))


class Page:
    """The event stream of an open page, read in a thread. Use as a context."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
        self.bytes = 0

    def __enter__(self) -> Page:
        self._connection.request("GET", EVENTS)
        self._answer = self._connection.getresponse()
        if self._answer.status != 200:
            raise LoadError(f"{EVENTS}: {self._answer.status}")
        self._sock = self._connection.sock
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._sock.shutdown(2)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            while got := self._answer.read1(65536):
                self.bytes += len(got)


def main(arguments: list[str]) -> int:
    """Measure both loads, print what came of them, and give the exit code."""
    parser = argparse.ArgumentParser(description="What the API costs the streams, and how fast it answers.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--channels", type=int, default=500)
    parser.add_argument("--players", type=int, default=10, help="of each channel")
    parser.add_argument("--only", choices=("list", "page"))
    parser.add_argument("settings", nargs="*", help="NAME=VALUE for the server")
    chosen = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    usable = sorted(os.sched_getaffinity(0))
    cores = Cores(frozenset(usable[:1]), frozenset(usable[1:] or usable))
    keep_time(cores)
    port = free_port()
    settings = dict(one.split("=", 1) for one in chosen.settings)
    environment = {"API_PORT": str(port), **settings}
    bench = Bench(port, cores, chosen.rounds, chosen.seconds, environment)
    large = Scenario("large", chosen.channels, chosen.players, bitrate_mbit=0.1, fps=10, probes=50)
    small = Scenario("small", 100, 3, bitrate_mbit=1.0, fps=30, audio=True, probes=20)
    met = True
    try:
        if chosen.only != "page":
            met &= measure_list(bench, large)
        if chosen.only != "list":
            met &= measure_page(bench, small)
    except LoadError as exc:
        print(f"measure_api: {exc}")
        return 1
    return 0 if met else 1


def measure_list(bench: Bench, scenario: Scenario) -> bool:
    """Ask for all channels beside a large load; tell whether the bars are met."""
    times_ms: list[float] = []
    size = 0

    with loaded(bench, scenario) as (server, workers):
        ask(bench.port, LIST)
        without, beside = [], []
        for _ in range(bench.rounds):
            without.append(window(bench, server, workers))
            with Asker(bench.port, LIST, ASK_EVERY_S) as asker:
                beside.append(window(bench, server, workers))
            times_ms += _well(asker)
            size = asker.size
    worst = sorted(times_ms)[int(len(times_ms) * 0.95)]
    before, after = _median(without, "p99_ms"), _median(beside, "p99_ms")
    _say(scenario, without, beside)
    print(
        f"  {LIST}: {len(times_ms)} answers of {size / 1000:.0f} kB,"
        f" median {statistics.median(times_ms):.0f} ms, 95% within {worst:.0f} ms,"
        f" the slowest {max(times_ms):.0f} ms (bar: {ANSWER_BAR_MS:.0f} ms)"
    )
    print(f"  p99 of the streams: x{after / before:.2f} (bar: x{P99_BAR})")
    return worst <= ANSWER_BAR_MS and after <= P99_BAR * before


def measure_page(bench: Bench, scenario: Scenario) -> bool:
    """Have a page open and metrics read beside a load; tell whether the bar is met."""
    with loaded(bench, scenario) as (server, workers):
        if web_of(server):
            raise LoadError("there is a web process, and nobody has asked")
        without, beside = [], []
        for _ in range(bench.rounds):
            without.append(window(bench, server, workers))
            with Page(bench.port) as page, Asker(bench.port, METRICS, SCRAPE_EVERY_S) as asker:
                time.sleep(SETTLE_S)  # the web process has begun, and the page has its first picture
                beside.append(window(bench, server, workers))
            _well(asker)
            if not page.bytes:
                raise LoadError("the page was told nothing")
    more = _median(beside, "cpu_percent") - _median(without, "cpu_percent")
    _say(scenario, without, beside)
    print(
        f"  page and metrics: {more:.2f}% of a core more (bar: {CPU_BAR_PERCENT}%),"
        f" {_median(beside, 'web_percent'):.2f}% in the web process"
    )
    return more <= CPU_BAR_PERCENT


@contextmanager
def loaded(bench: Bench, scenario: Scenario) -> Iterator[tuple[Running, dict[str, Worker]]]:
    """Run a server and its load for the time of the block."""
    busy = wait_for_quiet(PATIENCE_S, bench.cores.all)
    load = f"{scenario.publishers} channels, {scenario.total_players} players"
    print(f"{load}; before: {busy:.0f}% of a core busy")
    with (
        ours("ours", None, scenario, Launch(bench.cores.server, bench.environment)) as server,
        started(server.target, scenario, bench.cores) as workers,
    ):
        workers["publishers"].answer()
        warm_up(scenario)
        join(scenario, workers["players"], workers["probes"])
        time.sleep(SETTLE_S)
        yield server, workers


def window(bench: Bench, server: Running, workers: dict[str, Worker]) -> Window:
    """Look at the load for some seconds. Blocks."""
    begin_ns = time.monotonic_ns() + int(LEAD_S * 1e9)
    end_ns = begin_ns + int(bench.seconds * 1e9)
    for worker in workers.values():
        worker.tell("window", begin_ns, end_ns)
    _place(bench, server)
    time.sleep(max(0.0, begin_ns / 1e9 - time.monotonic()))
    began, cpu, web = time.monotonic(), procstat.cpu_seconds(server.pid), _web_seconds(server)
    time.sleep(max(0.0, end_ns / 1e9 - time.monotonic()))
    elapsed = time.monotonic() - began
    cpu, web = procstat.cpu_seconds(server.pid) - cpu, _web_seconds(server) - web
    time.sleep(GRACE_S)
    found: dict[str, Any] = {role: workers[role].ask("report") for role in ROLES}
    probes, sent = found["probes"], found["publishers"]
    expected = sum(sent["sent"][channel] for channel, _ in probes["received"])
    return Window(
        p99_ms=percentile(sorted(probes["latency_ns"]), 0.99) / 1e6,
        publisher_late_ms=percentile(sorted(sent["late_ns"]), 0.99) / 1e6,
        lost=expected - sum(count for _, count in probes["received"]),
        closed=probes["closed"] + found["players"]["closed"],
        cpu_percent=cpu / elapsed * 100,
        web_percent=web / elapsed * 100,
    )


def ask(port: int, path: str) -> bytes:
    """Return the body of an answer, on a connection of its own. Blocks; raises LoadError."""
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise LoadError(f"{path}: {answer.status} {body[:200]!r}")
        return body
    finally:
        connection.close()


def web_of(server: Running) -> list[int]:
    """Return the web process, if there is one."""
    found = []
    for pid in procstat.tree(server.pid):
        with suppress(*procstat.GONE):
            if WEB in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _place(bench: Bench, server: Running) -> None:
    """Let the web process run where there is time, as it would without the pinning of the server."""
    for pid in web_of(server):
        os.sched_setaffinity(pid, bench.cores.all)


def _web_seconds(server: Running) -> float:
    return sum(procstat.cpu_seconds(pid) for pid in web_of(server))


def _well(asker: Asker) -> list[float]:
    if asker.failed:
        raise LoadError(asker.failed)
    return asker.times_ms


def _median(windows: list[Window], name: str) -> float:
    return statistics.median(float(getattr(one, name)) for one in windows)


def _say(scenario: Scenario, without: list[Window], beside: list[Window]) -> None:
    for what, windows in (("nobody asks", without), ("asked", beside)):
        print(
            f"  {what}: p99 {_median(windows, 'p99_ms'):.1f} ms, server and web"
            f" {_median(windows, 'cpu_percent'):.1f}% of a core, publishers late by"
            f" {_median(windows, 'publisher_late_ms'):.1f} ms, lost {sum(one.lost for one in windows)},"
            f" closed {sum(one.closed for one in windows)}"
        )
