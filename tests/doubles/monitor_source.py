"""A `Source` of the web process without any server behind it: values of every kind, and crowds of them.

`FakeSource()` is a small house in which everything occurs; `crowd(500, 10)` is one of 500 channels with 10
players each. All is the same each time. What is asked to be done is noted, and done to the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gevent.event import Event

from rtmpsrv.monitor.values import (
    ChannelValue,
    ConnectionValue,
    EventValue,
    FileValue,
    Kind,
    ProcessValue,
)
from rtmpsrv.web.source import Gathered, Happened, Listed
from tests.doubles.monitor_values import (
    NOW,
    audio,
    connection,
    event,
    file_of,
    on_air,
    player,
    process,
    recording,
    video,
    vitals,
    waited_for,
)

HTML_NAME: Final = "<img src=x onerror=alert(1)>"
MANY_NAMES: Final = (
    *("live/good", "live/bad", "live/suspended", "live/waited-for", "live/starting", "live/sound-only"),
    *(HTML_NAME, "with blanks and %2F", "a/b", "a/b/c", "日本語/канал ü", "'\"`;--", "list", "?x=1&y=2#z"),
)
SEVERAL_TRACKS: Final = "live/good"
HELD_S: Final = 30.0
ENDS: Final = frozenset({"unpublish", "kicked", "refused"})


class FakeSource:
    """A `Source`. Change `values_of_*` and `missing` as a test needs; `done` notes what was asked."""

    def __init__(
        self,
        channels: Sequence[ChannelValue] | None = None,
        connections: Sequence[ConnectionValue] | None = None,
        events: Sequence[EventValue] | None = None,
        processes: Sequence[ProcessValue] | None = None,
    ) -> None:
        house = _house()
        self.values_of_channels = list(house[0] if channels is None else channels)
        self.values_of_connections = list(house[1] if connections is None else connections)
        self.values_of_events = list(_events(house[1]) if events is None else events)
        self.values_of_processes = [process()] if processes is None else list(processes)
        self.values_of_files: list[FileValue] = [file_of(SEVERAL_TRACKS), file_of(HTML_NAME)]
        self.trouble_of_files = ""
        self.values_of_blocks: list[tuple[str, float]] = []
        self.missing: list[str] = []
        self.held = Event()  # clear it, and who asks for processes waits
        self.held.set()
        self.asked: list[str] = []  # the names of questions
        self.done: list[tuple[str, str, float | None, str]] = []  # what, id or name, block_s, reason

    @property
    def answered(self) -> list[str]:
        return [one["worker"] for one in self.values_of_processes if one["worker"] not in self.missing]

    def processes(self) -> Gathered[ProcessValue]:
        self.asked.append("processes")
        self.held.wait(HELD_S)
        here = [one for one in self.values_of_processes if one["worker"] not in self.missing]
        return Gathered(here, list(self.missing), self.answered)

    def names(self) -> Gathered[str]:
        self.asked.append("names")
        found = {one["name"] for one in self.values_of_channels if one["worker"] not in self.missing}
        return Gathered(sorted(found), list(self.missing), self.answered)

    def channels(self, names: Sequence[str] | None = None) -> Gathered[ChannelValue]:
        self.asked.append("channels")
        found = [
            one
            for one in self.values_of_channels
            if one["worker"] not in self.missing and (names is None or one["name"] in names)
        ]
        found.sort(key=lambda one: one["name"])
        return Gathered(found, list(self.missing), self.answered)

    def ids(self) -> Gathered[tuple[str, Kind]]:
        self.asked.append("ids")
        here = [one for one in self.values_of_connections if one["worker"] not in self.missing]
        here.sort(key=lambda one: one["number"])
        return Gathered([(one["id"], one["kind"]) for one in here], list(self.missing), self.answered)

    def connections(self, ids: Sequence[str] | None = None) -> Gathered[ConnectionValue]:
        self.asked.append("connections")
        found = [
            one
            for one in self.values_of_connections
            if one["worker"] not in self.missing and (ids is None or one["id"] in ids)
        ]
        found.sort(key=lambda one: (one["created_at"], one["number"]))
        return Gathered(found, list(self.missing), self.answered)

    def events(self, after: Mapping[str, int], channel: str | None = None) -> Happened:
        self.asked.append("events")
        told = [one for one in self.values_of_events if one["worker"] not in self.missing]
        last = dict.fromkeys(self.answered, 0)
        for one in told:
            last[one["worker"]] = max(last.get(one["worker"], 0), one["serial"])
        if channel is not None:
            new = [one for one in told if one["channel"] == channel and one["what"] in ENDS][-10:]
        else:
            new = [one for one in told if one["serial"] > after.get(one["worker"], 0)]
        return Happened(new, list(self.missing), self.answered, last)

    def kick(self, connection: str, block_s: float, reason: str) -> Gathered[bool | None]:
        self.done.append(("kick", connection, block_s, reason))
        here = any(one["id"] == connection for one in self.values_of_connections)
        self.values_of_connections = [one for one in self.values_of_connections if one["id"] != connection]
        return self._did(here)

    def stop(self, channel: str, block_s: float | None, reason: str) -> Gathered[bool | None]:
        self.done.append(("stop", channel, block_s, reason))
        here = any(
            one["name"] == channel and (one["live"] or one["suspended"]) for one in self.values_of_channels
        )
        for index, one in enumerate(self.values_of_channels):
            if one["name"] == channel:
                self.values_of_channels[index] = waited_for(channel, worker=one["worker"])
        return self._did(here)

    def record(self, channel: str, wanted: bool, form: str) -> Gathered[bool]:
        self.done.append(("record" if wanted else "record no more", channel, None, form))
        found = [one for one in self.values_of_channels if one["name"] == channel]
        here = any(one["live"] if wanted else one["recording"] is not None for one in found)
        for one in found:
            one["recording"] = recording(file=f"{channel}/now.mp4") if wanted and one["live"] else None
        told = self._did(here)
        return Gathered([bool(one) for one in told.values], told.missing, told.answered)

    def blocks(self) -> Gathered[tuple[str, float]]:
        self.asked.append("blocks")
        return Gathered(list(self.values_of_blocks), list(self.missing), self.answered)

    def files(self, channel: str) -> Listed:
        self.asked.append("files")
        found = [one for one in self.values_of_files if channel in ("", one["channel"])]
        return Listed(found, list(self.missing), self.answered, self.trouble_of_files)

    def _did(self, here: bool) -> Gathered[bool | None]:
        return Gathered([here, *[False] * (len(self.answered) - 1)], list(self.missing), self.answered)


def crowd(channels: int, players: int, workers: Sequence[str] = ("",)) -> FakeSource:
    """Make a source of so many channels on the air, each with so many players, spread over workers."""
    values: list[ChannelValue] = []
    connections: list[ConnectionValue] = []
    for index in range(channels):
        worker = workers[index % len(workers)]
        name = f"live/channel-{index:04}"
        value, theirs = _on_air(name, players, worker)
        values.append(value)
        connections += theirs
    return FakeSource(values, connections, [], [process(worker) for worker in workers])


def _on_air(
    name: str, players: int, worker: str = "", kind: Kind = "rtmpConn", **changes: object
) -> tuple[ChannelValue, list[ConnectionValue]]:
    publisher = connection(f"publisher {name}", "publish", name, worker=worker, kind=kind)
    theirs = [
        connection(
            f"player {index} of {name}",
            "read",
            name,
            worker=worker,
            number=index + 2,
            kind="rtmpsConn" if index % 4 == 3 else "rtmpConn",
            remote_ip=f"198.51.100.{index % 250 + 1}",
        )
        for index in range(players)
    ]
    value = on_air(
        name,
        worker=worker,
        publisher=publisher["id"],
        publisher_kind=kind,
        players=players,
        readers=[(one["id"], one["kind"]) for one in theirs],
        sent_bytes=330_000_000 * players,
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value, [publisher, *theirs]


def _house() -> tuple[list[ChannelValue], list[ConnectionValue]]:
    several = vitals(tracks=[video(), video(track=1, codec="H265", profile="Main"), audio()])
    bad = vitals(
        gops_s=[12.0, 12.1, 11.9],
        keyframe_age_s=8.0,
        media_rate=0.8,
        bitrate_10s=900_000,
        av_offset_s=-1.4,
        jumps=5,
        jumps_10min=4,
        last_jump_s=-12.0,
        stalls=3,
        tracks=[video(fps=17.0), audio(frames=0, received_bytes=0, bitrate_10s=0, bitrate_60s=0)],
    )
    starting = vitals(
        age_s=1.0,
        gops_s=[],
        keyframes=1,
        media_rate=None,
        av_offset_s=None,
        jitter_s=None,
        bitrates=[1_000_000],
        tracks=[video(fps=None, width=None, height=None, profile="", level="", configured=False)],
    )
    sound = vitals(tracks=[audio(codec="Opus", profile="")], keyframes=0, gops_s=[], keyframe_age_s=None)
    made = [
        _on_air(SEVERAL_TRACKS, 5, vitals=several),
        _on_air("live/bad", 2, kind="rtmpsConn", vitals=bad, frames_dropped=17, max_bitrate=6_000_000),
        (waited_for("live/suspended", suspended=True, waits_until_at=NOW + 3000.0, publication=3), []),
        (waited_for("live/waited-for"), []),
        _on_air("live/starting", 0, vitals=starting, started_at=NOW - 1.0),
        _on_air("live/sound-only", 1, vitals=sound),
        *(_on_air(name, 1) for name in MANY_NAMES[6:]),
    ]
    channels = [value for value, _ in made]
    connections = [one for _, theirs in made for one in theirs]
    for name in ("live/suspended", "live/waited-for"):
        waits = connection(f"waits for {name}", "read", name, player=player(waiting=True), number=90)
        connections.append(waits)
        held = next(one for one in channels if one["name"] == name)
        held.update({"players": 1, "waiting": 1, "readers": [(waits["id"], waits["kind"])]})
    slow = next(one for one in connections if one["channel"] == "live/bad" and one["state"] == "read")
    slow["player"] = player(behind_bytes=3_000_000, lag_s=5.3, skipped_messages=410, jumps=4)
    slow["frames_dropped"] = 410
    connections.append(connection("idle", number=91, user="viewer", page_url="https://example.org/watch"))
    connections.append(connection("idle over TLS", number=92, kind="rtmpsConn", app=HTML_NAME))
    connections += _over_http()
    return channels, connections


def _over_http() -> list[ConnectionValue]:
    """Make connections of every kind that watch nothing now, and two viewers by HLS, who are none."""
    kinds: tuple[tuple[str, Kind], ...] = (("HTTP", "httpConn"), ("HTTPS", "httpsConn"))
    pages = [
        connection(f"{what} over {name}", kind=kind, form="http", app="", user_agent="Mozilla/5.0")
        for name, kind in kinds
        for what in ("page", "idle")
    ]
    viewers = [
        connection(f"by HLS {number}", "read", SEVERAL_TRACKS, kind="hlsSession", form="hls", player=None)
        for number in (1, 2)
    ]
    for number, one in enumerate([*pages, *viewers], 93):
        one["number"] = number
    return [*pages, *viewers]


def _events(connections: Sequence[ConnectionValue]) -> list[EventValue]:
    publishes = {"remote_ip": "2001:db8::7", "connection": connections[0]["id"]}
    return [
        event(1, "publish", channel="live/good", **publishes),
        event(2, "play", connection=connections[1]["id"]),
        event(3, "stop", reason="the player left", seconds=12.5, sent_bytes=7_000_000),
        event(4, "refused", connection="", channel="live/secret", reason="the callback refused it"),
        event(5, "kicked", channel=HTML_NAME, reason="by the API: <b>enough</b>", seconds=60.0),
        event(6, "unpublish", kind="rtmpsConn", reason="peer closed the connection", seconds=3599.5),
    ]
