"""What all handles have in common: a registrant's messages, the clients they speak of, and the end of both.

Every client announced to a registrant, by an approval request or as connected, gets exactly one end message;
`announce` and `retire` keep that promise, and `close` for all that are left. State is changed by the port
(`port.py`), by the sessions through it, and by the registrant's own calls. Nothing here blocks but `get`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Generic, Protocol, Self, TypeVar

from gevent.queue import Queue

from ..errors import HandleClosed
from .clients import Accepted, Arrivals, Discard, take
from .home import Home
from .inbox import Inbox
from .requests import (
    ANY,
    Exact,
    Request,
    StreamId,
    check_text,
)
from .types import (
    Client,
    ConnectionId,
    MediaData,
    NewMediaData,
    PublisherRefused,
    PublishingStopped,
    RegistrationClosed,
    Statistics,
    StreamMetadata,
    WatcherDisconnected,
    WatcherRefused,
)

CLOSED_BY_REGISTRANT = "closed by the registrant"
STALLED = "the registrant stopped consuming"
METADATA_BYTES = 1024  # counted for metadata, whose size nobody keeps
IDENTITY = frozenset(("rtmp_app", "rtmp_stream_key", "port", "use_tls"))  # fields that `update` cannot change

AnyRequest = TypeVar("AnyRequest", bound=Request)
AnyMessage = TypeVar("AnyMessage")
NO_STREAM = StreamId("")  # of a client that does not publish
Drop = Callable[[str], None]


class Receiver(Protocol):
    """Where messages go instead of to the queue."""

    def put(self, message: object) -> None:
        """Take a control message."""

    def put_media(self, connection_id: ConnectionId, data: MediaData, size: int) -> None:
        """Take media of an announced publisher."""

    def inbox_of(self, connection_id: ConnectionId) -> Inbox:
        """Return what bounds the media of a publisher."""


@dataclass(slots=True)
class Announced:
    """A client that the registrant was told of, and what its messages carry."""

    client: Client
    drop: Drop  # disconnects it
    context: object = None
    connected: bool = False
    stream_id: StreamId = NO_STREAM


class Registration(Generic[AnyRequest, AnyMessage]):
    """What all handles have in common: its messages are iterated over, and `with` closes it on exit."""

    stopped: type[PublishingStopped] | type[WatcherDisconnected] = PublishingStopped
    refused: type[PublisherRefused] | type[WatcherRefused] = PublisherRefused

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
        self._announced: dict[ConnectionId, Announced] = {}
        self.departed: set[object] = set()  # publishers that left, and wait for room all the same
        self._receiver: Receiver | None = None  # in place of the queue
        self._last: RegistrationClosed | None = None
        self._over = False  # the last message was taken through this handle
        self._home = Home()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        key = "any key" if self.request.rtmp_stream_key is ANY else "one key"
        state = f"closed: {self.closed}" if self.closed is not None else f"{len(self._announced)} clients"
        return f"<{type(self).__name__} app={self.request.rtmp_app!r} port={self.port}, {key}, {state}>"

    def __iter__(self) -> Iterator[AnyMessage]:
        while True:
            try:
                message = self.get()
            except HandleClosed:
                return
            yield message

    @property
    def waiting(self) -> int:
        """How many messages can be had without waiting, its end among them."""
        return self.messages.qsize()

    def get(self, timeout: float | None = None) -> AnyMessage:
        """Return the next message. Blocks the calling greenlet, for `timeout` seconds at most.

        Raises TimeoutError, and HandleClosed after the last one. Of a queue that several registrations share
        it returns the messages of all, up to the end of this one.
        """
        self._home.check("get")
        if self._receiver is not None:
            raise RuntimeError("the messages of this registration go to accept(), or are discarded")
        if self._over:
            raise HandleClosed(self.closed or "")
        message: AnyMessage = take(self.messages, timeout, self.closed)
        if message is self._last:
            self._over = True
        return message

    def discard_messages(self) -> Self:
        """Want no messages, from now on and of those that wait; returns the handle. Never blocks.

        Whoever needs approval is refused then.
        """
        self._receive(Discard(self))
        return self

    def covers(self, key: str) -> bool:
        """Tell whether `key` is registered here."""
        check_text("a stream key", key)
        wanted = self.request.rtmp_stream_key
        return wanted is ANY or (isinstance(wanted, Exact) and wanted.key == key)

    def update(self, **changes: Any) -> None:
        """Change fields of the request that do not identify it, for clients that come from now on.

        Raises ValueError for those that do, TypeError for those that do not exist. Never blocks.
        """
        self._home.check("update")
        if fixed := IDENTITY.intersection(changes):
            raise ValueError(f"a registration keeps its {', '.join(sorted(fixed))}")
        self.request = replace(self.request, **changes)

    def disconnect(self, connection_id: ConnectionId, reason: str = "") -> None:
        """End one client's connection; its end message follows. Does nothing for one that is gone.

        One that waits for approval is refused with the reason, others are told it by a status. Never blocks.
        """
        self._home.check("disconnect")
        check_text("a connection id", connection_id)
        check_text("a reason", reason)
        self.end_client(connection_id, reason)

    def close(self, reason: str = CLOSED_BY_REGISTRANT) -> None:
        """Stop accepting, end all clients, say goodbye on the queue. Idempotent, never blocks."""
        self._home.check("close")
        check_text("a reason", reason)
        if self.closed is not None:
            return
        self.closed = reason
        drops = [announced.drop for announced in self._announced.values()]
        self._end_clients(reason)
        for connection_id in list(self._announced):
            self.retire(connection_id, reason)
        for drop in drops:
            drop(reason)
        self._last = RegistrationClosed(reason, self.request)
        self._deliver(self._last)
        self.inbox.leave()
        self._on_closed(self)

    # --- called by the endpoint -------------------------------------------------------------------

    def announce(self, client: Client, drop: Drop, context: object = None) -> None:
        """Owe the registrant an end message for a client that is not in yet."""
        self._announced[client.connection_id] = Announced(client, drop, context)

    def approved(self, connection_id: ConnectionId, context: object) -> None:
        """Note what an approval gave: it comes back, whatever becomes of the client."""
        announced = self._announced.get(connection_id)
        if announced is not None:
            announced.context = context

    def admit(self, client: Client, drop: Drop, context: object, stream_id: StreamId = NO_STREAM) -> None:
        """Owe the end message of one that is in."""
        self._announced[client.connection_id] = Announced(client, drop, context, True, stream_id)

    def retire(self, connection_id: ConnectionId, reason: str, *more: object) -> None:
        """Pay it, with what else its end means. Idempotent."""
        announced = self._announced.pop(connection_id, None)
        if announced is not None:
            client, context = announced.client, announced.context
            if not announced.connected:
                self.put(self.refused(client, reason, context), *more)
            elif self.stopped is PublishingStopped:
                self.put(PublishingStopped(client, reason, context, announced.stream_id), *more)
            else:
                self.put(self.stopped(client, reason, context), *more)

    def put(self, *messages: object) -> None:
        """Hand over control messages; ends a registrant that has let its queue lie full for too long.

        That end comes after all of them, so what belongs together is given together.
        """
        for message in messages:
            self._deliver(message)
        if self.closed is None and self.inbox.is_stalled(monotonic()):
            self.close(STALLED)

    def put_media(self, connection_id: ConnectionId, data: MediaData) -> None:
        """Hand over media of an announced publisher."""
        size = METADATA_BYTES if isinstance(data, StreamMetadata) else len(data.data)
        if self._receiver is None:
            one = self._announced[connection_id]
            self.inbox.put(NewMediaData(one.client, data, one.stream_id, one.context), size)
        else:
            self._receiver.put_media(connection_id, data, size)
        self.statistics.messages += 1
        self.statistics.bytes += size

    def has_room(self, connection_id: ConnectionId) -> bool:
        """Tell whether media of a publisher may be put now."""
        return self._inbox_of(connection_id).has_room()

    def end_if_stalled(self, connection_id: ConnectionId) -> None:
        """End what does not take the media of a publisher: the registration, or its reader of that one."""
        if self.closed is None and self._inbox_of(connection_id).is_stalled(monotonic()):
            if self._receiver is None:
                self.close(STALLED)
            else:
                self.end_client(connection_id, STALLED)

    def end_client(self, connection_id: ConnectionId, reason: str) -> None:
        """Disconnect a client, if it is there."""
        announced = self._announced.get(connection_id)
        if announced is not None:
            announced.drop(reason or "disconnected by the registrant")

    # --- for the handles --------------------------------------------------------------------------

    def _accept(self, kind: Callable[..., Accepted]) -> Iterator[Accepted]:
        """Yield clients as they come, from the first `next` on. Those that were known before are not."""
        self._home.check("accept")
        receiver = self._receiver
        if receiver is None:
            receiver = Arrivals(kind, self)
            self._receive(receiver)
        if not isinstance(receiver, Arrivals):
            raise RuntimeError("the messages of this registration are discarded")
        while True:
            try:
                accepted: Accepted = take(receiver.queue, None, self.closed)
            except HandleClosed:
                return
            receiver.accepted(accepted)
            yield accepted

    def _receive(self, receiver: Receiver) -> None:
        """Have messages go elsewhere, what waits in the queue first."""
        self._home.check("accept")
        if self.inbox.registrations > 1:
            raise ValueError("registrations that share a queue have their messages there")
        self._receiver = receiver
        queue: Queue[Any] = self.messages
        for _ in range(queue.qsize()):
            message = queue.get_nowait()
            if isinstance(message, NewMediaData):
                data = message.data
                size = METADATA_BYTES if isinstance(data, StreamMetadata) else len(data.data)
                receiver.put_media(message.publisher, data, size)
            elif message is StopIteration:
                queue.put(message)
            else:
                receiver.put(message)

    def _deliver(self, message: object) -> None:
        if self._receiver is None:
            self.inbox.put(message)
        else:
            self._receiver.put(message)

    def _inbox_of(self, connection_id: ConnectionId) -> Inbox:
        return self.inbox if self._receiver is None else self._receiver.inbox_of(connection_id)

    def _end_clients(self, reason: str) -> None:
        """Undo what clients hold here, before their end messages."""
