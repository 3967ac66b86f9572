"""The new side of a succession: this process takes over what its predecessor hands to it, then serves.

If the predecessor dies on the way, this process serves with what it has got until then, a slice that was not
committed included: nobody else can go on with that. If the predecessor lives and lets go, it has taken
everything back, and this process must end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from posix import close
from time import monotonic
from typing import Any, Final

from ..access.gate import Grant
from ..errors import CannotMove
from ..log import Logger
from ..server.session_state import Frozen, SessionState
from . import schema
from .child import Watched
from .estate import Estate
from .inherited import InheritedAuthority
from .wire import Wire, WireLost

HELLO_S: Final = 10.0  # the predecessor has said it before this process could be started
SUBSCRIBED_S: Final = 2.0  # for Redis; without it a command sent meanwhile is the predecessor's alone
DEATH_S: Final = 1.0  # between the end of a process's sockets and its own

Address = tuple[str, int]


class Abandoned(Exception):
    """The predecessor has let go of this process and goes on itself."""


@dataclass(slots=True)
class _Slice:
    """What was taken over, but not committed yet."""

    number: int
    frozen: list[Frozen] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)


class Successor:
    """Takes over from one predecessor."""

    def __init__(self, wire: Wire, log: Logger, *, patience_s: float) -> None:
        """Prepare; `patience_s` is how long the predecessor may be silent until this process serves."""
        self._wire = wire
        self._log = log
        self._patience_s = patience_s
        self._hello: dict[str, Any] = {}
        self._listening: dict[Address, int] = {}
        self._watched: Watched | None = None
        self._authority = InheritedAuthority(wire)
        self._prepared: _Slice | None = None
        self._sessions = 0
        self._channels = 0

    def greet(self) -> None:
        """Hear who goes before, and receive the sockets that listen. Blocks. Raises WireLost."""
        hello, descriptors = self._receive(HELLO_S)
        if hello.get("kind") != "hello" or len(hello.get("listeners", ())) != len(descriptors):
            raise WireLost(f"{hello.get('kind')!r} is no greeting")
        self._hello = hello
        for (address, port), descriptor in zip(hello["listeners"], descriptors, strict=True):
            self._listening[str(address), int(port)] = descriptor
        try:
            self._watched = Watched(int(hello["pid"]))
        except OSError:
            self._watched = None  # it is gone, or cannot be watched; then it counts as alive

    def take_listening(self, address: str, port: int) -> int | None:
        """Return the descriptor of a socket that listens there, which is the caller's now; None for none."""
        return self._listening.pop((address.strip("[]"), port), None)

    def run(self, estate: Estate, serve: Callable[[], None]) -> None:
        """Take over, call `serve` when it is this process's turn, then do what the predecessor passes on.

        Blocks until the predecessor has left. Raises Abandoned.
        """
        estate.parts.hold.close()
        estate.kills.hold()
        if estate.commands is not None:
            estate.commands.wait_subscribed(SUBSCRIBED_S)
        obstacle = schema.obstacle(self._hello, estate.agreed, schema.clock_identity())
        ready = {
            "kind": "ready",
            "schema": schema.SCHEMA,
            "obstacle": obstacle,
            "reports": estate.reports is not None,
        }
        self._wire.post(ready)
        began = monotonic()
        try:
            self._take_all(estate)
        except WireLost as exc:
            if self._watched is None or not self._watched.has_died(DEATH_S):
                raise Abandoned(str(exc)) from exc
            if self._prepared is not None:
                self._commit(self._prepared, estate)
            self._log.error(
                "succession: process %s has died on the way. What it had not handed over is lost",
                self._hello["pid"],
            )
        self._begin(estate, serve)
        self._tell(
            "took over from process %s: %d sessions, %d channels, in %d ms",
            self._hello["pid"], self._sessions, self._channels, 1000 * (monotonic() - began),
        )  # fmt: skip
        self._follow(estate)

    def close(self) -> None:
        """Give everything back."""
        self._wire.close()
        for descriptor in self._listening.values():
            close(descriptor)
        self._listening.clear()
        if self._watched is not None:
            self._watched.close()
            self._watched = None

    # --- the steps --------------------------------------------------------------------------------

    def _take_all(self, estate: Estate) -> None:
        """Take slices until the predecessor says that it is this process's turn."""
        while True:
            message, descriptors = self._receive(self._patience_s)
            if message["kind"] == "serve":
                estate.numbers.begin_at(int(message["number"]))
                for channel, seconds in message["blocks"].items():
                    estate.gate.block(channel, seconds)
                self._wire.post({"kind": "serving"})
                return
            self._act(message, descriptors, estate)

    def _begin(self, estate: Estate, serve: Callable[[], None]) -> None:
        """Be the server."""
        estate.kills.release()
        estate.kills.before = self._pass_kill
        serve()
        estate.parts.hold.open()

    def _follow(self, estate: Estate) -> None:
        """Take what comes later: sessions that were busy, ends, kills. Until the predecessor has left."""
        try:
            while True:
                message, descriptors = self._receive(None)
                if message["kind"] == "leaving":
                    self._tell("process %s has left", self._hello["pid"])
                    break
                self._act(message, descriptors, estate)
        except WireLost as exc:
            self._log.info("succession: process %s is gone: %s", self._hello["pid"], exc)
        estate.kills.before = None
        if self._authority in estate.tied:
            estate.tied.remove(self._authority)
            estate.link_lost(self._authority)

    def _act(self, message: dict[str, Any], descriptors: list[int], estate: Estate) -> None:
        """Do what one message says."""
        match message["kind"]:
            case "slice":
                self._prepare(message, descriptors, estate)
            case "commit" if self._prepared is not None and self._prepared.number == message["number"]:
                prepared, self._prepared = self._prepared, None
                self._commit(prepared, estate)
            case "stops":
                for grant in message["grants"]:
                    if estate.reports is not None:
                        estate.reports.ended(grant)
            case "kill":
                estate.kills.from_before(message["channel"], message["stream_id"], message["reason"])
            case "link lost":
                estate.link_lost(self._authority)
            case kind:
                raise WireLost(f"{kind!r} is no message")

    def _prepare(self, message: dict[str, Any], descriptors: list[int], estate: Estate) -> None:
        """Build what a slice holds; whoever is in it does not run yet."""
        prepared = _Slice(message["number"])
        states: list[SessionState] = message["sessions"]
        left = descriptors[len(states) :]
        own: list[int] = []
        try:
            for name, value, segments in message["channels"]:
                own, left = left[:segments], left[segments:]
                channel = estate.registry.adopt(name, value, own)
                prepared.channels.append(name)
                estate.tell(channel.take_news())
        except Exception as exc:  # noqa: BLE001 - it must cost this slice only, and goes on where it was
            if isinstance(exc, CannotMove):
                left += own  # it took nothing over
            else:
                self._log.exception("succession: a channel cannot be taken over")
            self._undo(prepared, descriptors[: len(states)] + left, estate)
            self._wire.post({"kind": "refused", "number": prepared.number, "reason": str(exc)})
            return
        for state, descriptor in zip(states, descriptors, strict=False):
            grant = state.publication
            if isinstance(grant, Grant) and grant.serial in message["notes"]:
                state.publication = self._inherit(grant, message["notes"][grant.serial], estate)
                prepared.grants.append(state.publication)
            prepared.frozen.append(Frozen(state, descriptor))
        self._prepared = prepared
        self._wire.post({"kind": "prepared", "number": prepared.number})

    def _inherit(self, grant: Grant, note: dict[str, bool], estate: Estate) -> Grant:
        known: Any = {"killed": note["killed"], "notify": note["notify"]}
        if not note["lent"]:
            return estate.gate.inherit(grant, known)
        if self._authority not in estate.tied:
            estate.tied.append(self._authority)
        own = estate.gate.inherit(grant, known, self._authority)
        self._authority.adopted(own, grant.serial)
        return own

    def _undo(self, prepared: _Slice, descriptors: list[int], estate: Estate) -> None:
        for descriptor in descriptors:
            close(descriptor)
        for name in prepared.channels:
            estate.registry.abandon(name)

    def _commit(self, prepared: _Slice, estate: Estate) -> None:
        """Let them run."""
        for frozen in prepared.frozen:
            estate.listeners[0].adopt(frozen)
        self._sessions += len(prepared.frozen)
        self._channels += len(prepared.channels)

    # --- the wire ---------------------------------------------------------------------------------

    def _receive(self, timeout_s: float | None) -> tuple[dict[str, Any], list[int]]:
        message, descriptors = self._wire.receive(timeout_s)
        if not isinstance(message, dict) or "kind" not in message:
            for descriptor in descriptors:
                close(descriptor)
            raise WireLost("no message")
        return message, descriptors

    def _pass_kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        message = {"kind": "kill", "channel": channel, "stream_id": stream_id, "reason": reason}
        return self._wire.post(message)

    def _tell(self, text: str, *values: object) -> None:
        self._log.info(f"succession: {text}", *values)
