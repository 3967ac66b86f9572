"""One connection to the keeper: of a worker, once it has said its name, or of somebody who only asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rtmpsrv.access.gate import Grant, PublishRequest
from rtmpsrv.log import Logger
from rtmpsrv.workers.calls import CallLost, Calls
from rtmpsrv.workers.wire import Wire

if TYPE_CHECKING:
    from rtmpsrv.workers.keeper import Keeper

DESCRIBE_S: Final = 2.0  # for all workers to answer


class Member:
    """Turns what comes into calls of the keeper's; `asking` is the keeper's."""

    def __init__(self, keeper: Keeper, wire: Wire, log: Logger) -> None:
        self.name = ""  # not known yet
        self.asking: set[int] = set()  # numbers of publications and connections that are not decided yet
        self._keeper = keeper
        self.calls = Calls(
            wire,
            log,
            tells={
                "hello": self._hello,
                "release": self._release,
                "depart": lambda serial: keeper.depart(serial, self.name),
                "retire": keeper.retiring.set,
                "block": lambda channel, seconds: keeper.on_block(channel, seconds),
                "turn_away": lambda *who: keeper.members.tell_all("turn_away", *who),
                "arrived": self._arrived,
                "slot_taken": self._slot_taken,
                "slot_passed_on": keeper.pass_on_connection,
                "slot_over": self._slot_over,
            },
            calls={
                "admit": self._admit,
                "slot": self._slot,
                "ping": lambda: None,
                "held": self._held,
                "describe": lambda: keeper.describe(DESCRIBE_S),
            },
        )

    def describe(self, timeout_s: float) -> Any:
        """Return what the worker says of itself; None when it does not answer. Blocks up to `timeout_s`."""
        try:
            return self.calls.call("describe", timeout_s=timeout_s)
        except CallLost:
            return None

    def sound(self, channel: str, timeout_s: float) -> None:
        """Let the worker look whether the publisher of a channel is gone. Blocks up to `timeout_s`."""
        try:
            self.calls.call("is_free", channel, timeout_s=timeout_s)
        except CallLost as exc:
            why = "publisher not sounded channel=%s worker=%s reason=%s"
            self.calls.log.debug(why, channel, self.name, exc)

    def ask(self, what: str, arguments: tuple[Any, ...], timeout_s: float) -> bytes | None:
        """Return the worker's answer to what the web process asks; None for none. Blocks for `timeout_s`."""
        try:
            answer: bytes = self.calls.call("monitor", what, arguments, timeout_s=timeout_s)
        except CallLost:
            return None
        return answer

    def _held(self) -> list[tuple[Grant, str]]:
        """Tell the next keeper all that this one has; it gets its socket first, if there is one."""
        door = self._keeper.admin_door()
        if door is not None:
            self.calls.tell("door", fds=[door])
        return self._keeper.held(self)

    def _hello(self, name: str, told: dict[str, Any]) -> None:
        self.name = name
        for grant, held in told.get("late", []):
            self._keeper.arrived(self, grant, held)  # those that are not claimed are over at once
        self._keeper.welcome(self, name, told)

    def _admit(self, serial: int, request: PublishRequest) -> Grant:
        return self._keeper.admit(self, serial, request)

    def _slot(self, number: int, address: str) -> str | None:
        return self._keeper.admit_connection(self, number, address)

    def _release(self, serial: int) -> None:
        self.asking.discard(serial)
        self._keeper.release(serial)

    def _slot_over(self, number: int) -> None:
        self.asking.discard(number)
        self._keeper.slots.release(number)

    def _arrived(self, grant: Grant, held: bool) -> None:
        self._keeper.arrived(self, grant, held)

    def _slot_taken(self, number: int, address: str) -> None:
        self._keeper.slots.take(number, address, self.name)
