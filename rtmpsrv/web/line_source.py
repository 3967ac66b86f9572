"""The facts from those who have them: over the line to the process that has started this one.

Nothing is kept: who asks gets what is so now. Only those who ask the same at the same time share an answer,
and whoever asks without an end waits for a turn: the process that serves has streams to care for.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore

from rtmpsrv.errors import AccessDenied
from rtmpsrv.log import Logger
from rtmpsrv.monitor.packing import unpack
from rtmpsrv.monitor.values import (
    ChannelValue,
    ConnectionValue,
    EventsValue,
    FileValue,
    Kind,
    ProcessValue,
)
from rtmpsrv.web.merging import merge_channels
from rtmpsrv.web.source import Gathered, Happened, Listed
from rtmpsrv.workers.calls import CallLost

ANSWER_S: Final = 2.0  # for a process that serves
TRAVEL_S: Final = 1.0  # more, for the answers of all to arrive
AT_ONCE: Final = 4  # questions on their way
REST: Final = 3  # times as long as an answer took, before its place is free for the next question
LONGEST_REST_S: Final = 1.0
KEEPER: Final = "keeper"  # a process without clients

Value = TypeVar("Value")


class Asking(Protocol):
    """The line."""

    def call(self, name: str, *arguments: object, timeout_s: float) -> Any:
        """Ask, and return the answer. Blocks up to `timeout_s`. Raises CallLost."""


class Answers(NamedTuple):
    """What each process has said; who has said nothing."""

    by_name: dict[str, Any]
    missing: list[str]


NOBODY: Final = Answers({}, [""])


class LineSource:
    """Asks; see `Source`. Blocks up to five seconds, raises nothing."""

    def __init__(self, line: Asking, log: Logger) -> None:
        self._line = line
        self._log = log
        self._asked: dict[Hashable, AsyncResult[Answers]] = {}
        self._slots = Semaphore(AT_ONCE)

    def processes(self) -> Gathered[ProcessValue]:
        """Return a value for each process, by name."""
        answers = self._ask("process")
        in_order = sorted(answers.by_name)
        return Gathered([answers.by_name[name] for name in in_order], answers.missing, in_order)

    def names(self) -> Gathered[str]:
        """Return the names of all channels, in order: far cheaper than what is to be known of them."""
        answers = self._ask("names")
        return _gathered(sorted(set(_all_of(answers))), answers)

    def channels(self, names: Sequence[str] | None = None) -> Gathered[ChannelValue]:
        """Return these channels, or all, by name: one value each, in however many processes it is."""
        answers = self._ask("channels", None if names is None else tuple(names))
        return _gathered(merge_channels(_all_of(answers)), answers)

    def ids(self) -> Gathered[tuple[str, Kind]]:
        """Return the ids and kinds of all connections, by their numbers."""
        answers = self._ask("ids")
        numbered: list[tuple[int, str, Kind]] = sorted(_all_of(answers))
        return _gathered([(one, kind) for _number, one, kind in numbered], answers)

    def connections(self, ids: Sequence[str] | None = None) -> Gathered[ConnectionValue]:
        """Return these connections, or all, in the order in which they came."""
        answers = self._ask("connections", None if ids is None else tuple(ids))
        found: list[ConnectionValue] = _all_of(answers)
        found.sort(key=lambda one: (one["created_at"], one["worker"], one["number"]))
        return _gathered(found, answers)

    def events(self, after: Mapping[str, int], channel: str | None = None) -> Happened:
        """Return what happened after these serials; all that is remembered of a process not named."""
        answers = self._ask("events", dict(after), channel)
        told: dict[str, EventsValue] = answers.by_name
        events = sorted(
            (event for value in told.values() for event in value["events"]),
            key=lambda event: (event["at"], event["worker"], event["serial"]),
        )
        last = dict(after) | {name: value["last"] for name, value in told.items()}
        return Happened(events, answers.missing, _serving(answers), last)

    def kick(self, connection: str, block_s: float, reason: str) -> Gathered[bool | None]:
        """End a connection, and refuse its like for so long; any True: it was there."""
        return self._do("kick", connection, block_s, reason)

    def stop(self, channel: str, block_s: float | None, reason: str) -> Gathered[bool | None]:
        """End the publication of a channel, and let nobody publish it for so long; any True: it was there."""
        return self._do("stop", channel, block_s, reason)

    def record(self, channel: str, wanted: bool, form: str) -> Gathered[bool]:
        """Begin to record a channel, or end that; any True: it is published, or was recorded."""
        answers = self._ask_all("record", (channel, wanted, form))
        return _gathered([answers.by_name[name] for name in sorted(answers.by_name)], answers)

    def blocks(self) -> Gathered[tuple[str, float]]:
        """Return the channels that nobody may publish, and until when."""
        answers = self._ask("blocks")
        return _gathered(sorted(dict(_all_of(answers)).items()), answers)

    def files(self, channel: str) -> Listed:
        """Return the files of recordings, the oldest first; processes that serve have one folder.

        Of a file that is written now the process that does so says the most.
        """
        answers = self._ask("files", channel)
        troubles = [said for said in answers.by_name.values() if isinstance(said, str)]
        lists = {name: said for name, said in answers.by_name.items() if not isinstance(said, str)}
        told = sorted(_all_of(Answers(lists, [])), key=lambda one: one["size_bytes"])
        found: dict[str, FileValue] = {one["file"]: one for one in told}
        in_order = sorted(found.values(), key=lambda one: (one["began_at"], one["file"]))
        return Listed(in_order, answers.missing, _serving(answers), troubles[0] if troubles else "")

    # --- private ----------------------------------------------------------------------------------

    def _do(self, what: str, *arguments: object) -> Gathered[bool | None]:
        answers = self._ask_all(what, arguments)
        return _gathered([answers.by_name[name] for name in sorted(answers.by_name)], answers)

    def _ask(self, what: str, *arguments: object) -> Answers:
        """Ask, or wait for the answer to the same question that somebody has asked before."""
        key = (what, repr(arguments))
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = AsyncResult()
            # In a greenlet of its own: who asked first may leave, and others wait for the answer too.
            gevent.spawn(self._answer, key, asked, what, arguments)
        return asked.get() or NOBODY

    def _answer(
        self, key: Hashable, asked: AsyncResult[Answers], what: str, arguments: tuple[object, ...]
    ) -> None:
        """Ask when it is time; the top of a greenlet."""
        answers = NOBODY
        try:
            if self._slots.acquire(timeout=ANSWER_S):
                began = monotonic()
                try:
                    answers = self._ask_all(what, arguments)
                finally:
                    # Who serves streams is not to be busy with us for more than a part of the time.
                    took_s = monotonic() - began if not answers.missing else 0.0
                    gevent.spawn_later(min(REST * took_s, LONGEST_REST_S), self._slots.release)
        except Exception as exc:  # noqa: BLE001 - a bug: the caller's page is one without facts
            self._log.error("%s failed: %s", what, type(exc).__name__)
        finally:
            del self._asked[key]
            asked.set(answers)

    def _ask_all(self, what: str, arguments: tuple[object, ...]) -> Answers:
        try:
            packed: dict[str, bytes | None] = self._line.call(
                "ask", what, arguments, ANSWER_S, timeout_s=ANSWER_S + TRAVEL_S
            )
        except (CallLost, AccessDenied):
            return NOBODY
        found, missing = {}, []
        for name, answer in sorted(packed.items()):
            if answer is None:
                missing.append(name)
                continue
            try:
                found[name] = unpack(answer)
            except Exception as exc:  # noqa: BLE001 - of another version perhaps
                self._log.error("%s: what %s says is not understood: %s", what, name, type(exc).__name__)
                missing.append(name)
        return Answers(found, missing)


def _all_of(answers: Answers) -> list[Any]:
    return [value for name in sorted(answers.by_name) for value in answers.by_name[name]]


def _gathered(values: list[Value], answers: Answers) -> Gathered[Value]:
    return Gathered(values, answers.missing, _serving(answers))


def _serving(answers: Answers) -> list[str]:
    """Name those that answered and have clients: where it is the keeper alone, nothing is known."""
    return sorted(name for name in answers.by_name if name != KEEPER)
