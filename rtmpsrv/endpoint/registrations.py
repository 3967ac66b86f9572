"""The handles that `register` returns: for publishers, observers, watchers. Nothing blocks but `accept`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .. import log
from .clients import Publisher, Watcher
from .inbox import Inbox
from .media_out import encode
from .registration import NO_STREAM, Drop, Registration
from .requests import (
    ListenForPublishers,
    ListenForWatchers,
    Observe,
    StreamId,
    check_text,
)
from .types import (
    AudioData,
    Client,
    ConnectionId,
    MediaData,
    PublisherMessage,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    WatcherConnected,
    WatcherDisconnected,
    WatcherMessage,
    WatcherRefused,
)

if TYPE_CHECKING:
    from ..live.channel import Channel
    from ..live.registry import Registry
    from .publisher import EndpointPublication
    from .watcher import EndpointPlayback

ChannelName = tuple[int, str]  # number of the registration, key: a successor's channels are never ours


class PublisherRegistration(Registration[ListenForPublishers, PublisherMessage]):
    """Publishers of one app, under one key or all; one publisher for each key."""

    def __init__(
        self,
        request: ListenForPublishers,
        number: int,
        port: int,
        inbox: Inbox,
        on_closed: Callable[[Registration[Any, Any]], None],
    ) -> None:
        super().__init__(request, number, port, inbox, on_closed)
        self.publications: dict[str, EndpointPublication] = {}  # by key

    @property
    def slows_publishers(self) -> bool:
        """Whether a full queue holds up whoever publishes."""
        return True

    def accept(self) -> Iterator[Publisher]:
        """Yield each publisher when it comes, or asks for approval; ends with the registration.

        Blocks the calling greenlet between two of them. From the first one on no messages come.
        """
        return self._accept(Publisher)

    def _end_clients(self, reason: str) -> None:
        for publication in list(self.publications.values()):
            publication.stop(reason)


class ObserverRegistration(Registration[Observe, PublisherMessage]):
    """A tap: the messages of publishers that belong to another registration. Asks nobody, refuses nobody."""

    def __init__(
        self,
        request: Observe,
        number: int,
        port: int,
        inbox: Inbox,
        on_closed: Callable[[Registration[Any, Any]], None],
    ) -> None:
        super().__init__(request, number, port, inbox, on_closed)
        self.publications: set[EndpointPublication] = set()

    @property
    def slows_publishers(self) -> bool:
        """Whether a full queue holds up whoever publishes."""
        return self.request.slows_publishers

    def accept(self) -> Iterator[Publisher]:
        """Yield each publisher that is on the air; to disconnect one is to read it no more.

        Blocks the calling greenlet between two of them. From the first one on no messages come.
        """
        return self._accept(Publisher)

    def disconnect(self, connection_id: ConnectionId, reason: str = "") -> None:
        """Raise: an observer changes nothing."""
        raise TypeError("an observer cannot disconnect publishers")

    # --- called by the endpoint -------------------------------------------------------------------

    def admit(self, client: Client, drop: Drop, context: object, stream_id: StreamId = NO_STREAM) -> None:
        """Owe an end message; the end of an observer is none of the publisher's business."""
        super().admit(client, _leave_alone, context, stream_id)

    def end_client(self, connection_id: ConnectionId, reason: str) -> None:
        """Read a publisher no more."""
        for publication in list(self.publications):
            if publication.publisher.connection_id == connection_id:
                publication.lose_reader(self)
                self.retire(connection_id, reason or "not read any more")

    def _end_clients(self, reason: str) -> None:
        for publication in list(self.publications):
            publication.lose_reader(self)


class WatcherRegistration(Registration[ListenForWatchers, WatcherMessage]):
    """Watchers of one app, under one key or all, and the media for them."""

    stopped = WatcherDisconnected
    refused = WatcherRefused

    def __init__(
        self,
        request: ListenForWatchers,
        number: int,
        port: int,
        inbox: Inbox,
        on_closed: Callable[[Registration[Any, Any]], None],
        registry: Registry[ChannelName],
    ) -> None:
        super().__init__(request, number, port, inbox, on_closed)
        self._registry = registry
        self._watchers: dict[str, set[EndpointPlayback]] = {}  # by key; keys without watchers are not there
        self._sources: dict[str, Channel] = {}  # keys that media was sent for since their last end
        self._told_unsendable = False

    def accept(self) -> Iterator[Watcher]:
        """Yield each watcher when it comes, or asks for approval; ends with the registration.

        Blocks the calling greenlet between two of them. From the first one on no messages come.
        """
        return self._accept(Watcher)

    def send(self, stream_key: str, data: MediaData) -> int:
        """Send media to the watchers of a key, now and later ones; return how many there are.

        Never blocks, whatever the watchers do. Returns 0 when the registration is closed. Media of a codec
        that cannot be wrapped (not H.264 or AAC, not raw) is dropped. Raises ValueError for a key outside
        the registration, and for numbers, sizes and metadata that RTMP cannot carry; TypeError for what is
        no key or no media. Then nothing has changed.
        """
        self._home.check("send")
        if self.closed is not None:
            return 0
        channel = self._sources.get(stream_key)
        if channel is None and not self.covers(stream_key):
            raise ValueError("media for a stream key that this registration does not cover")
        message = encode(data)
        if message is None:
            self._tell_unsendable(data)
            return self.watcher_count(stream_key)
        if channel is None:
            channel = self._registry.open((self.number, stream_key))
            self._sources[stream_key] = channel
        if not channel.live:
            channel.start()
        channel.append((message,))
        self.statistics.messages += 1
        self.statistics.bytes += len(message[3])
        return len(channel.players)

    def end(self, stream_key: str) -> None:
        """Say that the source of a key is gone: watchers are told and stay, headers are forgotten."""
        self._home.check("end")
        check_text("a stream key", stream_key)
        channel = self._sources.pop(stream_key, None)
        if channel is not None:
            channel.stop()
            self._registry.release((self.number, stream_key))

    def watcher_count(self, stream_key: str) -> int:
        """Return how many watch a key."""
        check_text("a stream key", stream_key)
        return len(self._watchers.get(stream_key, ()))

    # --- called by the endpoint -------------------------------------------------------------------

    def open_channel(self, key: str) -> Channel:
        """Return the channel for a new watcher. The first one is told at once that it plays.

        Later ones of a source that ended wait in silence with the others.
        """
        channel = self._registry.open((self.number, key))
        if not channel.live and not channel.players:
            channel.start()
        return channel

    def watcher_joined(self, key: str, playback: EndpointPlayback) -> None:
        """Announce a watcher that was let in."""
        watchers = self._watchers.setdefault(key, set())
        watchers.add(playback)
        self.statistics.accepted += 1
        active = () if len(watchers) > 1 else (StreamKeyBecameActive(key),)
        self.put(WatcherConnected(playback.watcher, playback.context), *active)

    def watcher_left(self, key: str, playback: EndpointPlayback, reason: str) -> None:
        """Take back what `watcher_joined` did; a channel without source and watchers goes."""
        watchers = self._watchers.get(key, set())
        was_last = watchers == {playback}
        watchers.discard(playback)
        if not watchers:
            self._watchers.pop(key, None)
            if key not in self._sources:
                playback.channel.stop()
        self._registry.release((self.number, key))
        inactive = (StreamKeyBecameInactive(key),) if was_last else ()
        self.retire(playback.watcher.connection_id, reason, *inactive)

    def _end_clients(self, reason: str) -> None:
        for key in list(self._sources):
            self.end(key)
        for watchers in list(self._watchers.values()):
            for playback in list(watchers):
                playback.stop(reason)

    def _tell_unsendable(self, data: MediaData) -> None:
        if not self._told_unsendable:
            self._told_unsendable = True
            kind = "audio" if isinstance(data, AudioData) else "video"
            log.get("ENDPOINT").warning("%s that is neither raw nor H.264 or AAC is not sent", kind)


def _leave_alone(reason: str) -> None:
    """Disconnect nobody."""
