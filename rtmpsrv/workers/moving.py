"""One session from worker to worker: frozen here, going on there; or going on here when that fails.

The other worker is offered the session and says whether it takes it. Nothing goes on there before it is told
that it may, and nothing here after that: at any moment one process at most serves the socket.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time
from typing import Any, Final

from rtmpsrv.errors import AccessDenied, CannotMove
from rtmpsrv.log import Logger
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.served import Served, State
from rtmpsrv.server.session_state import Frozen
from rtmpsrv.workers.calls import CallLost, Handler
from rtmpsrv.workers.estate import home_of
from rtmpsrv.workers.neighbours import Handlers, Neighbours
from rtmpsrv.workers.remote import RemoteSlots
from rtmpsrv.workers.wire import WireLost

ANSWER_S: Final = 2.0  # of the other worker; nobody serves the session meanwhile
MAX_OFFERED: Final = 1000  # by one worker, that wait for its last word


class Moving:
    """Sends sessions off, and takes them in."""

    def __init__(
        self,
        neighbours: Neighbours,
        listeners: list[Listener],
        slots: RemoteSlots,
        numbers: Iterator[int],
        log: Logger,
        room: Callable[[str], int],
    ) -> None:
        """`listeners` is the application's, the first of them plain; `room`: how many more may watch here."""
        self._neighbours = neighbours
        self._listeners = listeners
        self._slots = slots
        self._numbers = numbers
        self._log = log
        self._offers = itertools.count(1)
        self.calls: dict[str, Handler] = {"room": room}  # what other workers may ask besides
        self.is_leaving: Callable[[], bool] = lambda: False  # who is takes nobody in
        neighbours.on_calls = self._handlers

    def room(self, worker: str, channel: str) -> int:
        """Return how many more may watch a channel in another worker, 0 when it does not answer. Blocks."""
        return int(self.ask(worker, "room", channel, timeout_s=ANSWER_S) or 0)

    def ask(self, worker: str, question: str, *arguments: object, timeout_s: float) -> Any:
        """Return another worker's answer, None when there is none. Blocks."""
        try:
            return self._neighbours.line(worker).call(question, *arguments, timeout_s=timeout_s)
        except (WireLost, CallLost) as exc:
            self._log.debug("worker %s was not asked: %s", worker, exc)
            return None

    def move(self, session: Served, worker: str) -> bool:
        """Let a session go on in another worker; False when it stays. Blocks up to `ANSWER_S` and a bit."""
        listener = next((one for one in self._listeners if session in one.sessions), None)
        if listener is None:
            return False
        try:
            line = self._neighbours.line(worker)
            frozen = listener.release(session)
        except (WireLost, CannotMove) as exc:
            self._log.debug("session stays here: %s", exc)
            return False
        offer, moved = next(self._offers), False
        try:
            line.call("offer", offer, frozen.state, timeout_s=ANSWER_S, fds=[frozen.descriptor])
            moved = line.tell("go_on", offer)
            if moved and not line.flush(ANSWER_S):
                line.close()  # what was not handed to the kernel as a whole nobody will ever read
                moved = False
        except (CallLost, AccessDenied) as exc:
            session.log.info("stays here, worker %s did not take it: %s", worker, exc)
        finally:
            if moved:
                close(frozen.descriptor)
                if frozen.state.holds_slot:
                    self._slots.passed_on(frozen.state.slot, worker)
                session.log.info("moved to worker %s", worker)
            else:
                line.tell("forget", offer)
                listener.adopt(frozen)
        return moved

    # --- asked by other workers -------------------------------------------------------------------

    def _handlers(self) -> Handlers:
        offered: dict[int, Frozen] = {}

        def offer(number: int, state: State, fds: list[int]) -> None:
            if self.is_leaving():
                raise AccessDenied("", "this worker is being replaced")
            if len(offered) >= MAX_OFFERED:
                raise AccessDenied("", "too many sessions are on the way")
            offered[number] = Frozen(state, fds.pop())

        def go_on(number: int) -> None:
            frozen = offered.pop(number)
            frozen.state.client.number = next(self._numbers)
            home_of(frozen.state, self._listeners).adopt(frozen)

        def forget(number: int) -> None:
            if number in offered:
                close(offered.pop(number).descriptor)

        def over() -> None:
            for number in list(offered):
                forget(number)

        return {"go_on": go_on, "forget": forget}, {"offer": offer, **self.calls}, over
