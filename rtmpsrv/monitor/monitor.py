"""A process that serves, as the web process sees it: one object that answers questions over a line.

What comes is a question's name and its arguments, what goes back is bytes (`packing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gevent.lock import Semaphore

from rtmpsrv.server.turns import Turns

from .actions import Actions, blocked
from .lag import EVERY_S, LoopLag
from .observer import Observer
from .packing import pack, pieces
from .report import Report, Standing
from .values import EventsValue

Answer = Callable[..., object]
# Of what one question names: the web process cannot make a process look for more.
AT_ONCE: Final = frozenset({"kick", "stop", "record", "files"})  # files: a disk may be slow
MAX_NAMES: Final = 10_000


class Monitor:
    """Eyes and hands of one process."""

    def __init__(
        self,
        report: Report,
        actions: Actions,
        observer: Observer,
        standing: Callable[[], Standing],
        turns: Turns,
        worker: str = "",
        closed: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`closed` says which channels nobody may publish, and for how long; of a worker its keeper knows."""
        self._worker = worker
        self._report = report
        self._observer = observer
        self._standing = standing
        self._turns = turns
        self._one = Semaphore()
        self._lag = LoopLag(observer.counted.lag_s.add, EVERY_S)
        self._answers: dict[str, Answer] = {
            "process": lambda: report.process(standing()),
            "names": report.names,
            "channels": lambda names=None: report.channels(_bounded(names)),
            "ids": report.ids,
            "connections": lambda ids=None: report.connections(_bounded(ids)),
            "events": self.events,
            "kick": actions.kick,
            "stop": actions.stop,
            "record": actions.record,
            "files": report.files,
            "blocks": lambda: blocked(closed()),
        }

    def start_watching(self) -> None:
        """Begin to look how late the event loop is. Idempotent, never blocks."""
        self._lag.start()

    def stop_watching(self) -> None:
        """End that. Idempotent, never blocks."""
        self._lag.stop()

    def answer(self, what: str, arguments: Sequence[Any] = ()) -> bytes:
        """Answer a question. Blocks, since it gives way. Raises KeyError for one that is not known.

        Those that give way are answered one after the other: together they would all go on in one round of
        the loop. What is to be done waits for none of them.
        """
        answer = self._answers[what]
        if what in AT_ONCE:
            return packed(answer(*arguments), self._turns)
        with self._one:
            return packed(answer(*arguments), self._turns)

    def events(self, after: dict[str, int], channel: str | None = None) -> EventsValue:
        """Return what happened after what a caller knows, by worker; or the last ends of one channel."""
        history = self._observer.history
        return history.since(after.get(self._worker, 0)) if channel is None else history.of(channel)


def packed(value: object, turns: Turns) -> bytes:
    """Return what travels. Gives way between the pieces of a long list."""
    if not isinstance(value, list):
        return pack(value)
    found: list[bytes] = []
    for piece in pieces(value):
        if found:
            turns.rest(0.0)
        found.append(piece)
    return b"".join(found)


def _bounded(names: list[str] | None) -> list[str] | None:
    return names[:MAX_NAMES] if names is not None else None
