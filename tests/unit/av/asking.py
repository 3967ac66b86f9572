"""A request over HTTP and its answer, in place of real ones; not a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import gevent
from gevent.event import Event

from rtmpsrv.av.viewing import Channel
from rtmpsrv.errors import PeerLost
from tests.unit.av.test_live_mp4 import Source


class Watched:
    """A channel; each reading of it is a new one, which begins with the same."""

    def __init__(self, make: Callable[[], Source]) -> None:
        self.make = make
        self.readings: list[Source] = []

    def subscribe(self, notify: Callable[[], None]) -> Source:
        one = self.make()
        self.readings.append(one)
        return one.subscribe(notify)


class Viewing:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel


class Request:
    def __init__(
        self, channel: Channel, is_websocket: bool = False, query: Mapping[str, str] | None = None
    ) -> None:
        self.query = query or {}
        self.is_websocket = is_websocket
        self._channel = channel

    def admit(self) -> Viewing:
        return Viewing(self._channel)


class Reply:
    """Writes down what it is told; `left` ends it."""

    def __init__(self) -> None:
        self.left = Event()
        self.news = Event()
        self.said: list[tuple[object, ...]] = []

    def send(
        self, status: int, body: bytes = b"", type: str = "", headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._say("send", status, body, type)

    def begin(self, status: int, type: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._say("begin", status, type)

    def accept(self) -> None:
        self._say("accept")

    def write(self, data: bytes) -> None:
        self._say("write", data)

    def write_text(self, text: str) -> None:
        self._say("text", text)

    def close(self, code: int, why: str) -> None:
        self._say("close", code, why)

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        if not event.is_set():
            gevent.wait([event, self.left], timeout=timeout_s, count=1)
        if self.left.is_set():
            raise PeerLost("the viewer left")
        return event.is_set()

    def hears(self, *what: object) -> None:
        """Wait until it has been told so much as these."""
        with gevent.Timeout(5):
            while [one[0] for one in self.said] != list(what):
                self.news.wait()
                self.news.clear()

    def _say(self, *what: object) -> None:
        self.said.append(what)
        self.news.set()
