#!/usr/bin/env python3
"""Measure how the watch page plays: how soon, how late, and how often it stands still.

    scripts/measure_watch.py [--seconds 30] [--runs 3] [--codec h264] [--audio aac] [--hls]

A clock is published in pictures (`tests/clock_publisher.py`) to a server of its own. Debian's Chromium opens
the page and reads it back from each picture shown: late is from before the encoder to the screen. Exits 1
where a run misses what docs/watch.md promises. Other programs spoil it: a decoder that waits for a processor
is late.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import NamedTuple

from own_python import PROJECT, use_venv

use_venv()

from tests.browser import Browser
from tests.server_process import ServerProcess, environment, free_port
from tests.watched_clock import opened_at, percentile, shown, stalls, watch

START_MS = 1500.0
LATE_MS = 400.0
KEY = "clock"


class Run(NamedTuple):
    """What one run has shown."""

    start_ms: float
    late_ms: list[float]
    stalls: int

    @property
    def is_good(self) -> bool:
        """Whether nothing is missed."""
        return self.start_ms < START_MS and percentile(self.late_ms, 0.95) < LATE_MS and not self.stalls

    def __str__(self) -> str:
        """Return it as a line."""
        p50, p95, most = (percentile(self.late_ms, part) for part in (0.5, 0.95, 1.0))
        return (
            f"first picture after {self.start_ms:.0f} ms; {len(self.late_ms)} pictures, late by"
            f" {p50:.0f} ms (median), {p95:.0f} ms (p95), {most:.0f} ms (most); {self.stalls} stalls"
        )


def main() -> int:
    """Start all, measure, print."""
    parser = argparse.ArgumentParser(description="Measure how the watch page plays.")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run, from the first picture on")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--codec", choices=["h264", "av1", "vp9"], default="h264")
    parser.add_argument("--audio", choices=["aac", "opus", "flac", "none"], default="aac")
    parser.add_argument("--hls", action="store_true", help="the browser's own HLS, to which no bound applies")
    given = parser.parse_args()
    port = free_port()
    good = True
    with ServerProcess(HTTP_PORT=str(port), PLAY_ACCESS="open") as server, Browser() as browser:
        browser.expected = ["Failed to load resource"]  # a playlist that is not there yet
        url = f"rtmp://127.0.0.1:{server.port}/clock/{KEY}"
        publisher = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.clock_publisher",
                url,
                "--codec",
                given.codec,
                "--audio",
                given.audio,
            ],
            stdin=subprocess.PIPE,
            cwd=PROJECT,
            env=environment({}),
        )
        assert publisher.stdin is not None
        try:
            server.wait_for_line("publish accepted", timeout_s=20.0)
            for number in range(given.runs):
                run = measured(browser, f"http://127.0.0.1:{port}/clock" + "?hls" * given.hls, given.seconds)
                good = good and (given.hls or run.is_good)
                print(f"run {number + 1}: {run}", flush=True)
        finally:
            publisher.stdin.close()
            publisher.wait(20)
        browser.driver.get("about:blank")
    if not given.hls:
        print(f"{'met' if good else 'MISSED'}: within {START_MS:.0f} ms, p95 {LATE_MS:.0f} ms, no stall")
    return 0 if good else 1


def measured(browser: Browser, page: str, seconds: float) -> Run:
    """Open the page and look for so long. Blocks."""
    browser.driver.get("about:blank")
    browser.driver.get(page)
    watch(browser)
    browser.until(lambda: browser.run("return window.shown.length > 0"), 60.0)
    first = shown(browser)[0]
    before = stalls(browser)
    until_ms = first.at + seconds * 1000
    browser.until(
        lambda: browser.run("return performance.timeOrigin + performance.now() > arguments[0]", until_ms),
        seconds + 60.0,
    )
    late = [one.late_ms for one in shown(browser)]
    return Run(first.at - opened_at(browser), late, stalls(browser) - before)


if __name__ == "__main__":
    sys.exit(main())
