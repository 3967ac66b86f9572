"""The handles that `register` returns: each owns its clients, its messages and its end. Nothing here blocks.

Every client announced to a registrant, by an approval request or as connected, gets exactly one end message;
`announce` and `retire` keep that promise, and `close` for all that are left. State is changed by the port
(`port.py`), by the sessions through it, and by the registrant's own calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from gevent.queue import Queue

from .. import log
from .inbox import Inbox
from .media_out import encode
from .requests import (
    ANY,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    Observe,
    Request,
)
from .types import (
    AudioData,
    ConnectionId,
    MediaData,
    NewMediaData,
    PublisherMessage,
    PublishingStopped,
    RegistrationClosed,
    Statistics,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    StreamMetadata,
    WatcherConnected,
    WatcherDisconnected,
    WatcherMessage,
)

if TYPE_CHECKING:
    from ..live.channel import Channel
    from ..live.registry import Registry
    from .publisher import EndpointPublication
    from .watcher import EndpointPlayback

CLOSED_BY_REGISTRANT = "closed by the registrant"
STALLED = "the registrant stopped consuming"
METADATA_BYTES = 1024  # counted for metadata, whose size nobody keeps
IDENTITY = frozenset(("rtmp_app", "rtmp_stream_key", "port", "use_tls"))  # fields that `update` cannot change

ChannelName = tuple[int, str]  # number of the registration, key: a successor's channels are never ours

AnyRequest = TypeVar("AnyRequest", bound=Request)
AnyMessage = TypeVar("AnyMessage")


class Registration(Generic[AnyRequest, AnyMessage]):
    """What all three handles have in common. A context manager that closes on exit."""

    stopped: type[PublishingStopped] | type[WatcherDisconnected] = PublishingStopped

    def __init__(
        self,
        request: AnyRequest,
        number: int,
        port: int,
        inbox: Inbox,
        on_closed: Callable[[Registration[Any, Any]], None],
    ) -> None:
        self.request = request
        self.number = number  # unique in the endpoint
        self.port = port  # the real one, when the request said 0
        self.messages: Queue[AnyMessage] = inbox.queue
        self.closed: str | None = None  # why, once it is
        self.statistics = Statistics()
        self.inbox = inbox
        self._on_closed = on_closed
        self._announced: dict[ConnectionId, Callable[[str], None]] = {}  # and how to disconnect them

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def covers(self, key: str) -> bool:
        """Tell whether `key` is registered here."""
        wanted = self.request.rtmp_stream_key
        return wanted is ANY or wanted == Exact(key)

    def update(self, **changes: Any) -> None:
        """Change fields of the request that do not identify it, for clients that come from now on.

        Raises ValueError for those that do, TypeError for those that do not exist. Never blocks.
        """
        if fixed := IDENTITY.intersection(changes):
            raise ValueError(f"a registration keeps its {', '.join(sorted(fixed))}")
        self.request = replace(self.request, **changes)

    def disconnect(self, connection_id: ConnectionId, reason: str = "") -> None:
        """End one client's connection; its end message follows. Does nothing for one that is gone.

        One that waits for approval is refused with the reason. Never blocks.
        """
        drop = self._announced.get(connection_id)
        if drop is not None:
            drop(reason or "disconnected by the registrant")

    def close(self, reason: str = CLOSED_BY_REGISTRANT) -> None:
        """Stop accepting, end all clients, say goodbye on the queue. Idempotent, never blocks."""
        if self.closed is not None:
            return
        self.closed = reason
        drops = list(self._announced.values())
        self._end_clients(reason)
        for connection_id in list(self._announced):
            self.retire(connection_id, reason)
        for drop in drops:
            drop(reason)
        self.inbox.put(RegistrationClosed(reason, self.request))
        self.inbox.registrations -= 1
        if not self.inbox.registrations:
            self.inbox.put(StopIteration)
        self._on_closed(self)

    # --- called by the endpoint -------------------------------------------------------------------

    def announce(self, connection_id: ConnectionId, drop: Callable[[str], None]) -> None:
        """Owe the registrant an end message for this connection."""
        self._announced[connection_id] = drop

    def retire(self, connection_id: ConnectionId, reason: str, *more: object) -> None:
        """Pay it, with what else its end means. Idempotent."""
        if self._announced.pop(connection_id, None) is not None:
            self.put(self.stopped(connection_id, reason), *more)

    def put(self, *messages: object) -> None:
        """Hand over control messages; ends a registrant that has let its queue lie full for too long.

        That end comes after all of them, so what belongs together is given together.
        """
        for message in messages:
            self.inbox.put(message)
        self.end_if_stalled()

    def end_if_stalled(self) -> None:
        """Close the registration if its queue is full and nobody takes from it."""
        if self.closed is None and self.inbox.is_stalled(monotonic()):
            self.close(STALLED)

    def _end_clients(self, reason: str) -> None:
        """Undo what clients hold here, before their end messages."""


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

    def put_media(self, publisher: ConnectionId, data: MediaData) -> None:
        """Hand over media of an announced publisher."""
        _put_media(self, publisher, data)

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

    def disconnect(self, connection_id: ConnectionId, reason: str = "") -> None:
        """Raise: an observer changes nothing."""
        raise TypeError("an observer cannot disconnect publishers")

    def announce(self, connection_id: ConnectionId, drop: Callable[[str], None]) -> None:
        """Owe an end message; the end of an observer is none of the publisher's business."""
        super().announce(connection_id, _leave_alone)

    def put_media(self, publisher: ConnectionId, data: MediaData) -> None:
        """Hand over media of an announced publisher."""
        _put_media(self, publisher, data)

    def _end_clients(self, reason: str) -> None:
        for publication in list(self.publications):
            publication.lose_reader(self)


class WatcherRegistration(Registration[ListenForWatchers, WatcherMessage]):
    """Watchers of one app, under one key or all, and the media for them."""

    stopped = WatcherDisconnected

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

    def send(self, stream_key: str, data: MediaData) -> int:
        """Send media to the watchers of a key, now and later ones; return how many there are.

        Never blocks, whatever the watchers do. Returns 0 when the registration is closed. Media of a codec
        that cannot be wrapped (not H.264 or AAC, not raw) is dropped. Raises ValueError for a key outside
        the registration, and for numbers, sizes and metadata that RTMP cannot carry; TypeError for what is
        no media. Then nothing has changed.
        """
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
        channel = self._sources.pop(stream_key, None)
        if channel is not None:
            channel.stop()
            self._registry.release((self.number, stream_key))

    def watcher_count(self, stream_key: str) -> int:
        """Return how many watch a key."""
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


def _put_media(
    reader: PublisherRegistration | ObserverRegistration, publisher: ConnectionId, data: MediaData
) -> None:
    size = METADATA_BYTES if isinstance(data, StreamMetadata) else len(data.data)
    reader.inbox.put(NewMediaData(publisher, data), size)
    reader.statistics.messages += 1
    reader.statistics.bytes += size
