"""A channel, a request over HTTP and its answer, in place of real ones; not a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import gevent
from gevent.event import Event

from rtmpsrv.errors import PeerLost
from rtmpsrv.live.budget import WINDOWS, Holder
from rtmpsrv.live.reading import NOWHERE, Item, Place
from tests.unit.media.test_mp4_source import HEADERS


class Source:
    """A reading that gives what a test puts into it."""

    def __init__(self) -> None:
        self.is_closed = False
        self.headers: tuple[tuple[int, bytes], ...] = HEADERS
        self.items: list[Item] = []
        self.notify: Callable[[], None] = lambda: None
        self.place: Place = NOWHERE
        self.places: list[Place] = []  # that were subscribed to
        self.lock: bytes | None = None

    def subscribe(self, notify: Callable[[], None], place: Place = NOWHERE) -> Source:
        self.notify = notify
        self.is_closed = False
        self.places.append(place)
        return self

    def allow(self, lag_bytes: int, lag_s: float) -> None:
        """It has what it has."""

    def read(self, most: int = 0) -> Item | None:
        return self.items.pop(0) if self.items else None

    def close(self) -> None:
        self.is_closed = True

    def send(self, *items: Item) -> None:
        self.items += items
        self.notify()


class Memory:
    """Counts what is held."""

    def __init__(self) -> None:
        self.held: dict[Holder, int] = {}
        self.pressed = False

    def hold(self, kind: str, holder: Holder, count: int) -> None:
        assert kind == WINDOWS
        self.held[holder] = count
        if not count:
            del self.held[holder]

    def is_pressed(self, kind: str) -> bool:
        assert kind == WINDOWS
        return self.pressed

    @property
    def used(self) -> int:
        return sum(self.held.values())


class Watched:
    """A channel; each reading of it is a new one, which begins with the same."""

    def __init__(self, make: Callable[[], Source], name: str = "channel") -> None:
        self.make = make
        self.name = name
        self.readings: list[Source] = []

    def subscribe(self, notify: Callable[[], None], place: Place = NOWHERE) -> Source:
        one = self.make()
        self.readings.append(one)
        return one.subscribe(notify, place)


class Viewing:
    def __init__(self, name: str, key: str | None) -> None:
        self.name, self.key = name, key


class Request:
    def __init__(
        self,
        channel: str,
        is_websocket: bool = False,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> None:
        self.query = query or {}
        self.is_websocket = is_websocket
        self.peer = self
        self.dropped: list[str] = []
        self._channel, self._key = channel, key

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)

    def admit(self) -> Viewing:
        return Viewing(self._channel, self._key)


class Reply:
    """Writes down what it is told; `left` ends it."""

    def __init__(self) -> None:
        self.left = Event()
        self.news = Event()
        self.said: list[tuple[object, ...]] = []
        self.headers: list[tuple[str, str]] = []  # of all answers

    def send(
        self, status: int, body: bytes = b"", type: str = "", headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.headers += headers
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
