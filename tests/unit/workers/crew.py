"""Whole workers on one hub, each with a port, and a keeper that all are connected to through the folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.limits import ConnectionLimits
from rtmpsrv.access.refusals import RefusalDelay
from rtmpsrv.access.second_publisher import SecondPolicy
from rtmpsrv.client import Client
from rtmpsrv.entrance import Entrance
from rtmpsrv.live import output
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.messages import Message
from rtmpsrv.relay import Relay
from rtmpsrv.room import play_policy
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.ingest import Ingest
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.session_state import SessionSettings
from rtmpsrv.server.turns import Turns
from rtmpsrv.workers import doors
from rtmpsrv.workers.estate import Estate, Numbers
from rtmpsrv.workers.membership import Membership
from tests.client import AVC_HEADER, SETTINGS, interframe, keyframe, values_of
from tests.unit.workers.lines import PATIENCE_S, Faults, eventually
from tests.unit.workers.stage import Cluster

APP, KEY = "news", "key"
PER_ADDRESS = 50
RETURN_S = 0.2  # that a channel that has come from elsewhere is kept for its players


class Hand:
    """One worker of the crew."""

    def __init__(self, name: str, folder: Path, spread: int, second: SecondPolicy | None) -> None:
        clock = LoopClock()
        limits = ConnectionLimits(PER_ADDRESS, IpRules.parse(""), 1000)
        self.name = name
        self.registry: Registry[str] = Registry(clock, LiveLimits(merge_messages=1), 1 << 30, 4096)
        self.membership = Membership(name, str(folder), limits, PATIENCE_S, log.get("WORKER"))
        self.relay = Relay(
            self.registry,
            self.membership.gate,
            Entrance(second=second),
            play_policy(IpRules.parse("")),
            RefusalDelay(),
        )
        numbers = Numbers()
        self.parts = ServerParts(
            SessionSettings(),
            self.membership.slots,
            self.registry.budget,
            clock,
            Turns(),
            Ingest(clock),
            numbers,
        )
        self.listeners = [Listener("127.0.0.1", 0, self.relay, self.parts)]
        self.estate = Estate(
            self.registry,
            self.membership.gate,
            self.membership.kills,
            self.parts,
            numbers,
            self.listeners,
            {},
            self.relay.tell,
        )
        self.membership.join(self.relay, self.estate, spread, self.registry.describe)
        self.membership.start()
        self.listeners[0].start()

    @property
    def players(self) -> int:
        channel = self.registry.find(APP)
        return len(channel.players) if channel is not None else 0

    def dial(self) -> Client:
        """Open a connection that is known as an application's."""
        sock = gsocket.create_connection(("127.0.0.1", self.listeners[0].port), timeout=PATIENCE_S)
        client = Client(sock, SETTINGS, "rtmp://127.0.0.1")
        client.shake_hands()
        client.connect(APP)
        return client

    def die(self) -> None:
        """Be gone as after a kill: sockets are closed, and nobody is told."""
        self.membership.elsewhere.close()
        self.membership.neighbours.close()
        self.membership.link.close()
        self.listeners[0].close()
        self.listeners[0].stop_sessions("the test is over", PATIENCE_S)


class Crew:
    """A keeper and its workers."""

    def __init__(
        self, folder: Path, *, spread: int = 300, number: int = 2, second: SecondPolicy | None = None
    ) -> None:
        self.folder = folder
        self.cluster = Cluster(folder, per_address=PER_ADDRESS)
        self.open_keeper()
        self.hands = [Hand(f"w{position + 1}", folder, spread, second) for position in range(number)]
        self.clients: list[Client] = []
        eventually(lambda: len(self.cluster.keeper.members) == number, "all connected")

    def open_keeper(self) -> None:
        self.cluster.keeper.listen(doors.listen(doors.path_of(str(self.folder), doors.KEEPER)))

    def publish(self, hand: Hand, key: str = KEY) -> Publisher:
        publisher = Publisher(hand.dial())
        self.clients.append(publisher.client)
        publisher.client.publish(key)
        publisher.send(AVC_HEADER, keyframe(b"first"))
        return publisher

    def play(self, hand: Hand, key: str = KEY) -> Watcher:
        watcher = Watcher(hand.dial())
        self.clients.append(watcher.client)
        watcher.client.play(key, msid=1, wait=False)
        return watcher

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for hand in self.hands:
            eventually(lambda hand=hand: not hand.listeners[0].sessions, "sessions over")  # type: ignore[misc]
            eventually(lambda hand=hand: not hand.membership.slots.held(), "slots back")  # type: ignore[misc]
            eventually(lambda hand=hand: len(hand.registry) == 0, "channels over")  # type: ignore[misc]
            eventually(lambda hand=hand: not hand.registry.budget.used_bytes, "memory")  # type: ignore[misc]
            hand.die()
        self.cluster.close()


class Publisher:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.sent = 0

    def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            msid = self.client.connection.requests.publish_msid
            self.client.send_bytes(pack(6, self.sent * 40, messages.VIDEO, msid, payload, 128))
            self.sent += 1

    def some(self, count: int = 5) -> list[bytes]:
        payloads = [interframe(b"%d" % (self.sent + number)) for number in range(count)]
        self.send(*payloads)
        return payloads


class Watcher:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[Message] = []

    def hear(self, is_last: Callable[[Message], object]) -> Message:
        while True:
            message = self.client.read()
            self.heard.append(message)
            if is_last(message):
                return message

    def hear_video(self, payload: bytes) -> None:
        self.hear(lambda message: message.type_id == messages.VIDEO and message.payload == payload)

    def hear_status(self, code: str) -> Any:
        return self.hear(
            lambda message: message.type_id == messages.COMMAND_AMF0 and code in str(values_of(message))
        )

    @property
    def videos(self) -> list[bytes]:
        return [message.payload for message in self.heard if message.type_id == messages.VIDEO]


@contextmanager
def crew(folder: Path, **how: Any) -> Iterator[Crew]:
    """Give one, and see to it that nothing went wrong unseen."""
    faults = Faults()
    logging.getLogger("rtmpsrv").addHandler(faults)
    output.RETURN_S, before = RETURN_S, output.RETURN_S  # type: ignore[misc]
    made = Crew(folder, **how)
    try:
        yield made
        made.close()
    finally:
        logging.getLogger("rtmpsrv").removeHandler(faults)
        output.RETURN_S = before  # type: ignore[misc]
        for client in made.clients:
            client.close()
        for hand in made.hands:
            hand.die()
        made.cluster.keeper.leave()
        gevent.sleep(0)
    assert faults.lines == []
