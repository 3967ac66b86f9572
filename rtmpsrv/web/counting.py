"""Whose readiness is that of the server: that of all its processes, but those that have a successor. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rtmpsrv.monitor.values import ProcessValue

KEEPER: Final = "keeper"  # the name of the process that decides for all workers and serves nobody itself


def those_that_count(processes: Iterable[ProcessValue]) -> list[ProcessValue]:
    """Leave out those in whose place others serve, if a worker is ready that is none of them.

    They may be there for an hour, for clients that cannot move, and each of their successors is asked itself.
    """
    processes = list(processes)
    # An older program, which such a process may well be, does not say it.
    others = [one for one in processes if not one.get("succeeded", False)]
    return others if any(one["ready"] and one["worker"] != KEEPER for one in others) else processes
