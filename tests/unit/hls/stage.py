"""A maker of HLS, and the publisher that it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.hls.maker import Maker
from rtmpsrv.hls.pace import Pace
from rtmpsrv.live.budget import Budget
from rtmpsrv.live.lock import lock_of
from rtmpsrv.live.reading import NOWHERE, Batch, Began, Item, Place
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.av import asking
from tests.unit.media.test_mp4_source import INTER, KEY, TONE

WALL_S = 1_800_000_000


class Source(asking.Source):
    """A reading that may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.cannot = False  # be read

    def subscribe(self, notify: Callable[[], None], place: Place = NOWHERE) -> Source:
        if self.cannot:
            raise RuntimeError("a bug")
        super().subscribe(notify, place)
        self.place = place
        return self

    def read(self, most: int = 256) -> Item | None:
        if self.failure is not None:
            raise self.failure
        return super().read(most)


class Stage:
    """Time goes on as frames are sent."""

    def __init__(
        self,
        numbering: Numbering | None = None,
        *,
        fails: bool = False,
        memory: Budget | None = None,
        moved: dict[str, Any] | None = None,
    ) -> None:
        self.now = 100.0
        self.source = Source()
        self.source.cannot = fails
        self.memory = memory or Budget(1 << 30)
        self.asked: list[Question] = []
        self.failure: Exception | None = None
        self.first = b""
        self.work_s = 0.0  # by the clock that tells how long makers work
        self.numbering = numbering or Numbering(WALL_S, "ab1")
        self.media_ms = 0
        self.maker = Maker(
            self.source.subscribe, self.first_part, self.numbering, 8000, self.memory, log.get("HLS"),
            moved=moved, pace=Pace(lambda: self.work_s), now=self.clock, wall=lambda: WALL_S + self.now,
        )  # fmt: skip

    def clock(self) -> float:
        return self.now

    def first_part(self, question: Question) -> bytes:
        self.asked.append(question)
        if self.failure is not None:
            raise self.failure
        return self.first or b"init%d" % len(self.asked)

    def send(self, *items: Item) -> None:
        """Let the maker read these, and do what follows."""
        self.source.items += items
        self.source.notify()
        self.let_run()

    def let_run(self) -> None:
        for _ in range(5):
            gevent.sleep(0)

    def begin(self, number: int = 1, key: bytes | None = None) -> None:
        self.source.lock = lock_of(key)
        self.send(Began(number, self.source.headers, ()))

    def play(self, seconds: float, fps: int = 25, gop: int = 25) -> None:
        """Send pictures and sound."""
        step = 1000 // fps
        for number in range(int(seconds * fps)):
            at = self.media_ms
            self.now += step / 1000
            self.send(
                Batch(
                    [
                        (VIDEO, 0, at, INTER if number % gop else KEY, self.now),
                        (AUDIO, 0, at + 5, TONE, self.now),
                    ]
                )
            )
            self.media_ms += step

    def is_on_air(self) -> bool:
        return self.maker.on_air

    def is_running(self) -> bool:
        return self.maker.is_running

    def close(self) -> None:
        self.maker.close()


class Viewer:
    """Somebody who waits: a test says what happens then."""

    def __init__(self, *happens: Callable[[], None]) -> None:
        self.happens = list(happens)
        self.waited: list[float | None] = []

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        self.waited.append(timeout_s)
        if not self.happens:
            return False
        self.happens.pop(0)()
        return event.is_set()
