"""Clients one by one, for programs that would sort messages by client: a thin face over a registration.

`accept` of a registration has its messages go here instead of to its queue. Each publisher has a queue of its
own, with the bounds of one: who reads one of them slowly slows that publisher, and no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, Self, TypeVar

from gevent.event import Event
from gevent.queue import Empty, Queue

from ..errors import HandleClosed
from .home import Home
from .inbox import Backlog, Inbox
from .limits import MAX_DEPARTED
from .requests import StreamId, check_text
from .types import (
    ApprovalRequired,
    Client,
    ConnectionId,
    MediaData,
    NewPublisherConnected,
    PublisherRefused,
    PublisherRequiringApproval,
    PublishingStopped,
    RegistrationClosed,
    WatcherConnected,
    WatcherDisconnected,
    WatcherRefused,
    WatcherRequiringApproval,
)

CROWDED = "too many clients wait to be accepted"


class Owner(Protocol):
    """The registration of a client."""

    inbox: Inbox

    def end_client(self, connection_id: ConnectionId, reason: str) -> None:
        """End one client, or the reading of it. Never blocks."""


class _AcceptedClient:
    """What publishers and watchers have in common. A context manager that disconnects on exit."""

    def __init__(self, owner: Owner, client: Client, question: ApprovalRequired | None = None) -> None:
        self.client = client
        self.context: object = None  # of its approval
        self.closed: str | None = None  # why it ended, once it has
        self._owner = owner
        self._question = question
        self._home = Home()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        state = "waits for approval" if self.is_waiting else self.closed or "connected"
        return f"<{type(self).__name__} app={self.client.rtmp_app!r} from {self.client.address}: {state}>"

    @property
    def key(self) -> str:
        """The stream key: text that the client chose."""
        return self.client.stream_key

    @property
    def is_waiting(self) -> bool:
        """Whether it was neither approved nor rejected yet, and the registration requires that."""
        question = self._question
        return self.closed is None and question is not None and not question.response.ready()

    def approve(self, context: object = None) -> None:
        """Let it in, if that is still the question. Never blocks."""
        if self._question is not None:
            self._question.approve(context)

    def reject(self, reason: str = "rejected") -> None:
        """Refuse it with a reason that it is shown; one that is in already is disconnected. Never blocks."""
        if self.is_waiting and self._question is not None:
            self._question.reject(reason)
        else:
            self.disconnect(reason)

    def disconnect(self, reason: str = "") -> None:
        """End its connection, or for an observer the reading of it. Idempotent, never blocks."""
        self._home.check("disconnect")
        check_text("a reason", reason)
        if self.closed is None:
            self._owner.end_client(self.client.connection_id, reason)

    # --- called by `Arrivals` ---------------------------------------------------------------------

    def connected(self, message: Any) -> None:
        """Take note that it is in."""
        self.context = message.context

    def ended(self, reason: str) -> None:
        """Take note of its end."""
        self.closed = reason


class Publisher(_AcceptedClient):
    """A client that publishes; to iterate over it gives what it sends, and ends with it."""

    def __init__(self, owner: Owner, client: Client, question: ApprovalRequired | None = None) -> None:
        super().__init__(owner, client, question)
        self.stream_id = StreamId("")  # once it is on the air
        self.inbox = owner.inbox.another()

    def __iter__(self) -> Iterator[MediaData]:
        while True:
            try:
                data = self.get()
            except HandleClosed:
                return
            yield data

    @property
    def waiting(self) -> int:
        """How many messages can be had without waiting, its end among them."""
        return self.inbox.queue.qsize()

    def get(self, timeout: float | None = None) -> MediaData:
        """Return what it sent next. Blocks the calling greenlet, for `timeout` seconds at most.

        Raises TimeoutError, and HandleClosed after the last of it; RuntimeError while it waits for approval.
        """
        self._home.check("get")
        if self.is_waiting:
            raise RuntimeError("approve or reject a publisher before you read it")
        data: MediaData = take(self.inbox.queue, timeout, self.closed)
        return data

    def connected(self, message: NewPublisherConnected) -> None:
        """Take note that it is on the air."""
        super().connected(message)
        self.stream_id = message.stream_id

    def ended(self, reason: str) -> None:
        """Take note of its end; what it sent before can still be read."""
        super().ended(reason)
        self.inbox.put(StopIteration)


class Watcher(_AcceptedClient):
    """A client that watches."""

    def __init__(self, owner: Owner, client: Client, question: ApprovalRequired | None = None) -> None:
        super().__init__(owner, client, question)
        self._gone = Event()

    def wait(self, timeout: float | None = None) -> str:
        """Return why it is gone, when it is. Blocks the calling greenlet; raises TimeoutError."""
        self._home.check("wait")
        check_timeout(timeout)
        if not self._gone.wait(timeout):
            raise TimeoutError(f"the watcher is there after {timeout:g} s" if timeout else "it is there")
        return self.closed or ""

    def ended(self, reason: str) -> None:
        """Take note of its end."""
        super().ended(reason)
        self._gone.set()


Accepted = TypeVar("Accepted", Publisher, Watcher)


class Arrivals(Generic[Accepted]):
    """Where the messages of a registration go that accepts one client after the other. Never blocks.

    Those that wait for it are bounded together, in number (`unaccepted`) and in bytes. Of those that left
    meanwhile only the last few are kept, and none while others need the room: a crowd that comes and goes
    holds up nobody.
    """

    def __init__(self, kind: Callable[..., Accepted], owner: Owner) -> None:
        self.queue: Queue[Any] = Queue()  # of those that came, then StopIteration
        self._kind: Callable[..., Accepted] = kind
        self._owner = owner
        self._clients: dict[ConnectionId, Accepted] = {}
        self._nobody = owner.inbox.another()
        self._waiting: set[Accepted] = set()  # those in the queue
        self._departed: deque[Accepted] = deque()  # of these, oldest first
        self._backlog = Backlog()

    def accepted(self, client: Accepted) -> None:
        """Take note that one was taken off the queue."""
        self._waiting.discard(client)
        if client.closed is not None:
            self._departed.remove(client)
        if isinstance(client, Publisher):
            client.inbox.part()

    def put(self, message: object) -> None:
        """Take a message of the registration; what is not about one client is not needed."""
        route = _ROUTES.get(type(message))
        if route is not None:
            route(self, message)

    def put_media(self, connection_id: ConnectionId, data: MediaData, size: int) -> None:
        """Hand media to its publisher."""
        self.inbox_of(connection_id).put(data, size)

    def inbox_of(self, connection_id: ConnectionId) -> Inbox:
        """Return where media of a publisher goes."""
        client = self._clients.get(connection_id)
        return client.inbox if isinstance(client, Publisher) else self._nobody

    def _on_question(self, message: ApprovalRequired) -> None:
        self._add(self._kind(self._owner, message.client, message))

    def _on_connected(self, message: NewPublisherConnected | WatcherConnected) -> None:
        client: Any = self._clients.get(message.client.connection_id)
        if client is None:
            client = self._kind(self._owner, message.client)
            client.connected(message)
            self._add(client)
        else:
            client.connected(message)

    def _on_end(self, message: PublishingStopped) -> None:
        client = self._clients.pop(message.connection_id, None)
        if client is not None:  # it may have come before `accept`
            client.ended(message.reason)
            if client in self._waiting:
                self._departed.append(client)
                self._drop_departed()

    def _on_closed(self, message: RegistrationClosed) -> None:
        self.queue.put(StopIteration)

    def _add(self, client: Accepted) -> None:
        connection_id = client.client.connection_id
        self._clients[connection_id] = client
        self._drop_departed()
        limits = self._owner.inbox.limits
        if len(self._waiting) - len(self._departed) >= limits.unaccepted:
            self._owner.end_client(connection_id, CROWDED)
            return
        if isinstance(client, Publisher):
            client.inbox.join(self._backlog)
        self._waiting.add(client)
        self.queue.put(client)

    def _drop_departed(self) -> None:
        departed, limit = self._departed, self._owner.inbox.limits.queue_bytes
        while departed and (len(departed) > MAX_DEPARTED or self._backlog.size > limit):
            oldest = departed[0]
            self.queue.queue.remove(oldest)
            self.accepted(oldest)


class Discard:
    """Where the messages of a registration go that nobody wants."""

    def __init__(self, owner: Owner) -> None:
        self._empty = owner.inbox.another()

    def put(self, message: object) -> None:
        """Forget it: a question that is forgotten is a refusal."""

    def put_media(self, connection_id: ConnectionId, data: MediaData, size: int) -> None:
        """Forget it."""

    def inbox_of(self, connection_id: ConnectionId) -> Inbox:
        """Return one that is empty."""
        return self._empty


def check_timeout(timeout: object) -> None:
    """Raise TypeError for what is no number of seconds."""
    if timeout is not None and not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds or None, this one is {type(timeout).__name__}")


def take(queue: Queue[Any], timeout: float | None, why: str | None) -> Any:
    """Return the next message of a queue that StopIteration ends; HandleClosed there, for every reader."""
    check_timeout(timeout)
    try:
        message = queue.get(timeout=timeout)
    except Empty:
        raise TimeoutError(f"no message within {timeout:g} s" if timeout else "no message") from None
    if message is StopIteration:
        queue.put(message)  # another reader may wait, or ask again
        raise HandleClosed(why or "ended")
    return message


_ROUTES: dict[type, Callable[[Any, Any], None]] = {
    PublisherRequiringApproval: Arrivals._on_question,
    WatcherRequiringApproval: Arrivals._on_question,
    NewPublisherConnected: Arrivals._on_connected,
    WatcherConnected: Arrivals._on_connected,
    PublishingStopped: Arrivals._on_end,
    PublisherRefused: Arrivals._on_end,
    WatcherDisconnected: Arrivals._on_end,
    WatcherRefused: Arrivals._on_end,
    RegistrationClosed: Arrivals._on_closed,
}
