"""What the page shows of the server, as plain values; and what differs between two of these. Pure.

Channels are pairs of name and fields, never keys of an object: a channel may be called `__proto__`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile
from typing import Any

from rtmpsrv.monitor.values import (
    ChannelValue,
    ConnectionValue,
    EventValue,
    ProcessValue,
    TrackValue,
    VitalsValue,
)

from .counting import those_that_count
from .verdict import Verdict

CHART_S = 60  # what VitalsValue.bitrates spans
RATES_OVER_S = 5.0
BLOCK_HAZE_S = 1.0
EVENTS = 200  # of each kind
KINDS = {"unpublish": "publish", "kicked": "publish", "stop": "play"}
TIMES = "\N{MULTIPLICATION SIGN}"
CODECS = {"MPEG-4 Audio": "AAC", "MPEG-1/2 Audio": "MP3", "MPEG-4 Audio LATM": "AAC"}  # as people say

Row = dict[str, Any]


def track_words(track: TrackValue) -> str:
    """Return a track in a few words: what it is, not how it does just now."""
    words = [CODECS.get(track["codec"], track["codec"])]
    if track["width"] and track["height"]:
        words.append(f"{track['width']}{TIMES}{track['height']}")
    fps = track["declared_fps"] or track["fps"]
    if fps:
        words.append(f"{fps:.0f} fps")
    if track["sample_rate"]:
        words.append(f"{track['sample_rate'] / 1000:g} kHz")
    if track["channels"]:
        words.append({1: "mono", 2: "stereo"}.get(track["channels"], f"{track['channels']} ch"))
    return " ".join(words)


def _spoken(track: TrackValue) -> Row:
    return {**track, "codec": CODECS.get(track["codec"], track["codec"])}


def _chart(vitals: VitalsValue) -> list[int]:
    """Return a chart that begins with the stream, not with the seconds before it."""
    rates = vitals["bitrates"]
    if vitals["age_s"] >= CHART_S:
        return list(rates)
    return list(dropwhile(lambda rate: rate == 0, rates))


def channel_row(channel: ChannelValue, verdict: Verdict) -> Row:
    """Return a channel as the table has it."""
    vitals = channel["vitals"]
    return {
        "worker": channel["worker"],
        "live": channel["live"],
        "suspended": channel["suspended"],
        "waits": channel["waits_until_at"],
        "started": channel["started_at"],
        "publisher": channel["publisher"],
        "kind": channel["publisher_kind"],
        "players": channel["players"],
        "records": channel["recording"] is not None and channel["recording"]["running"],
        "bitrate": vitals["bitrate_10s"] if vitals else 0,
        "chart": _chart(vitals) if vitals else [],
        "tracks": [track_words(track) for track in vitals["tracks"]] if vitals else [],
        "verdict": verdict.state,
        "sentence": verdict.sentence,
    }


def server_row(processes: Iterable[ProcessValue], layout: str) -> Row:
    """Return what the head of the page tells of all processes together."""
    processes = list(processes)
    listeners = [listener for process in processes for listener in process["listeners"]]
    ours = [listener for listener in listeners if listener["protocol"] == "rtmp"]
    plain = sorted({listener["port"] for listener in ours if not listener["secure"]})
    secure = sorted({listener["port"] for listener in ours if listener["secure"]})
    return {
        "version": processes[0]["version"] if processes else "",
        "compiled": all(process["compiled"] for process in processes),
        "processes": len(processes),
        "started": min((process["started_at"] for process in processes), default=None),
        "not_ready": sorted({why for process in those_that_count(processes) for why in process["not_ready"]}),
        "ports": plain,
        "secure_ports": secure,
        "layout": layout,
    }


def event_row(event: EventValue) -> Row:
    """Return an end or a refusal as the list has it."""
    return {
        "serial": event["serial"],
        "worker": event["worker"],
        "at": event["at"],
        "what": event["what"],
        "address": event["remote_ip"],
        "channel": event["channel"],
        "reason": event["reason"],
        "seconds": event["seconds"],
        "received": event["received_bytes"],
        "sent": event["sent_bytes"],
    }


def connection_row(connection: ConnectionValue) -> Row:
    """Return a connection as one channel's view has it; without what only players have for a publisher."""
    row: Row = {
        "id": connection["id"],
        "number": connection["number"],
        "kind": connection["kind"],
        "form": connection["form"],
        "worker": connection["worker"],
        "address": connection["remote_ip"],
        "agent": connection["user_agent"],
        "user": connection["user"],
        "page": connection["page_url"],
        "since": connection["created_at"],
        "received": connection["received_bytes"],
        "sent": connection["sent_bytes"],
        "dropped": connection["frames_dropped"],
    }
    player = connection["player"]
    if player is not None:
        row |= {
            "waiting": player["waiting"],
            "paused": player["paused"],
            "audio": player["audio"],
            "video": player["video"],
            "behind": player["behind_bytes"],
            "lag": player["lag_s"],
            "skips": player["jumps"],
        }
    return row


def detail_row(channel: ChannelValue, verdict: Verdict) -> Row:
    """Return what only the view of one channel shows of it."""
    vitals = channel["vitals"]
    return {
        "received": channel["received_bytes"],
        "sent": channel["sent_bytes"],
        "cache": channel["cache_bytes"],
        "dropped": channel["frames_dropped"],
        "waiting": channel["waiting"],
        "limit": channel["max_bitrate"],
        "recording": channel["recording"],
        "vitals": vitals and {**vitals, "tracks": [_spoken(track) for track in vitals["tracks"]]},
        "findings": [
            {"rule": one.rule, "severity": one.severity, "sentence": one.sentence} for one in verdict.findings
        ],
    }


def grown(old: Sequence[int], new: Sequence[int]) -> list[int] | None:
    """Return what `new` has more than `old` where it is `old` moved on; None where it is another chart."""
    most = len(new) if len(new) < CHART_S else CHART_S
    for moved in range(most):
        kept = new[: len(new) - moved]
        if kept and list(old[-len(kept) :]) == list(kept) and (len(new) == CHART_S or len(kept) == len(old)):
            return list(new[len(kept) :])
    return None


def changed(old: Row, new: Row) -> Row:
    """Return the fields of `new` that `old` has otherwise. A chart that moved on is `more` of it."""
    differing = {name: value for name, value in new.items() if old.get(name) != value}
    if "chart" in differing:
        more = grown(old.get("chart", []), new["chart"])
        if more is not None:
            del differing["chart"]
            differing["more"] = more
    return differing


def changes(old: Mapping[str, Row], new: Mapping[str, Row]) -> Row:
    """Return what channels came and changed, as pairs, and which have gone; nothing of what stayed."""
    message: Row = {}
    pairs = []
    for name, row in new.items():
        before = old.get(name)
        if before is None:
            pairs.append([name, row])
        elif before != row:
            pairs.append([name, changed(before, row)])
    if pairs:
        message["channels"] = pairs
    gone = [name for name in old if name not in new]
    if gone:
        message["gone"] = gone
    return message


def same_blocks(old: Sequence[tuple[str, float]], new: Sequence[tuple[str, float]]) -> bool:
    """Tell whether the same channels are blocked until the same time, which is told with some haze."""
    return len(old) == len(new) and all(
        one == other and abs(until - then) < BLOCK_HAZE_S
        for (one, until), (other, then) in zip(old, new, strict=True)
    )


class Lately:
    """What happened last, of each kind: many players that come and go push out no end of a publisher."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[Row]] = {}

    def add(self, rows: Iterable[Row]) -> None:
        """Keep these events, the oldest first."""
        for row in rows:
            what = str(row["what"])
            kind = KINDS.get(what, what)
            self._kept.setdefault(kind, deque(maxlen=EVENTS)).append(row)

    def all(self) -> list[Row]:
        """Return what is kept, the oldest first."""
        return sorted((row for kept in self._kept.values() for row in kept), key=lambda row: float(row["at"]))


class Rates:
    """Bits per second of all traffic, from counters that only grow until a process is replaced."""

    def __init__(self) -> None:
        self._noted: deque[tuple[float, int, int]] = deque()

    def note(self, now: float, received_bytes: int, sent_bytes: int) -> tuple[int, int] | tuple[None, None]:
        """Return the rates in and out over the last seconds; None, which is not known, of one look alone."""
        noted = self._noted
        if noted and (received_bytes < noted[-1][1] or sent_bytes < noted[-1][2]):
            noted.clear()  # a process went, with what it had counted
        noted.append((now, received_bytes, sent_bytes))
        while len(noted) > 2 and noted[1][0] <= now - RATES_OVER_S:
            noted.popleft()
        then, received_before, sent_before = noted[0]
        if now <= then:
            return None, None
        span_s = now - then
        return (
            round((received_bytes - received_before) * 8 / span_s),
            round((sent_bytes - sent_before) * 8 / span_s),
        )
