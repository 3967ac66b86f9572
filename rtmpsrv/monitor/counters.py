"""What a process counts since it began: connections, requests, bytes, and how late its event loop is.

Told by listeners, sessions and the sender of callbacks, once for each thing that happens; never per message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rtmpsrv.access.limits import is_per_address
from rtmpsrv.server import tally
from rtmpsrv.server.tally import Asking, Doing

from .values import Counted, Counters
from .values import Histogram as HistogramValue

ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"
LIMIT_ADDRESS, LIMIT_TOTAL, IP_RULES, CONNECT = "limit_address", "limit_total", "ip_rules", "connect"
RTMP, OTHER = "rtmp", "http"
FORMS: Final = ("", "flv", "ws-flv", "mp4", "ws-mp4", "hls", "jpg", OTHER)  # of clients; "": RTMP
KINDS: Final = frozenset(("flv", "mp4", "jpg", "hls", "page", "list", "static"))  # of requests of viewers
FAILURES: Final = ("disk_full", "disk_slow", "disk_error", "media", "internal")  # of recordings
PLAY_RULES: Final = "RTMP_PLAY_WHITELIST"  # the setting that a refusal by address names
LAG_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CALLBACK_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class Histogram:
    """Values by size."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # the last is for what is above all bounds
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def value(self) -> HistogramValue:
        """Return it with counts that include those of smaller bounds."""
        total, counts = 0, []
        for count in self._counts:
            total += count
            counts.append(total)
        return {"bounds": list(self._bounds), "counts": counts[:-1], "sum": self._sum, "count": total}


@dataclass(frozen=True, slots=True)
class Here:
    """What is not counted here: bytes of connections that are there now, and what others count."""

    received_bytes: int = 0
    sent_bytes: Mapping[str, int] = field(default_factory=dict)  # by the forms of clients
    hls_bytes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    ffmpeg_ends: int = 0
    recorded_files: int = 0
    recorded_bytes: int = 0
    recordings_failed: Mapping[str, int] = field(default_factory=dict)


NOTHING: Final = Here()


class Tallies:
    """The numbers. All reasons are there from the start, so that a rate is seen with the first of each."""

    def __init__(self) -> None:
        self.connections_accepted = 0
        self.rejected = dict.fromkeys((LIMIT_ADDRESS, LIMIT_TOTAL, IP_RULES, CONNECT), 0)
        self.handshakes = dict.fromkeys(
            (tally.TLS, tally.PROXY, tally.TIMEOUT, tally.VERSION, tally.CLOSED), 0
        )
        self.requests: dict[str, dict[str, int]] = {
            what: dict.fromkeys((ACCEPTED, REFUSED, FAILED), 0) for what in ("publish", "play")
        }
        self.received_bytes = 0  # by connections that are over
        self.sent_bytes = dict.fromkeys(FORMS, 0)
        self.hls_bytes = 0  # in answers to viewers that have left; by connections that are others
        self.stalled = 0
        self._answers: dict[tuple[str, int], int] = {}
        self._callbacks: dict[tuple[str, str], int] = {}
        self._callback_s = Histogram(CALLBACK_BOUNDS_S)
        self.lag_s = Histogram(LAG_BOUNDS_S)

    def reject(self, why: str) -> None:
        """Count a connection that was not let in."""
        self.rejected[LIMIT_ADDRESS if is_per_address(why) else LIMIT_TOTAL] += 1

    def refuse(self, what: Asking, variable: str) -> None:
        """Count a refusal, for which an operator would look at `variable`."""
        if what == "connect":
            self.rejected[CONNECT] += 1
            return
        self.requests[what][REFUSED] += 1
        if variable == PLAY_RULES:
            self.rejected[IP_RULES] += 1

    def count(self, what: Doing, result: str) -> None:
        """Count a request to publish or to play."""
        self.requests[what][result] += 1

    def left(self, received_bytes: int, sent_bytes: int, stalled: bool, form: str) -> None:
        """Count what a connection had, that is over."""
        self.received_bytes += received_bytes
        self.sent_bytes[form] += sent_bytes
        self.stalled += stalled

    def answer(self, kind: str, status: int) -> None:
        """Count an answer by HTTP."""
        what = kind if kind in KINDS else "none", status
        self._answers[what] = self._answers.get(what, 0) + 1

    def posted(self, kind: str, result: str, seconds: float) -> None:
        """Count one request to the callback."""
        self._callbacks[kind, result] = self._callbacks.get((kind, result), 0) + 1
        self._callback_s.add(seconds)

    def value(self, here: Here = NOTHING) -> Counters:
        """Return all, with what others have counted."""
        callbacks: list[Counted] = [
            {"what": kind, "result": result, "count": count}
            for (kind, result), count in sorted(self._callbacks.items())
        ]
        answers: list[Counted] = [
            {"what": kind, "result": str(status), "count": count}
            for (kind, status), count in sorted(self._answers.items())
        ]
        sent = {form or RTMP: self.sent_bytes[form] + here.sent_bytes.get(form, 0) for form in FORMS}
        return {
            "connections_accepted": self.connections_accepted,
            "connections_rejected": dict(self.rejected),
            "handshake_failures": dict(self.handshakes),
            "publishes": dict(self.requests["publish"]),
            "plays": dict(self.requests["play"]),
            "received_bytes": self.received_bytes + here.received_bytes,
            "sent_bytes": sum(sent.values()),
            "sent_bytes_by_form": _with_hls(sent, self.hls_bytes + here.hls_bytes),
            "viewer_requests": answers,
            "ffmpeg_ends": here.ffmpeg_ends,
            "recorded_files": here.recorded_files,
            "recorded_bytes": here.recorded_bytes,
            "recordings_failed": {**dict.fromkeys(FAILURES, 0), **here.recordings_failed},
            "frames_dropped": dict(here.dropped),
            "slow_players_disconnected": self.stalled,
            "callback_requests": callbacks,
            "callback_duration_s": self._callback_s.value(),
            "event_loop_lag_s": self.lag_s.value(),
        }


def _with_hls(sent: dict[str, int], hls_bytes: int) -> dict[str, int]:
    """Tell the answers of HLS from all others of the connections that they went by."""
    return {**sent, "hls": hls_bytes, OTHER: max(0, sent[OTHER] - hls_bytes)}
