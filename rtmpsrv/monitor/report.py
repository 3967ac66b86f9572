"""What a process that serves tells of itself: its numbers, channels and connections, as plain values.

Changes nothing. Where there are many it gives way to the streams, so what it returns was never there as a
whole at one moment.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any, Final, TypedDict, TypeVar, cast

from rtmpsrv import __version__
from rtmpsrv.build import compiled
from rtmpsrv.live import facts
from rtmpsrv.live.channel import Channel
from rtmpsrv.live.player import Player
from rtmpsrv.live.registry import Registry
from rtmpsrv.on_air import OnAir
from rtmpsrv.relayed import RelayPlayback, RelayPublication
from rtmpsrv.server.host import Client
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.served import Served
from rtmpsrv.server.turns import Turns
from rtmpsrv.watching import Viewing

from .counters import Here
from .observer import Observer, form_of, kind_of
from .recorded import Recordings, file_value, recording
from .texts import bare_url, clean, secrets_of, without
from .values import (
    ChannelValue,
    ConnectionValue,
    FileValue,
    Kind,
    ListenerValue,
    PlayerValue,
    ProcessValue,
    State,
    VitalsValue,
)
from .viewed import Made, Viewers

TURN_S: Final = 0.002  # of work at one go
LOOK_EVERY: Final = 4  # players or channels, between two looks at the time: each takes up to 100 us
CROWD: Final = 1000
STILL: Final = "jpg"  # the form of who is no reader
Item = TypeVar("Item")


class Standing(TypedDict):
    """What the application knows of itself."""

    not_ready: list[str]
    succeeded: bool
    certificate_expires_at: float | None
    callback_queue_length: int
    redis_connected: bool | None
    control_connected: bool | None


class Report:
    """One process, or one of several workers."""

    def __init__(
        self,
        worker: str,
        registry: Registry[str],
        on_air: OnAir,
        listeners: list[Listener],
        observer: Observer,
        turns: Turns,
        viewers: Viewers,
        recordings: Recordings,
        made: Callable[[], Made],
        *,
        names_are_keys: bool,
    ) -> None:
        """`names_are_keys`: the names of streams are, so nobody may see them."""
        self._viewers = viewers
        self._recordings = recordings
        self._made = made
        self._worker = worker
        self._registry = registry
        self._on_air = on_air
        self._listeners = listeners
        self._observer = observer
        self._turns = turns
        self._names_are_keys = names_are_keys
        self._wall_offset_s = time.time() - monotonic()  # once: a moment must not wobble with the clock

    def process(self, standing: Standing) -> ProcessValue:
        """Return what there is of the process as a whole. Gives way."""
        received_bytes = 0
        sent_bytes: dict[str, int] = {}
        for session in self._sessions():
            received, sent = session.traffic_here()
            received_bytes += received
            form = session.client.form
            sent_bytes[form] = sent_bytes.get(form, 0) + sent
        hls_bytes = sum([viewer.sent_here for viewer in self._in_turns(self._viewers.apart())])
        budget, made, recordings = self._registry.budget.describe(), self._made(), self._recordings
        here = Here(
            received_bytes, sent_bytes, hls_bytes, self._registry.left_out.by_kind(), made["ffmpeg_ends"],
            recordings.files, recordings.bytes, recordings.failed,
        )  # fmt: skip
        return {
            "worker": self._worker,
            "pid": os.getpid(),
            "version": __version__,
            "python": sys.version.partition(" ")[0],
            "compiled": compiled(),
            "started_at": self._observer.history.began_at,
            "ready": not standing["not_ready"],
            **standing,
            "listeners": [_listener(listener) for listener in self._listeners],
            "memory_budget_bytes": budget["limit_bytes"],
            "memory_held_bytes": budget["used_bytes"],
            "gop_cache_bytes": budget["log_bytes"],
            "hls_makers": made["hls"],
            "mp4_makers": made["mp4"],
            "ffmpeg_runs": made["ffmpeg_runs"],
            "recordings": recordings.running_count,
            "counters": self._observer.counted.value(here),
        }

    def names(self) -> list[str]:
        """Return the names of all channels. Never blocks."""
        return [clean(channel.name) for channel in self._registry]

    def channels(self, names: list[str] | None = None) -> list[ChannelValue]:
        """Return the channels of these names, or all. Gives way."""
        found = list(self._registry) if names is None else self._found(names)
        return [
            self._channel(channel)
            for channel in self._in_turns(found)
            if self._registry.find(channel.name) is channel
        ]

    def ids(self) -> list[tuple[int, str, Kind]]:
        """Return number, id and kind of each connection. Gives way."""
        sessions = [(one.client.number, one.client.id, kind_of(one.client)) for one in self._sessions()]
        viewers = self._in_turns(self._viewers.apart())
        return sessions + [(one.client.number, one.client.id, kind_of(one.client)) for one in viewers]

    def connections(self, ids: list[str] | None = None) -> list[ConnectionValue]:
        """Return the connections of these ids, or all. Gives way."""
        if ids is not None:
            return [self._value(one) for one in self._named(ids)]
        sessions = [self._connection(session) for session in self._sessions()]
        return sessions + [self._apart(one) for one in self._in_turns(self._viewers.apart())]

    def find(self, connection_id: str) -> Served | Viewing | None:
        """Return a connection's session, or a viewer without one; None where there is neither here.

        Never blocks.
        """
        found = (listener.find(connection_id) for listener in self._listeners)
        session = next((session for session in found if session is not None), None)
        return session if session is not None else self._viewers.find_apart(connection_id)

    def files(self, channel: str = "") -> list[FileValue] | str:
        """Return the files of recordings, of one channel or of all; a sentence where the disk does not tell.

        Blocks for the disk, and gives way.
        """
        running = self._recordings.running
        try:
            entries = self._recordings.entries(channel)
        except OSError as exc:
            return f"the files of recordings cannot be read: {exc.strerror or 'the disk failed'}"
        return [
            file_value(one, self._worker, None if one.end else running(one.channel))
            for one in self._in_turns(entries)
        ]

    # --- private ----------------------------------------------------------------------------------

    def _sessions(self) -> Iterator[Served]:
        """Give all sessions, but those that end meanwhile."""
        for listener in list(self._listeners):
            for session in self._in_turns(list(listener.sessions)):
                if session in listener.sessions:
                    yield session

    def _named(self, ids: list[str]) -> Iterator[Served | Viewing]:
        """Give the sessions of these ids, each once."""
        for one in self._in_turns(dict.fromkeys(ids)):
            session = self.find(one)
            if session is not None:
                yield session

    def _found(self, names: list[str]) -> list[Channel]:
        return [channel for name in names if (channel := self._registry.find(name)) is not None]

    def _in_turns(self, items: Collection[Item]) -> Iterable[Item]:
        """Give items, and let others run in between where they are more than a few."""
        return items if len(items) <= LOOK_EVERY else self._giving_way(items)

    def _giving_way(self, items: Iterable[Item]) -> Iterator[Item]:
        until = monotonic() + TURN_S
        for number, item in enumerate(items):
            if number % LOOK_EVERY == 0 and monotonic() >= until:
                self._turns.rest(0.0)
                until = monotonic() + TURN_S
            yield item

    def _channel(self, channel: Channel) -> ChannelValue:
        if len(channel.players) > CROWD:  # to look at it at all takes milliseconds
            self._turns.rest(0.0)
        about = facts.summary_of(channel)
        publisher = self._on_air.publisher_of(channel.name)
        readers: list[tuple[str, Kind]] = []
        forms: dict[str, int] = {}
        sent_bytes, apart = about["sent_bytes"], 0
        for player in self._in_turns(list(channel.players)):
            client = self._on_air.client_of(player)
            if client is not None:
                readers.append((client.id, kind_of(client)))
                form = form_of(client)
                forms[form] = forms.get(form, 0) + 1
        for viewing in self._in_turns(self._viewers.viewings(channel.name)):
            sent_bytes += viewing.peer.traffic()[1]
            if viewing.client.form != STILL:
                readers.append((viewing.client.id, kind_of(viewing.client)))
                form = form_of(viewing.client)
                forms[form] = forms.get(form, 0) + 1
                apart += 1
        return {
            "name": clean(channel.name),
            "worker": self._worker,
            "live": about["live"],
            "suspended": about["suspended"],
            "waits_until_at": self._moment(about["waits_until"]),
            "publication": about["publication"],
            "started_at": self._moment(about["began_at"]),
            "publisher": publisher.id if publisher is not None else None,
            "publisher_kind": kind_of(publisher) if publisher is not None else None,
            "players": about["players"] + apart,
            "waiting": about["waiting"] + (0 if about["live"] or about["suspended"] else apart),
            "readers": readers,
            "forms": forms,
            "received_bytes": about["received_bytes"],
            "sent_bytes": sent_bytes + self._viewers.sent_before(channel.name),
            "cache_bytes": facts.cache_bytes_of(channel),
            "frames_dropped": about["frames_dropped"],
            "max_bitrate": self._on_air.max_bitrate(channel.name),
            "recording": recording(self._recordings, channel.name),
            "vitals": cast("VitalsValue | None", channel.vitals()),
        }

    def _moment(self, at: float | None) -> float | None:
        return round(self._wall_offset_s + at, 3) if at is not None else None

    def _value(self, one: Served | Viewing) -> ConnectionValue:
        return self._apart(one) if isinstance(one, Viewing) else self._connection(one)

    def _apart(self, viewer: Viewing) -> ConnectionValue:
        """Return a viewer as a connection, which it has none of."""
        received, sent = viewer.peer.traffic()
        at = viewer.client.to_play.at - self._wall_offset_s
        about = {"accepted_at": at, "bytes_in": received, "bytes_out": sent}
        return self._told(viewer.client, about, {"read": viewer.name})

    def _connection(self, session: Served) -> ConnectionValue:
        channels: dict[State, str] = {}
        player: PlayerValue | None = None
        dropped = 0
        for granted in session.granted:
            if isinstance(granted, RelayPlayback):
                channels["read"] = granted.channel.name
                player, dropped = _player(granted.feed)
            elif isinstance(granted, RelayPublication):
                channels["publish"] = granted.channel.name
            elif isinstance(granted, Viewing):
                channels["read"] = granted.name
        return self._told(session.client, session.describe(), channels, player, dropped)

    def _told(
        self,
        client: Client,
        about: Mapping[str, Any],
        channels: Mapping[State, str],
        player: PlayerValue | None = None,
        dropped: int = 0,
    ) -> ConnectionValue:
        state: State = next((one for one in ("publish", "read") if one in channels), "idle")
        properties = client.properties
        secrets = secrets_of(client, names_are_keys=self._names_are_keys)
        app = client.app.partition("/")[0] if self._names_are_keys else client.app
        shown = {
            "app": clean(app),
            "user_agent": clean(properties.get("flashVer")),
            "page_url": bare_url(properties.get("pageUrl")),
            "swf_url": bare_url(properties.get("swfUrl")),
        }
        shown = {name: without(secrets, text) for name, text in shown.items()}
        return {
            "id": client.id,
            "worker": self._worker,
            "number": client.number,
            "kind": kind_of(client),
            "form": form_of(client),
            "created_at": round(self._wall_offset_s + about["accepted_at"], 3),
            "remote_ip": client.ip,
            "state": state,
            "channel": clean(channels.get(state, "")),
            "app": shown["app"],
            "user_agent": shown["user_agent"],
            "page_url": shown["page_url"],
            "swf_url": shown["swf_url"],
            "user": without(secrets, clean(client.user)),
            "received_bytes": about["bytes_in"],
            "sent_bytes": about["bytes_out"],
            "frames_dropped": dropped,
            "player": player,
        }


def _player(player: Player) -> tuple[PlayerValue, int]:
    about = player.describe()
    value: PlayerValue = {
        "waiting": about["waiting"],
        "paused": about["paused"],
        "audio": about["audio"],
        "video": about["video"],
        "behind_bytes": about["behind_bytes"],
        "lag_s": about["lag_s"],
        "skipped_messages": about["skipped_messages"],
        "jumps": about["jumps"],
    }
    return value, about["skipped_messages"]


def _listener(listener: Listener) -> ListenerValue:
    about: Any = listener.describe()
    return {
        "protocol": about["protocol"],
        "address": about["address"],
        "port": about["port"],
        "secure": about["secure"],
        "accepting": about["accepting"],
        "sessions": about["sessions"],
    }
