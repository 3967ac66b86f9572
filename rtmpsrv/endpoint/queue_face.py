"""The endpoint behind a queue of requests, for code written in that style: a thin layer over `register`.

Requests are put on `requests`; the reply comes as a message on the request's own queue, before anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import gevent
from gevent.queue import Queue

from .. import log
from . import requests
from .endpoint import RtmpEndpoint
from .inbox import check_queue
from .registrations import PublisherRegistration, WatcherRegistration
from .requests import (
    RegistrationError,
    RegistrationFailure,
    StreamKeyRegistration,
)
from .types import (
    MediaData,
    PublisherMessage,
    WatcherMessage,
)


class RegistrationType(Enum):
    """Which of the two kinds to remove."""

    PUBLISHER = "publisher"
    WATCHER = "watcher"


@dataclass(frozen=True, slots=True)
class RtmpEndpointMediaMessage:
    """Media for the watchers of a key, to be put on a media channel."""

    stream_key: str = field(repr=False)
    data: MediaData


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenForPublishers(requests.ListenForPublishers):
    """Accept publishers; everything about them goes to `message_channel`."""

    message_channel: Queue[Any] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        requests.ListenForPublishers.__post_init__(self)
        check_queue("message_channel", self.message_channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenForWatchers(requests.ListenForWatchers):
    """Accept watchers. `StopIteration` on `media_channel` says that nothing more is sent: the end."""

    notification_channel: Queue[Any] = field(repr=False, compare=False)
    media_channel: Queue[Any] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        requests.ListenForWatchers.__post_init__(self)
        check_queue("notification_channel", self.notification_channel)
        if not isinstance(self.media_channel, Queue):
            raise TypeError(f"media_channel is a queue, not {type(self.media_channel).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRegistration:
    """Remove what was registered through this queue with equal values; without a match nothing happens."""

    registration_type: RegistrationType
    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration
    port: int = requests.DEFAULT_PORT

    def __post_init__(self) -> None:
        if not isinstance(self.registration_type, RegistrationType):
            raise TypeError(f"registration_type is none: {self.registration_type!r}")
        requests.check(self)


@dataclass(frozen=True, slots=True)
class PublisherRegistrationSuccessful:
    """Publishers are accepted from now on, on this port."""

    port: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PublisherRegistrationFailed:
    """They are not; nothing follows."""

    reason: RegistrationFailure


@dataclass(frozen=True, slots=True)
class WatcherRegistrationSuccessful:
    """Watchers are accepted from now on, on this port."""

    port: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class WatcherRegistrationFailed:
    """They are not; nothing follows."""

    reason: RegistrationFailure


Request: TypeAlias = ListenForPublishers | ListenForWatchers | RemoveRegistration
Identity: TypeAlias = tuple[RegistrationType, int, str, StreamKeyRegistration]

__all__ = [
    "ListenForPublishers", "ListenForWatchers", "PublisherMessage", "PublisherRegistrationFailed",
    "PublisherRegistrationSuccessful", "RegistrationType", "RemoveRegistration", "RequestQueue",
    "RtmpEndpointMediaMessage", "WatcherMessage", "WatcherRegistrationFailed",
    "WatcherRegistrationSuccessful",
]  # fmt: skip


class RequestQueue:
    """Reads requests in a greenlet of its own, until it is closed; then all its registrations end."""

    def __init__(self, endpoint: RtmpEndpoint) -> None:
        self.requests: Queue[Any] = Queue()
        self._endpoint = endpoint
        self._handles: dict[Identity, PublisherRegistration | WatcherRegistration] = {}
        self._feeders: dict[int, gevent.Greenlet[..., None]] = {}  # by number of the registration
        self._unsent = log.RateLimited(
            lambda n: log.get("ENDPOINT").warning(
                "%d media messages not sent, the last: %s", n, self._trouble
            )
        )
        self._trouble = ""
        self._reader = gevent.spawn(self._read)

    def __enter__(self) -> RequestQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more requests, and remove all registrations."""
        self._reader.kill()
        for handle in list(self._handles.values()):
            handle.close()
        gevent.killall(list(self._feeders.values()))

    # --- private ----------------------------------------------------------------------------------

    def _read(self) -> None:
        for request in self.requests:
            for kind, handler in _HANDLERS.items():
                if isinstance(request, kind):
                    handler(self, request)
                    break
            else:
                log.get("ENDPOINT").error("%s is no request", type(request).__name__)

    def _listen_for_publishers(self, request: ListenForPublishers) -> None:
        channel = request.message_channel
        self._forget_closed()
        try:
            handle = self._endpoint.register(request, channel)
        except (RegistrationError, TypeError, ValueError) as exc:
            self._fail(channel, PublisherRegistrationFailed(_reason(exc)))
            return
        channel.put(PublisherRegistrationSuccessful(handle.port))  # the first: nothing has switched since
        self._handles[_identity(RegistrationType.PUBLISHER, request, handle.port)] = handle

    def _listen_for_watchers(self, request: ListenForWatchers) -> None:
        channel = request.notification_channel
        self._forget_closed()
        try:
            handle = self._endpoint.register(request, channel)
        except (RegistrationError, TypeError, ValueError) as exc:
            self._fail(channel, WatcherRegistrationFailed(_reason(exc)))
            return
        channel.put(WatcherRegistrationSuccessful(handle.port))
        self._handles[_identity(RegistrationType.WATCHER, request, handle.port)] = handle
        self._feeders[handle.number] = gevent.spawn(self._feed, handle, request.media_channel)

    def _fail(self, channel: Queue[Any], failure: object) -> None:
        """Answer, and end the channel unless another registration has it."""
        channel.put(failure)
        if not self._endpoint.feeds(channel):
            channel.put(StopIteration)

    def _remove(self, request: RemoveRegistration) -> None:
        handle = self._handles.pop(_identity(request.registration_type, request, request.port), None)
        if handle is not None:
            handle.close()
            self._forget_closed()

    def _feed(self, handle: WatcherRegistration, media_channel: Queue[Any]) -> None:
        try:
            for message in media_channel:
                try:
                    if not isinstance(message, RtmpEndpointMediaMessage):
                        raise TypeError(f"{type(message).__name__} is no RtmpEndpointMediaMessage")
                    handle.send(message.stream_key, message.data)
                except (TypeError, ValueError) as exc:  # a key of others, or what RTMP cannot carry
                    self._trouble = str(exc)
                    self._unsent.add()
        finally:
            handle.close()

    def _forget_closed(self) -> None:
        """Drop handles that ended for any reason, and stop their feeders."""
        self._handles = {name: one for name, one in self._handles.items() if one.closed is None}
        open_numbers = {handle.number for handle in self._handles.values()}
        for number in [number for number in self._feeders if number not in open_numbers]:
            self._feeders.pop(number).kill(block=False)


def _identity(
    kind: RegistrationType, request: ListenForPublishers | ListenForWatchers | RemoveRegistration, port: int
) -> Identity:
    return kind, port, request.rtmp_app, request.rtmp_stream_key


def _reason(error: Exception) -> RegistrationFailure:
    """Return why a request was not taken; what it was made of is checked then, so the rest is rare."""
    if isinstance(error, RegistrationError):
        return error.reason
    log.get("ENDPOINT").error("a request cannot be used: %s", error)
    return RegistrationFailure.INVALID_REQUEST


_HANDLERS: dict[type[Request], Callable[[RequestQueue, Any], None]] = {
    ListenForPublishers: RequestQueue._listen_for_publishers,
    ListenForWatchers: RequestQueue._listen_for_watchers,
    RemoveRegistration: RequestQueue._remove,
}
