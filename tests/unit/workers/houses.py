"""Two whole servers in this process, one of which succeeds the other over a real wire."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.access.gate import Gate
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.limits import ConnectionLimits
from rtmpsrv.access.refusals import RefusalDelay
from rtmpsrv.client import Client
from rtmpsrv.entrance import Entrance
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.relay import Relay
from rtmpsrv.room import play_policy
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.http.listener import HttpListener
from rtmpsrv.server.http.site import Site
from rtmpsrv.server.ingest import Ingest
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.session import Session
from rtmpsrv.server.session_state import SessionSettings
from rtmpsrv.server.turns import Turns
from rtmpsrv.workers.estate import Estate, Kills, Numbers
from rtmpsrv.workers.predecessor import Predecessor
from rtmpsrv.workers.successor import Successor
from rtmpsrv.workers.wire import Wire
from tests.client import SETTINGS
from tests.integration.moving import Desk
from tests.unit.server.http.stage import ViewingHost
from tests.unit.server.stage import PATIENCE_S, FakeHost, eventually

CHUNK_SIZE = 4096


class House:
    """One server, on a port that the system chooses or on a descriptor of another's."""

    def __init__(self, descriptor: int | None = None) -> None:
        clock = LoopClock()
        self.desk = Desk()
        registry: Registry[str] = Registry(clock, LiveLimits(), 1 << 30, CHUNK_SIZE)
        gate = Gate(self.desk)
        policy = play_policy(IpRules.parse(""))
        self.relay = Relay(registry, gate, Entrance(), policy, RefusalDelay())
        self.slots = ConnectionLimits(1000, IpRules.parse(""), 1000)
        numbers = Numbers()
        settings = SessionSettings(chunk_size=CHUNK_SIZE)
        parts = ServerParts(settings, self.slots, registry.budget, clock, Turns(), Ingest(clock), numbers)
        self.listener = Listener("127.0.0.1", 0, self.relay, parts, descriptor)
        self.estate = Estate(
            registry, gate, Kills(gate), parts, numbers, [self.listener], {"RTMP_CHUNK_SIZE": CHUNK_SIZE},
            self.relay.tell,
        )  # fmt: skip

    @property
    def sessions(self) -> set[Session]:
        return {one for one in self.listener.sessions if isinstance(one, Session)}

    def close(self) -> None:
        self.listener.close()
        assert self.listener.stop_sessions("the test is over", PATIENCE_S)


def for_viewers(estate: Estate) -> HttpListener:
    """Give a server a port for viewers by HTTP."""
    parts = replace(estate.parts, site=Site(ViewingHost()))
    estate.listeners.append(made := HttpListener("127.0.0.1", 0, FakeHost(), parts))
    return made


class Heir:
    """What the predecessor knows of its successor's process."""

    pid = 4711

    def __init__(self) -> None:
        self.kills = 0
        self.code: int | None = None  # with which it has ended by itself
        self.on_kill: Callable[[], None] = lambda: None

    def kill(self) -> None:
        self.kills += 1
        self.on_kill()

    def ended_with(self, timeout_s: float) -> int | None:
        return self.code


class Handover:
    """An old house with clients, a new one, and the wire between them."""

    def __init__(self, *, start_s: float = PATIENCE_S, linger_s: float = PATIENCE_S) -> None:
        self.old = House()
        self.old.listener.start()
        near, self.far = gsocket.socketpair(gsocket.AF_UNIX)
        self.heir = Heir()
        self.logger = log.get("TEST")
        self.predecessor = Predecessor(
            self.old.estate, self.heir, Wire(near), self.logger, start_s=start_s, linger_s=linger_s
        )
        self.clients: list[Client] = []
        self.new: House | None = None
        self.successor: Successor | None = None
        self.served: list[str] = []
        self._greenlets: list[gevent.Greenlet[..., Any]] = []

    def begin(self) -> gevent.Greenlet[[], bool]:
        """Let the old side run."""
        greenlet = gevent.spawn(self.predecessor.run)
        self._greenlets.append(greenlet)
        return greenlet

    def succeed(self) -> gevent.Greenlet[..., None]:
        """Let the new side run."""
        self.successor = Successor(Wire(self.far), self.logger, patience_s=PATIENCE_S)
        self.successor.greet()
        self.new = House(self.successor.take_listening("127.0.0.1", self.old.listener.port))
        greenlet = gevent.spawn(self.successor.run, self.new.estate, self._serve)
        self._greenlets.append(greenlet)
        return greenlet

    def _serve(self) -> None:
        assert self.new is not None
        self.served.append("new")
        self.new.listener.start()

    def client(self) -> Client:
        sock = gsocket.create_connection(("127.0.0.1", self.old.listener.port), timeout=PATIENCE_S)
        before = len(self.old.sessions)
        self.clients.append(client := Client(sock, SETTINGS, "rtmp://127.0.0.1"))
        eventually(lambda: len(self.old.sessions) > before or not self.old.listener.started)
        return client

    def publisher(self, app: str = "app") -> Client:
        client = self.client()
        client.shake_hands()
        client.connect(app)
        client.publish("key")
        return client

    def player(self, app: str = "app") -> Client:
        client = self.client()
        client.shake_hands()
        client.connect(app)
        client.play("key", msid=1, wait=False)
        eventually(lambda: any(session.role == "player" for session in self.old.sessions))
        return client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        gevent.killall(self._greenlets, timeout=PATIENCE_S)
        if self.successor is not None:
            self.successor.close()
        else:
            self.far.close()
        for house in (self.old, self.new):
            if house is not None:
                house.close()
        gevent.sleep(0)


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
