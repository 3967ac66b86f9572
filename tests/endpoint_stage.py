"""An endpoint in this process with clients around it, and what registrants do: listen to their queues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Any, TypeVar

import gevent
from gevent.queue import Empty, Queue

from rtmpsrv import (
    ANY,
    Exact,
    Limits,
    ListenForPublishers,
    ListenForWatchers,
    NewPublisherConnected,
    PublisherRegistration,
    RtmpEndpoint,
    StreamKeyBecameActive,
    WatcherRegistration,
)
from tests.client import Client
from tests.waiting import eventually as eventually

HOST = "127.0.0.1"
APP = "app"
WAIT_S = 5.0  # for anything that must come
QUIET_S = 0.15  # for what must not

TEST_LIMITS = Limits(approval_s=5.0, close_s=3.0)

Kind = TypeVar("Kind")


def key_of(key: str | None) -> Any:
    return ANY if key is None else Exact(key)


class EndpointStage:
    """Opens registrations and clients; closes them all in the end."""

    def __init__(self, tls: Any = None, host: str = HOST, **limits: Any) -> None:
        self.endpoint = RtmpEndpoint(host, tls, replace(TEST_LIMITS, **limits))
        self.port = 0  # the first one that was opened
        self.clients: list[Client] = []

    def publishers(self, key: str | None = None, app: str = APP, **options: Any) -> PublisherRegistration:
        options.setdefault("port", self.port)
        messages = options.pop("messages", None)
        request = ListenForPublishers(rtmp_app=app, rtmp_stream_key=key_of(key), **options)
        registration = self.endpoint.register(request, messages)
        self.port = self.port or registration.port
        return registration

    def watchers(self, key: str | None = None, app: str = APP, **options: Any) -> WatcherRegistration:
        options.setdefault("port", self.port)
        messages = options.pop("messages", None)
        request = ListenForWatchers(rtmp_app=app, rtmp_stream_key=key_of(key), **options)
        registration = self.endpoint.register(request, messages)
        self.port = self.port or registration.port
        return registration

    def client(self, **options: Any) -> Client:
        client = Client(options.pop("port", self.port), **options)
        self.clients.append(client)
        return client

    def publisher(self, key: str = "key", app: str = APP) -> Client:
        return self.client().publish(app, key)

    def watcher(self, key: str = "key", app: str = APP, **options: Any) -> Client:
        client = self.client(**options).connect(app)
        client.ask_play(key, client.create_stream())
        client.expect_status("NetStream.Play.Reset")
        client.expect_status("NetStream.Play.Start")
        client.expect_command("|RtmpSampleAccess")
        return client

    def on_air(self, **options: Any) -> tuple[PublisherRegistration, Client, NewPublisherConnected]:
        """Return a registration, its publisher of `key`, and how it was announced."""
        registration = self.publishers(**options)
        client = self.publisher()
        return registration, client, expect(registration, NewPublisherConnected)

    def watched(self, key: str | None = None) -> tuple[WatcherRegistration, Client]:
        """Return a registration and its watcher of `key`, with the announcements taken off the queue."""
        registration = self.watchers(key)
        client = self.watcher()
        expect(registration, StreamKeyBecameActive)
        return registration, client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.endpoint.close()


@contextmanager
def endpoint_stage(**options: Any) -> Iterator[EndpointStage]:
    opened = EndpointStage(**options)
    try:
        yield opened
    finally:
        opened.close()


def next_message(source: Any, timeout_s: float = WAIT_S) -> Any:
    """Return the next message of a registration or queue."""
    queue: Queue[Any] = getattr(source, "messages", source)
    try:
        return queue.get(timeout=timeout_s)
    except Empty:
        raise AssertionError(f"no message within {timeout_s:g} s") from None


def expect(source: Any, kind: type[Kind], timeout_s: float = WAIT_S) -> Kind:
    """Return the next message of that kind; what comes before it is dropped."""
    until = monotonic() + timeout_s
    seen: list[Any] = []
    while True:
        try:
            message = next_message(source, max(0.0, until - monotonic()))
        except AssertionError:
            raise AssertionError(f"no {kind.__name__}; until then: {seen[-10:]}") from None
        if isinstance(message, kind):
            return message
        seen.append(message)


def rest(source: Any) -> list[Any]:
    """Return what is in a queue now, without waiting."""
    queue: Queue[Any] = getattr(source, "messages", source)
    return [queue.get_nowait() for _ in range(queue.qsize())]


def expect_nothing(source: Any, kind: type = object, quiet_s: float = QUIET_S) -> None:
    """Fail if a message of that kind comes."""
    gevent.sleep(quiet_s)
    found = [message for message in rest(source) if isinstance(message, kind)]
    assert not found, found
