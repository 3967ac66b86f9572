"""Waiting until nothing else runs on the machine, before a server is started."""

from __future__ import annotations

import time
from collections.abc import Collection

from benchlib import procstat

LOOK_S = 1.0
QUIET_PERCENT = 5.0  # of one core


def wait_for_quiet(patience_s: float, cpus: Collection[int]) -> float:
    """Wait until these CPUs are idle, or `patience_s` is over; gives what it did last, in % of one core."""
    give_up_at = time.monotonic() + patience_s
    while True:
        started, before = time.monotonic(), procstat.busy_seconds(cpus)
        time.sleep(LOOK_S)
        busy = (procstat.busy_seconds(cpus) - before) / (time.monotonic() - started) * 100
        if busy <= QUIET_PERCENT or time.monotonic() >= give_up_at:
            return busy
