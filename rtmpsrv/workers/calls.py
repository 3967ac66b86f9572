"""Questions, answers and one-way messages between two processes, over a `Wire`. Both ends are alike.

What is told is handled in the order in which it was sent, and before any answer that was sent after it; what
is asked may block, and is handled in a greenlet of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.pool import Group

from rtmpsrv.errors import AccessDenied, NoRoom, NotThere
from rtmpsrv.log import Logger
from rtmpsrv.server.turns import TURN_REST_S
from rtmpsrv.workers.wire import Wire, WireLost

MAX_CALLS: Final = 20_000  # of the other process that are answered at one time
FINISH_S: Final = 2.0
MAX_BULK_BYTES: Final = 32 << 20  # of large answers on the way; more wait for their turn
MAX_ANSWER_BYTES: Final = 128 << 20  # of one, which goes when nothing else is on the way
BULK_S: Final = 3.0  # for its turn, and then for the line; meanwhile its bytes stay in memory
# Refusals that are answered otherwise than others; what the other end does not know is an AccessDenied there.
_REFUSALS: Final = {one.__name__: one for one in (NoRoom, NotThere)}
_GIVE_WAY_AFTER: Final = 256  # messages, some 5 ms: the timer that it takes is 1 ms of the loop

# Gets the message's arguments, and a list of descriptors if any came; it takes out those that it keeps.
Handler = Callable[..., Any]


class Bulk(NamedTuple):
    """What a handler returns in place of a large answer: it never fills up the line, on which others wait."""

    value: object
    size: int
    otherwise: object  # the answer where its turn does not come


class CallLost(ConnectionError):
    """There is no answer: the other process is gone, too slow, or has failed."""


class NoAnswer(CallLost):
    """The other process is there, and silent."""


class Calls:
    """One end. `serve` reads until the other end is gone; everything else may be called from any greenlet."""

    def __init__(
        self, wire: Wire, log: Logger, tells: Mapping[str, Handler], calls: Mapping[str, Handler]
    ) -> None:
        """Answer with `calls`, which may block and refuse with AccessDenied, and `tells`, which may not."""
        self._wire = wire
        self.log = log
        self._tells = tells
        self._calls = calls
        self._numbers = itertools.count(1)
        self._waiting: dict[int, AsyncResult[Any]] = {}
        self._answering = Group()
        self._turn = Semaphore(1)  # of the next large answer
        self._takes: dict[str, Handler] = {
            "tell": self._take_told,
            "call": self._take_call,
            "yes": self._take_answer,
            "no": self._take_refusal,
            "failed": self._take_failure,
        }

    def tell(self, name: str, *arguments: object, fds: Sequence[int] = ()) -> bool:
        """Send a message that has no answer; False when the other end is gone. Never blocks."""
        return self._wire.post(("tell", 0, name, arguments), fds)

    def call(self, name: str, *arguments: object, timeout_s: float, fds: Sequence[int] = ()) -> Any:
        """Ask, and return the answer. Blocks up to `timeout_s`. Raises CallLost, or AccessDenied."""
        number = next(self._numbers)
        answer: AsyncResult[Any] = AsyncResult()
        self._waiting[number] = answer
        try:
            if not self._wire.post(("call", number, name, arguments), fds):
                raise CallLost(f"{name}: {self._wire.lost}")
            if not answer.wait(timeout_s) and not answer.ready():
                raise NoAnswer(f"{name}: no answer within {timeout_s:g} s")
        finally:
            self._waiting.pop(number, None)
        return answer.get_nowait()

    def serve(self) -> str:
        """Read and act until the other end is gone; return why it is. Whoever waits for it fails. Blocks."""
        reason = "closed"
        try:
            while True:
                for _ in range(_GIVE_WAY_AFTER):
                    self._take(*self._wire.receive())
                gevent.sleep(TURN_REST_S)  # a timer: else others have no turn for up to 50 times as many
        except WireLost as exc:
            reason = str(exc)
        finally:
            self.close(reason)
        return reason

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything was handed to the kernel. Blocks up to `timeout_s`."""
        return self._wire.flush(timeout_s)

    def finish(self) -> None:
        """End the connection as soon as everything was sent. Never blocks."""
        gevent.spawn(self._finish)

    def close(self, reason: str = "closed") -> None:
        """End the connection; whoever waits for an answer is told that there will be none. Idempotent."""
        self._wire.close(reason)
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.set_exception(CallLost(reason))

    def kill_answers(self) -> None:
        """End what the other end has asked for and waits for; the process ends."""
        self._answering.kill(block=False)

    def _finish(self) -> None:
        self._wire.flush(FINISH_S)
        self.close()

    def _take(self, message: Any, fds: list[int]) -> None:
        try:
            kind, number, name, arguments = message
            take = self._takes[kind]
        except (TypeError, ValueError, KeyError):
            _close_all(fds)
            raise WireLost("what came is no message") from None
        take(number, name, arguments, fds)

    def _take_told(self, number: int, name: str, arguments: tuple[Any, ...], fds: list[int]) -> None:
        try:
            handler = self._tells.get(name)
            if handler is not None:  # else it is of a later version, and was not needed by this one
                handler(*arguments, *([fds] if fds else ()))
        except Exception:  # a bug must not end all that goes over this connection
            self.log.exception("%s failed", name)
        finally:
            _close_all(fds)

    def _take_call(self, number: int, name: str, arguments: tuple[Any, ...], fds: list[int]) -> None:
        handler = self._calls.get(name)
        if handler is None or len(self._answering) >= MAX_CALLS:
            _close_all(fds)
            why = f"{name} is not known there" if handler is None else "too many questions at one time"
            self._wire.post(("failed", number, why, ()))
            return
        self._answering.spawn(self._answer, number, name, handler, arguments, fds)
        gevent.sleep(0)  # it has begun before anything is read that was sent later: a withdrawal, perhaps

    def _answer(
        self, number: int, name: str, handler: Handler, arguments: tuple[Any, ...], fds: list[int]
    ) -> None:
        answer: tuple[object, ...] = ("failed", number, "ended", ())
        try:
            value = handler(*arguments, *([fds] if fds else ()))
            if isinstance(value, Bulk):
                value = self._in_turn(value)  # it is posted before anybody else has a turn
            answer = ("yes", number, "", (value,))
        except AccessDenied as exc:
            answer = ("no", number, type(exc).__name__, (exc.code, exc.description, exc.variable))
        except Exception as exc:  # a bug must not end all that goes over this connection
            if not isinstance(exc, CallLost):  # that was another process's failure
                self.log.exception("%s failed", name)
            answer = ("failed", number, f"{name} failed in the other process", ())
        finally:
            _close_all(fds)
            self._wire.post(answer)

    def _in_turn(self, bulk: Bulk) -> object:
        """Return what to answer, as soon as there is room for it on the line. Blocks up to twice `BULK_S`."""
        if bulk.size > MAX_ANSWER_BYTES:
            return bulk.otherwise
        if not self._turn.locked() and self._has_room(bulk):
            return bulk.value
        if self._turn.acquire(timeout=BULK_S):
            try:
                if self._has_room(bulk) or self._wire.flush(BULK_S):
                    return bulk.value
            finally:
                self._turn.release()
        return bulk.otherwise

    def _has_room(self, bulk: Bulk) -> bool:
        return self._wire.waiting_bytes + bulk.size <= MAX_BULK_BYTES

    def _take_answer(self, number: int, name: str, arguments: tuple[Any, ...], fds: list[int]) -> None:
        _close_all(fds)
        if (answer := self._waiting.pop(number, None)) is not None:
            answer.set(arguments[0])

    def _take_refusal(self, number: int, name: str, arguments: tuple[Any, ...], fds: list[int]) -> None:
        _close_all(fds)
        if (answer := self._waiting.pop(number, None)) is not None:
            answer.set_exception(_REFUSALS.get(name, AccessDenied)(*arguments))

    def _take_failure(self, number: int, name: str, arguments: tuple[Any, ...], fds: list[int]) -> None:
        _close_all(fds)
        if (answer := self._waiting.pop(number, None)) is not None:
            answer.set_exception(CallLost(name))


def _close_all(fds: list[int]) -> None:
    while fds:
        close(fds.pop())
