"""What a session and a registrant bring to the endpoint, without sockets."""

from __future__ import annotations

from typing import Any

from gevent.queue import Queue

from rtmpsrv import log
from rtmpsrv.endpoint.inbox import Inbox
from rtmpsrv.endpoint.limits import Limits
from rtmpsrv.endpoint.registrations import (
    ChannelName,
    ObserverRegistration,
    PublisherRegistration,
    WatcherRegistration,
)
from rtmpsrv.endpoint.requests import (
    ListenForPublishers,
    ListenForWatchers,
    Observe,
)
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.host import Client

LIMITS = Limits(stall_s=0.0, queue_messages=50)


class Peer:
    """A connected client, as the host knows it."""

    def __init__(self, number: int = 1, app: str = "app", ip: str = "127.0.0.1") -> None:
        self.dropped: list[str] = []
        self.client = Client(number, ip, 1935, False, app)
        self.log = log.get("TEST")
        self.left = False
        self.leaves_when_asked = False

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)

    def dismiss(self, reason: str) -> None:
        self.dropped.append(reason)

    def refuse_play(self, code: str, description: str) -> None:
        raise AssertionError("nobody is refused late here")

    def has_left(self) -> bool:
        return self.left or bool(self.dropped)

    def is_unwanted(self) -> bool:
        raise AssertionError("nobody goes on for another one here")

    def traffic(self) -> tuple[int, int]:
        return 11, 22

    def silence_s(self) -> float:
        raise AssertionError("nobody goes on for another one here")

    def sound(self) -> bool:
        self.left = self.left or self.leaves_when_asked
        return False


class Sink:
    """Where a player's bytes go; its `Outlet`."""

    socket = None
    bytes_out = 0

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.replies: list[bytes] = []
        self.feed: Any = None

    def coalesce(self) -> None:
        pass

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        raise AssertionError("this sink cannot")

    def offer(self, data: bytes) -> bool:
        self.sent.append(data)
        return True

    def reply(self, data: bytes) -> None:
        self.replies.append(data)

    def kick(self) -> None:
        if self.feed is not None:
            while self.feed.step(False):
                pass

    def credit(self, count: int) -> None:
        raise AssertionError("there is no fast lane here")


def inbox(limits: Limits = LIMITS, shared: Inbox | None = None) -> Inbox:
    made = shared or Inbox(Queue(), limits)
    made.registrations += 1
    return made


def registry() -> Registry[ChannelName]:
    return Registry(LoopClock(), LiveLimits(), 1 << 20, 4096)


def publishers(limits: Limits = LIMITS, **request: Any) -> PublisherRegistration:
    box = inbox(limits, request.pop("inbox", None))
    return PublisherRegistration(
        ListenForPublishers(rtmp_app="app", **request), 1, 1935, box, lambda one: None
    )


def observer(limits: Limits = LIMITS, **request: Any) -> ObserverRegistration:
    return ObserverRegistration(Observe(rtmp_app="app", **request), 2, 1935, inbox(limits), lambda one: None)


def watchers(limits: Limits = LIMITS, **request: Any) -> WatcherRegistration:
    return WatcherRegistration(
        ListenForWatchers(rtmp_app="app", **request), 3, 1935, inbox(limits), lambda one: None, registry()
    )


def taken(registration: Any) -> list[Any]:
    queue = registration.messages
    return [queue.get_nowait() for _ in range(queue.qsize())]
