"""Sums of what processes have counted that never fall, though processes come, fall silent and end. Pure.

A sum that falls is a restart to Prometheus: it would take all that the others have counted for new. So what a
process said last stays in the sum when it does not answer, and for good when another took its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rtmpsrv.monitor.values import Counted, Counters, Histogram, ProcessValue

MAX_NAMES: Final = 256  # processes remembered one by one; of more, the longest silent are only a sum


class Totals:
    """What all processes have counted since this was made, and before. Never blocks."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[tuple[int, float], Counters]] = {}  # by name, the longest silent first
        self._gone: Counters | None = None

    def take(self, processes: Iterable[ProcessValue]) -> Counters | None:
        """Take what these say now and return the sum; None as long as nobody has said anything."""
        for one in processes:
            identity = one["pid"], one["started_at"]
            before = self._last.pop(one["worker"], None)
            counters = one["counters"]
            if before is not None and before[0] == identity:
                counters = _not_below(before[1], counters)
            elif before is not None:
                self._forget(before[1])
            self._last[one["worker"]] = identity, counters
        while len(self._last) > MAX_NAMES:
            self._forget(self._last.pop(next(iter(self._last)))[1])
        total = self._gone
        for _, counters in self._last.values():
            total = counters if total is None else plus(total, counters)
        return total

    def _forget(self, counters: Counters) -> None:
        self._gone = counters if self._gone is None else plus(self._gone, counters)


def plus(one: Counters, other: Counters) -> Counters:
    """Return the sum of two."""
    return Counters(
        connections_accepted=one["connections_accepted"] + other["connections_accepted"],
        connections_rejected=_by_name(one["connections_rejected"], other["connections_rejected"]),
        handshake_failures=_by_name(one["handshake_failures"], other["handshake_failures"]),
        publishes=_by_name(one["publishes"], other["publishes"]),
        plays=_by_name(one["plays"], other["plays"]),
        received_bytes=one["received_bytes"] + other["received_bytes"],
        sent_bytes=one["sent_bytes"] + other["sent_bytes"],
        sent_bytes_by_form=_by_name(one["sent_bytes_by_form"], other["sent_bytes_by_form"]),
        viewer_requests=_requests(one["viewer_requests"], other["viewer_requests"]),
        ffmpeg_ends=one["ffmpeg_ends"] + other["ffmpeg_ends"],
        recorded_files=one["recorded_files"] + other["recorded_files"],
        recorded_bytes=one["recorded_bytes"] + other["recorded_bytes"],
        recordings_failed=_by_name(one["recordings_failed"], other["recordings_failed"]),
        frames_dropped=_by_name(one["frames_dropped"], other["frames_dropped"]),
        slow_players_disconnected=one["slow_players_disconnected"] + other["slow_players_disconnected"],
        callback_requests=_requests(one["callback_requests"], other["callback_requests"]),
        callback_duration_s=_histogram(one["callback_duration_s"], other["callback_duration_s"]),
        event_loop_lag_s=_histogram(one["event_loop_lag_s"], other["event_loop_lag_s"]),
    )


def _not_below(before: Counters, now: Counters) -> Counters:
    """Return what a process says now, its bytes not below what it said before.

    They are added up over connections while those come and go, so one may have been counted once too often.
    """
    received, sent = (max(before[name], now[name]) for name in ("received_bytes", "sent_bytes"))
    old, new = before["sent_bytes_by_form"], now["sent_bytes_by_form"]
    forms = {form: max(old.get(form, 0), count) for form, count in new.items()}
    return Counters(**{**now, "received_bytes": received, "sent_bytes": sent, "sent_bytes_by_form": forms})


def _by_name(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _requests(one: list[Counted], other: list[Counted]) -> list[Counted]:
    counts: dict[tuple[str, str], int] = {}
    for value in (*one, *other):
        what = value["what"], value["result"]
        counts[what] = counts.get(what, 0) + value["count"]
    return [Counted(what=what, result=result, count=count) for (what, result), count in counts.items()]


def _histogram(one: Histogram, other: Histogram) -> Histogram:
    """Add; where the bounds differ, as between versions, the second's count for its sum and number only."""
    counts = one["counts"]
    if one["bounds"] == other["bounds"]:
        counts = [mine + theirs for mine, theirs in zip(counts, other["counts"], strict=True)]
    return Histogram(
        bounds=one["bounds"],
        counts=counts,
        sum=one["sum"] + other["sum"],
        count=one["count"] + other["count"],
    )
