"""The new side of a succession: this process takes over what its predecessor hands to it, then serves.

If the predecessor dies on the way, this process serves with what it has got until then, a slice that was not
committed included: nobody else can go on with that. If the predecessor lives and lets go, it has taken
everything back, and this process must end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from posix import close
from time import monotonic
from typing import Any, Final

import gevent
from gevent import socket as gsocket

from ..log import Logger
from . import schema
from .before import Before
from .child import Watched
from .conversation import Conversation, Message
from .estate import Estate
from .wire import Wire, WireLost

HELLO_S: Final = 10.0  # the predecessor has said it before this process could be started
SUBSCRIBED_S: Final = 2.0  # for Redis; without it a command sent meanwhile is the predecessor's alone
DEATH_S: Final = 1.0  # between the end of a process's sockets and its own

Address = tuple[str, int]


class Abandoned(Exception):
    """The predecessor has let go of this process and goes on itself."""


class Successor:
    """Takes over from one predecessor, and from those before it that still have something."""

    def __init__(self, wire: Wire, log: Logger, *, patience_s: float, has_sessions: bool = False) -> None:
        """Prepare; `patience_s` is how long the predecessor may be silent until this process serves.

        One that `has_sessions` of its own gives other numbers to those that it takes over.
        """
        self._has_sessions = has_sessions
        self._talk = Conversation(wire)
        self._log = log
        self._patience_s = patience_s
        self._hello: dict[str, Any] = {}
        self._listening: dict[Address, int] = {}
        self._watched: Watched | None = None
        self._elders: list[Before] = []
        self._greenlets: list[gevent.Greenlet[[], None]] = []

    def greet(self) -> None:
        """Hear who goes before, and receive the sockets that listen. Blocks. Raises WireLost."""
        self._talk.listen()
        hello, descriptors = self._talk.next(HELLO_S)
        if hello["kind"] != "hello" or len(hello.get("listeners", ())) != len(descriptors):
            raise WireLost(f"{hello['kind']!r} is no greeting")
        self._hello = hello
        for (address, port), descriptor in zip(hello["listeners"], descriptors, strict=True):
            self._listening[str(address), int(port)] = descriptor
        with suppress(OSError):  # it is gone, or cannot be watched; then it counts as alive
            self._watched = Watched(int(hello["pid"]))

    def take_listening(self, address: str, port: int) -> int | None:
        """Return the descriptor of a socket that listens there, which is the caller's now; None for none."""
        return self._listening.pop((address.strip("[]"), port), None)

    @property
    def login_secret(self) -> bytes:
        """What the predecessor signs the challenges of logins with; b"" where it does not tell."""
        secret = self._hello.get("login_secret")
        return secret if isinstance(secret, bytes) else b""

    def run(self, estate: Estate, serve: Callable[[], None]) -> None:
        """Take over, call `serve` when it is this process's turn, then do what the predecessor passes on.

        Blocks until the predecessor has left. Raises Abandoned.
        """
        estate.parts.hold.close()
        estate.kills.hold()
        if estate.commands is not None:
            estate.commands.wait_subscribed(SUBSCRIBED_S)
        before = self._before(estate, self._talk, int(self._hello["pid"]))
        before.find = lambda pid: next((one for one in (before, *self._elders) if one.pid == pid), None)
        self._say_ready(estate)
        began = monotonic()
        try:
            self._take_all(estate, before)
        except WireLost as exc:
            if self._watched is None or not self._watched.has_died(DEATH_S):
                before.discard()
                raise Abandoned(str(exc)) from exc
            before.commit()
            self._log.error(
                "succession: process %d has died on the way. What it had not handed over is lost", before.pid
            )
        estate.kills.release()
        serve()
        estate.parts.hold.open()
        self._log.info(
            "succession: took over from process %d: %d sessions, %d channels, in %d ms",
            before.pid, before.sessions, before.channels, 1000 * (monotonic() - began),
        )  # fmt: skip
        self._greenlets += [gevent.spawn(elder.follow) for elder in self._elders]
        before.follow()
        gevent.joinall(self._greenlets)

    def close(self) -> None:
        """Give everything back."""
        gevent.killall(self._greenlets)
        for elder in self._elders:
            elder.talk.close()
        self._talk.close()
        for descriptor in self._listening.values():
            close(descriptor)
        self._listening.clear()
        if self._watched is not None:
            self._watched.close()
            self._watched = None

    # --- private ----------------------------------------------------------------------------------

    def _before(self, estate: Estate, talk: Conversation, pid: int) -> Before:
        return Before(estate, talk, pid, self._log, renumbers=self._has_sessions)

    def _say_ready(self, estate: Estate) -> None:
        ready = {
            "kind": "ready",
            "schema": schema.SCHEMA,
            "obstacle": schema.obstacle(self._hello, estate.agreed, schema.clock_identity()),
            "reports": estate.reports is not None,
        }
        self._talk.tell(ready)

    def _take_all(self, estate: Estate, before: Before) -> None:
        """Take slices until the predecessor says that it is this process's turn."""
        while True:
            message, descriptors = self._talk.next(self._patience_s)
            match message["kind"]:
                case "serve":
                    estate.numbers.begin_at(int(message["number"]))
                    for channel, seconds in message["blocks"].items():
                        estate.gate.block(channel, seconds)
                    for who, seconds in message.get("turned_away", {}).items():  # not of an older version
                        estate.turned_away.add(who, seconds, monotonic())
                    if estate.past is not None and "past" in message:
                        estate.past.adopt(message["past"])
                    if estate.made is not None and "made" in message:
                        estate.made.inherit(message["made"])
                    self._talk.tell({"kind": "serving"})
                    return
                case "elder":
                    self._meet(message, descriptors[0], estate)
                case _:
                    before.act(message, descriptors)

    def _meet(self, message: Message, descriptor: int, estate: Estate) -> None:
        """Talk to a process before the predecessor, as soon as that has the other end."""
        talk = Conversation(Wire(gsocket.socket(fileno=descriptor)))
        self._elders.append(self._before(estate, talk, int(message["pid"])))
        talk.listen()
