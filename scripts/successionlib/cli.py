"""The command line of scripts/succession: a server, its load, the successions, and what came of them."""

from __future__ import annotations

import argparse
import os
import re
import resource
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchlib.quiet import wait_for_quiet
from benchlib.rtmpclient import Target
from benchlib.workers import LoadError, Worker
from imagelib.report import Report

from tests.doubles.pairs import issue
from tests.server_process import PROJECT, free_port
from tests.succession_process import Family

from . import churn, sockets
from .kinds import BEFORE, Kind, parts
from .load import PLAYERS, PUBLISHERS, started
from .marks import Shape
from .seen import claims, table, unlucky

HOST = "127.0.0.1"
SETTLE_S = 3.0  # for laggards to lag, and for the paused to have paused
GOP_S = 2.0  # less than the time that those who come last are given for their first keyframe
BETWEEN_S = 2.0  # one succession and the next
SETTINGS = {
    "BIND_ADDRESS": HOST,
    "CONCURRENT_LIMIT_WHITELIST": "*",
    # for those that are in their handshake, or connected and no more, throughout
    "HANDSHAKE_TIMEOUT_SECONDS": "600",
    "SETUP_TIMEOUT_SECONDS": "600",
    "IDLE_TIMEOUT_SECONDS": "600",
}
# A session runs in neither process from the one time to the other.
FROZEN = re.compile(r"frozen in (\d+) ms, \w+ after (\d+) ms")
FAILED = "succession failed"
FAIL_S = 60.0  # for a succession to have failed
FAILING = PROJECT / "tests" / "failing"
SIGNALS = {"USR2": signal.SIGUSR2, "HUP": signal.SIGHUP, "KILL": signal.SIGKILL}


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; 1 when a claim is broken."""
    options = _parse(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    if options.churn:
        churn.run(options, report)
    else:
        _under_load(options, report)
    print(f"{report.failed} claims broken" if report.failed else "all claims kept")
    return int(report.failed > 0)


def _under_load(options: argparse.Namespace, report: Report) -> None:
    """Start load and server, and let one process succeed the other."""
    target = Target(HOST, free_port())
    tls = Target(HOST, free_port(), tls=True) if options.tls_every else None
    shape = Shape(bitrate_mbit=options.mbit, fps=options.fps, gop_frames=max(1, round(options.fps * GOP_S)))
    with tempfile.TemporaryDirectory(prefix="succession-") as name:
        settings = SETTINGS | {"RTMP_PORT": str(target.port)} | dict(options.env)
        plan = Path(name) / "plan"
        if options.fail:
            settings |= {"PYTHONPATH": f"{FAILING}:{PROJECT}", "FAILS_AS": str(plan)}
        if options.workers > 1:
            settings["WORKERS"] = str(options.workers)
        if tls:
            chain, key = issue().write(Path(name))
            settings |= {"SSL_PORT": str(tls.port), "SSL_CERT": str(chain), "SSL_KEY": str(key)}
        # The load is forked, so it comes before the threads that read the server's log.
        busy = wait_for_quiet(options.patience, os.sched_getaffinity(0))
        print(f"the machine was {busy:.0f}% of a core busy before")
        with started(target, tls, shape, options.publishers) as load, Family(**settings) as family:
            if tls:
                family.wait_for_line(r"\[SERVER:TLS\] \[INFO\] Listening on ")
            try:
                _run(family, load, plan, options, report)
            except (LoadError, AssertionError) as exc:
                report.check(False, str(exc))
            for line in family.faults(FAILED if options.fail else "")[:20]:
                report.check(False, f"log: {line}")
            if options.log:
                Path(options.log).write_text("\n".join(family.first.everything()) + "\n")


def _run(
    family: Family, load: dict[str, Worker], plan: Path, options: argparse.Namespace, report: Report
) -> None:
    players, publishers = load[PLAYERS], load[PUBLISHERS]
    wanted = parts(options.publishers, options.players, options.tls_every, not options.no_tls_later)
    players.ask("join", [part for part in wanted if part.kind in BEFORE])
    refused = publishers.ask("start", list(range(options.publishers)))
    report.check(not refused, f"{options.publishers} publishers are on the air {refused}")
    players.ask("join", [part for part in wanted if part.kind not in BEFORE])
    print(f"{len(wanted)} players: {_census(wanted)}", flush=True)
    players.ask("settle")
    time.sleep(SETTLE_S)
    players.ask("mute")
    publishers.ask("on time")
    for number in range(1, options.successions + 1):
        if options.fail:
            plan.write_text(options.fail)
        _succeed(number, family, players, options, report)
        time.sleep(BETWEEN_S)
    late_ms = publishers.ask("report")["late_s"] * 1000
    refused = publishers.ask("start", [options.publishers])
    report.check(not refused, f"one more, for those who wait, comes after the last succession {refused}")
    players.ask("later")
    time.sleep(SETTLE_S)
    # The end comes right behind the last message, which must not be lost by it.
    sent = publishers.ask("leave")
    players.ask("finish", sent)
    asked = players.ask("ask")
    seen = players.ask("report")
    failed, slowest_s = players.ask("newcomers")
    what = f"{len(failed)} newcomers failed, the slowest of the others took {slowest_s * 1000:.0f} ms"
    report.check(not failed, f"{what} {failed[:3]}")
    report.check(asked == len(seen), f"{asked} of {len(seen)} players are answered when they ask")
    for line in table(seen):
        print(line)
    for good, text in claims(seen):
        report.check(good, text)
    for line in unlucky(seen):
        print(line)
    closed = publishers.ask("report")["closed"]
    report.check(not closed, f"{len(closed)} of {len(sent)} publishers lost their connection {closed[:10]}")
    print(f"publishers were late by {late_ms:.0f} ms at most while processes changed")


def _succeed(
    number: int, family: Family, players: Worker, options: argparse.Namespace, report: Report
) -> None:
    """Let one succession happen and judge what it cost."""
    mark = family.first.mark()
    lagging = sockets.behind(family.port, players.ask("behind"), options.mbit)
    before = family.pid
    players.ask("open")
    began = time.monotonic()
    try:
        if options.signal == "KILL":
            os.kill(before, signal.SIGKILL)
            time.sleep(BETWEEN_S)
        elif options.fail:
            os.kill(before, signal.SIGUSR2)
            family.wait_for_line(FAILED, since=mark, timeout_s=FAIL_S)
            report.check(family.pid == before, f"process {before} serves on")
        elif options.workers > 1:
            family.reload(SIGNALS[options.signal])
        else:
            family.succeed(SIGNALS[options.signal])
        took = time.monotonic() - began
        time.sleep(1.0)
    finally:
        found: dict[str, Any] = players.ask("close")
    print(f"\nsuccession {number}: {before} -> {family.pid} in {took:.1f} s, {lagging} laggards far behind")
    for kind, longest_s in sorted(found["longest_s"].items()):
        what = f"longest pause of a player ({kind}) {longest_s * 1000:.0f} ms, at most {options.pause_ms}"
        report.check(longest_s * 1000 <= options.pause_ms, what)
    print(f"the load itself was held up {found['held_up_s'] * 1000:.0f} ms at most")
    frozen = [int(one[2]) for line in family.first.lines[mark:] if (one := FROZEN.search(line))]
    if frozen:
        what = f"{len(frozen)} slices, frozen {max(frozen)} ms at most, limit {options.freeze_ms}"
        report.check(max(frozen) <= options.freeze_ms, what)


def _census(wanted: list[Any]) -> str:
    counts = {kind: sum(part.kind is kind for part in wanted) for kind in Kind}
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    tls = sum(part.tls for part in wanted)
    return f"{text}; {tls} of them by RTMPS" if tls else text


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/succession", description=__doc__)
    add = parser.add_argument
    add("--publishers", type=int, default=50)
    add("--players", type=int, default=500, help="of all kinds, all channels together (500)")
    add("--mbit", type=float, default=0.5, help="bitrate of each stream (0.5)")
    add("--fps", type=float, default=12.5, help="video messages a second; there are 10 of audio (12.5)")
    add("--successions", type=int, default=3)
    add("--workers", type=int, default=1, help="WORKERS; above 1 its manager gets SIGHUP, or --signal (1)")
    add("--tls-every", type=int, default=0, metavar="N", help="let every Nth player use RTMPS (0: nobody)")
    add(
        "--no-tls-later", action="store_true", help="nobody who begins to play after the last succession does"
    )
    add("--signal", choices=SIGNALS, help="KILL ends the server instead: to see that losses are seen")
    add("--churn", type=float, metavar="MINUTES", help="instead: publishers come and go, workers are killed")
    add("--kill-every", type=float, default=20, metavar="SECONDS", help="with --churn: a worker (20)")
    add("--fail", metavar="PLAN", help="let each succession fail so: see tests/failing/sitecustomize.py")
    add("--pause-ms", type=float, help="longest pause of a player that reads at once (500; 2500 with --fail)")
    add("--freeze-ms", type=float, default=150, help="longest time that a slice may be frozen (150)")
    add(
        "--env", type=_pair, action="append", default=[], metavar="NAME=VALUE", help="a setting of the server"
    )
    add("--patience", type=float, default=10, metavar="SECONDS", help="to wait for a quiet machine (10)")
    add("--log", metavar="FILE", help="write the server's log there")
    options = parser.parse_args(arguments)
    options.pause_ms = options.pause_ms or (2500 if options.fail else 500)
    options.signal = options.signal or ("HUP" if options.workers > 1 else "USR2")
    return options


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value
