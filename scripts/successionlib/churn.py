"""Workers and the keeper are killed while publishers come and go: one start and one stop for each."""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from benchlib.rtmpclient import Target
from imagelib.report import Report

from tests.doubles.callback_server import Answer, CallbackServer, Received
from tests.doubles.secrets import JWT_SECRET
from tests.server_process import free_port
from tests.succession_process import Family

from .coming import Visitors, exactly_once

HOST = "127.0.0.1"
LOOK_S = 0.1
KILLED = "was sent SIGKILL"  # the manager's word for it
STOPS_S = 40.0  # for all ends to be told: a journal may have to be replayed
REPLACED_S = 20.0  # for a worker to stand in for one that was killed


def run(options: argparse.Namespace, report: Report) -> None:
    """Let visitors come and go for so many minutes, then judge."""
    port = free_port()
    settings = dict(options.env) | {"BIND_ADDRESS": HOST, "CONCURRENT_LIMIT_WHITELIST": "*"}
    with CallbackServer(JWT_SECRET) as backend:
        backend.answer = _accept
        settings |= {"RTMP_PORT": str(port), "WORKERS": str(options.workers)}
        with Family(CALLBACK_URL=backend.url, JWT_SECRET=JWT_SECRET, **settings) as family:
            visitors = Visitors(Target(HOST, port), options.publishers)
            visitors.start()
            try:
                _kill_now_and_then(family, options, report)
            finally:
                visitors.stop()
            _await_stops(backend)
            for line in family.faults(KILLED)[:20]:
                report.check(False, f"log: {line}")
            if options.log:
                Path(options.log).write_text("\n".join(family.first.everything()) + "\n")
    outcomes = Counter(visit.outcome for visit in visitors.visits)
    print(f"{len(visitors.visits)} visits: " + ", ".join(f"{n} {how}" for how, n in outcomes.most_common()))
    told = [(one.event, str(one.claims["key"])) for one in backend.received]
    for good, text in exactly_once(visitors.visits, told):
        report.check(good, text)
    _explain(backend, visitors)


def _kill_now_and_then(family: Family, options: argparse.Namespace, report: Report) -> None:
    """Kill a worker every so often, and the keeper once, in the middle. Blocks for the whole time."""
    dice = random.Random(1)
    began = time.monotonic()
    until = began + options.churn * 60
    kill_at = began + options.kill_every
    keeper_at: float | None = (began + until) / 2
    while time.monotonic() < until:
        time.sleep(LOOK_S)
        now = time.monotonic()
        if keeper_at is not None and now >= keeper_at:
            keeper_at = None
            keepers = family.keepers()
            report.check(bool(keepers), f"kill -9 of the keeper {keepers} at {now % 1000:.2f} s")
            _kill(keepers)
        if now >= kill_at:
            kill_at = now + options.kill_every
            workers = family.workers()
            report.check(bool(workers), f"kill -9 of one of the workers {workers} at {now % 1000:.2f} s")
            _kill([dice.choice(workers)] if workers else [])
    back_by = time.monotonic() + REPLACED_S
    while len(family.workers()) < options.workers and time.monotonic() < back_by:
        time.sleep(LOOK_S)
    count = len(family.workers())
    report.check(count == options.workers, f"{count} workers in the end, {options.workers} wanted")


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _await_stops(backend: CallbackServer) -> None:
    until = time.monotonic() + STOPS_S
    while len(backend.events("stop")) < len(backend.events("start")) and time.monotonic() < until:
        time.sleep(LOOK_S)
    time.sleep(1.0)  # for one too many


def _explain(backend: CallbackServer, visitors: Visitors) -> None:
    """Tell all that a backend was told of those whom it was not told of once."""
    told: dict[str, list[str]] = {}
    for one in backend.received:
        told.setdefault(str(one.claims["key"]), []).append(f"{one.event} at {one.at % 1000:.2f} s")
    outcomes = {visit.key: visit.outcome for visit in visitors.visits}
    for key, lines in told.items():
        if len(lines) != 2:
            print(f"  {key}: {', '.join(lines)}; {outcomes.get(key)}")


def _accept(received: Received) -> Answer:
    if received.event == "start":
        return Answer(headers={"stream-id": f"id-{received.claims['key']}"})
    return Answer()
