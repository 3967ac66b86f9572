"""The last ends and refusals of a process, and the last ends of each channel. Bounded; never blocks."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from .values import EventsValue, EventValue, Happening

KEPT: Final = 200  # of each of the kinds below: refusals and players come by the thousand
KEPT_ENDS: Final = 10  # of each channel
MAX_CHANNELS: Final = 1000  # the one whose last end is longest ago makes room
_SHELF: Final[dict[Happening, int]] = {
    "publish": 0, "unpublish": 0, "kicked": 0, "play": 1, "stop": 1, "refused": 2, "recorded": 3
}  # fmt: skip
SHELVES: Final = 4
_END: Final = "unpublish"


class History:
    """What happened since the server began, as far back as it is kept; `began_at` is when that was."""

    def __init__(self, worker: str = "", wall_clock: Callable[[], float] = time.time) -> None:
        self._worker = worker
        self._wall_clock = wall_clock
        self.began_at = wall_clock()
        self._last = 0
        self._shelves: list[deque[EventValue]] = [deque(maxlen=KEPT) for _ in range(SHELVES)]
        self._ends: OrderedDict[str, deque[EventValue]] = OrderedDict()

    def add(self, event: EventValue) -> None:
        """Note something; its serial, worker and time are set here."""
        self._last += 1
        event["serial"], event["worker"], event["at"] = self._last, self._worker, self._wall_clock()
        self._keep(event)

    def since(self, serial: int) -> EventsValue:
        """Return what happened after a serial; one that was never given is another process's, thus 0."""
        after = serial if 0 <= serial <= self._last else 0
        events = [event for shelf in self._shelves for event in shelf if event["serial"] > after]
        return {"last": self._last, "events": _sorted(events)}

    def of(self, channel: str) -> EventsValue:
        """Return the last ends of a channel."""
        return {"last": self._last, "events": _sorted(self._ends.get(channel, ()))}

    def snapshot(self) -> dict[str, Any]:
        """Return plain values with which `adopt` goes on in the next process."""
        return {
            "began_at": self.began_at,
            "last": self._last,
            "shelves": [list(shelf) for shelf in self._shelves],
            "ends": [event for kept in self._ends.values() for event in kept],
        }

    def adopt(self, value: dict[str, Any]) -> None:
        """Go on with what another process has kept; whatever happened here comes after all of it."""
        own = _sorted(event for shelf in self._shelves for event in shelf)
        self.began_at, self._last = value["began_at"], value["last"]
        self._ends.clear()
        for shelf in self._shelves:
            shelf.clear()
        for shelf, events in zip(self._shelves, value["shelves"], strict=False):  # others had fewer kinds
            shelf.extend(events)
        for event in value["ends"]:
            self._note_end(event)
        for event in own:
            self._last += 1
            event["serial"] = self._last
            self._keep(event)

    def _keep(self, event: EventValue) -> None:
        self._shelves[_SHELF[event["what"]]].append(event)
        if event["what"] == _END:
            self._note_end(event)

    def _note_end(self, event: EventValue) -> None:
        ends = self._ends.pop(event["channel"], None)
        if ends is None:
            ends = deque(maxlen=KEPT_ENDS)
            if len(self._ends) >= MAX_CHANNELS:
                self._ends.popitem(last=False)
        ends.append(event)
        self._ends[event["channel"]] = ends


def _sorted(events: Iterable[EventValue]) -> list[EventValue]:
    return sorted(events, key=lambda event: event["serial"])
