"""A session over a pair of sockets, with a host, a budget and a peer that do what a test says."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied, CannotMove
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import ChunkReader, pack
from rtmpsrv.protocol.link import MediaMessage
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.host import Client, Peer
from rtmpsrv.server.ingest import Ingest
from rtmpsrv.server.outlet import Outlet
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.session import Session
from rtmpsrv.server.session_state import SessionSettings, SessionState, begin
from rtmpsrv.server.transport import PlainTransport
from rtmpsrv.server.turns import Turns
from tests.unit.server.far_end import FarEnd
from tests.waiting import eventually as eventually

PATIENCE_S = 5.0  # for what happens at once
CHUNK_SIZE = 4096
HANDSHAKE_SIZE = 1536
MANY = 30  # other publishers: enough for the common timer to read


class FakeBudget:
    """Notes what is held."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, object], int] = {}
        self.calls: list[tuple[str, int]] = []
        self.full = False

    def hold(self, kind: str, holder: object, count: int) -> None:
        self.calls.append((kind, count))
        self.held[kind, holder] = count
        if not count:
            del self.held[kind, holder]

    def held_of(self, kind: str) -> int:
        return sum(count for (held_kind, _), count in self.held.items() if held_kind == kind)

    def admits_publisher(self) -> bool:
        return not self.full


class FakeSlots:
    """Lets everybody in, or nobody."""

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.taken: list[str] = []

    def admit(self, address: str) -> str | None:
        if self.refusal is None:
            self.taken.append(address)
        return self.refusal

    def depart(self, address: str) -> int:
        return 7

    def arrive(self, slot: int, address: str) -> None:
        assert slot == 7
        self.taken.append(address)

    def release(self, address: str) -> None:
        self.taken.remove(address)


class FakeFeed:
    """Media that is handed out as the outlet asks for it."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.at_boundary = True
        self.uncounted_bytes = 0
        self.falls = 0
        self.steps: list[Callable[[], bool | None]] = []  # what is left to do

    def fall_behind(self) -> None:
        self.falls += 1

    def step(self, to_boundary: bool) -> bool | None:
        return self.steps.pop(0)() if self.steps else None


class FakePublication:
    """Keeps what was published."""

    started = "it has begun"
    ended = "it is over"

    def __init__(self, host: FakeHost, messages: list[MediaMessage] | None = None) -> None:
        self.host = host
        self.may_block = host.may_block
        self.messages: list[MediaMessage] = messages if messages is not None else []
        self.ends: list[str] = []
        self.frozen = False
        self.in_hub = 0  # batches that came without a switch
        self.trouble: Exception | None = None

    def append(self, batch: Iterable[MediaMessage]) -> None:
        assert not self.frozen
        if self.trouble is not None:
            raise self.trouble
        self.in_hub += gevent.getcurrent() is gevent.get_hub()
        self.messages += batch

    def payloads(self) -> list[bytes]:
        return [message[3] for message in self.messages]

    def end(self, reason: str) -> None:
        self.ends.append(reason)

    def freeze(self) -> object:
        if self.host.stays:
            raise CannotMove("the host stays")
        self.frozen = True
        return "publication", self.messages


class FakePlayback:
    """Notes what is asked of it."""

    def __init__(self, host: FakeHost, outlet: Outlet) -> None:
        self.host = host
        self.feed = FakeFeed(outlet)
        self.asked: list[object] = []
        self.ends: list[str] = []

    def start(self, audio: bool, video: bool) -> None:
        assert self.feed.outlet.feed is self.feed
        self.asked.append((audio, video))

    def resume(self) -> None:
        self.asked.append("resumed")

    def pause(self, paused: bool) -> None:
        self.asked.append(paused)

    def receive(self, audio: bool, video: bool) -> None:
        self.asked.append((audio, video))

    def end(self, reason: str) -> None:
        self.ends.append(reason)

    def freeze(self) -> object:
        if self.host.stays:
            raise CannotMove("the host stays")
        return "playback", self.asked


class FakeHost:
    """Says yes, unless a test has it say no."""

    def __init__(self) -> None:
        self.denial: AccessDenied | None = None
        self.delay_s = 0.0
        self.delays_for: list[str] = []
        self.may_block = False
        self.stays = False
        self.gate = Event()  # publish waits for it
        self.gate.set()
        self.asked = 0
        self.peers: list[Peer] = []
        self.publications: list[FakePublication] = []
        self.playbacks: list[FakePlayback] = []

    def connect(self, peer: Peer) -> None:
        self.peers.append(peer)

    def publish(self, peer: Peer, name: str | None, msid: int) -> FakePublication:
        self.asked += 1
        self.gate.wait(PATIENCE_S)
        if self.denial is not None:
            raise self.denial
        self.publications.append(FakePublication(self))
        return self.publications[-1]

    def play(self, peer: Peer, name: str | None, msid: int, outlet: Outlet) -> FakePlayback:
        self.asked += 1
        if self.denial is not None:
            raise self.denial
        self.playbacks.append(FakePlayback(self, outlet))
        return self.playbacks[-1]

    def resume_publication(self, peer: Peer, frozen: Any) -> FakePublication:
        assert frozen[0] == "publication"
        if self.denial is not None:
            raise self.denial
        self.publications.append(FakePublication(self, frozen[1]))
        return self.publications[-1]

    def resume_playback(self, peer: Peer, frozen: Any, outlet: Outlet) -> FakePlayback:
        assert frozen[0] == "playback"
        self.playbacks.append(FakePlayback(self, outlet))
        self.playbacks[-1].asked = [*frozen[1], "moved"]
        return self.playbacks[-1]

    def refusal_delay(self, address: str) -> float:
        self.delays_for.append(address)
        return self.delay_s


def make_parts(budget: FakeBudget | None = None, **settings: Any) -> ServerParts:
    clock = LoopClock()
    return ServerParts(
        SessionSettings(**{"chunk_size": CHUNK_SIZE, **settings}),
        FakeSlots(),
        budget or FakeBudget(),
        clock,
        Turns(),
        Ingest(clock),
        count(1),
    )


class Stage(FarEnd):
    """One session that runs, and the other end of its socket."""

    def __init__(
        self, host: FakeHost | None = None, parts: ServerParts | None = None, **settings: Any
    ) -> None:
        self.host = host or FakeHost()
        self.parts = parts or make_parts(**settings)
        self.mine, self.peer = gsocket.socketpair()
        self.peer.settimeout(PATIENCE_S)
        self.logger = log.session_logger("TEST", 7)
        client = Client(7, "192.0.2.1", 1935, False)
        self.run(begin(client, self.parts.settings, LoopClock().now()))
        self.reader = ChunkReader()
        self.waiting: deque[MediaMessage] = deque()
        self._transactions = count(1)

    def run(self, state: SessionState) -> None:
        """Serve the connection, from its beginning or from where another session stopped."""
        self.session = Session(state, PlainTransport(self.mine), self.host, self.parts, self.logger)
        self.greenlet = gevent.spawn(self.session.run)

    @property
    def state(self) -> SessionState:
        return self.session._state

    def close(self) -> None:
        """End it all, and see to it that nothing is left."""
        self.peer.close()
        self.greenlet.join(PATIENCE_S)
        assert self.greenlet.dead, "the session did not end"
        self.mine.close()

    # --- what the peer says -----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.peer.sendall(data)

    def command(self, name: str, *values: Any, msid: int = 0) -> None:
        self.send(command(name, float(next(self._transactions)), *values, msid=msid))

    def shake_hands(self) -> None:
        self.send(b"\x03" + bytes(8) + os.urandom(HANDSHAKE_SIZE - 8))
        answer = self.read(1 + 2 * HANDSHAKE_SIZE)
        self.send(answer[1 : 1 + HANDSHAKE_SIZE])

    def connect(self) -> None:
        self.shake_hands()
        self.command("connect", {"app": "live?token=secret"})
        self.expect("_result")

    def publish(self) -> FakePublication:
        """Go on the air from the beginning."""
        self.connect()
        self.command("publish", None, "key", "live", msid=1)
        assert self.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"
        return self.host.publications[-1]

    def play(self) -> FakePlayback:
        self.connect()
        self.command("play", None, "key", msid=1)
        eventually(lambda: self.host.playbacks)
        eventually(lambda: self.host.playbacks[-1].asked)
        return self.host.playbacks[-1]

    def rest(self, messages: int = 1) -> FakePublication:
        """Bring a publisher to rest with the common timer; where reads are logged that takes two messages."""
        for _ in range(MANY):
            self.parts.ingest.publisher_began()
        publication = self.host.publications[-1]
        for number in range(messages):
            self.send(audio(b"brings it to rest"))
            eventually(lambda: len(publication.messages) == number + 1)  # noqa: B023 - called at once
        eventually(lambda: len(self.parts.ingest), "rest")
        publication.in_hub = 0
        return publication

    def ping(self, value: int) -> None:
        """Ask for an answer that shows how far the session has read."""
        self.send(messages.user_control(messages.PING_REQUEST, value))

    # --- what it hears ----------------------------------------------------------------------------

    def next_message(self) -> MediaMessage | None:
        """Read on until a message has come; None at the end."""
        while not self.waiting:
            data = self.peer.recv(65536)
            if not data:
                return None
            self.waiting += self.reader.feed(data)
        return self.waiting.popleft()

    def expect(self, name: str) -> list[Any]:
        """Read up to the next command of a name; return what follows its transaction id."""
        while (message := self.next_message()) is not None:
            if message[0] == messages.COMMAND_AMF0:
                values = amf0.decode(message[3])
                if values[0] == name:
                    return values[2:]
        raise AssertionError(f"closed without {name}")

    def expect_control(self, event: int) -> int:
        """Read up to the next user control message of a kind; return its value."""
        while (message := self.next_message()) is not None:
            type_id, payload = message[0], message[3]
            if type_id == messages.USER_CONTROL and int.from_bytes(payload[:2], "big") == event:
                return int.from_bytes(payload[2:6], "big")
        raise AssertionError(f"closed without a user control message {event}")


def command(name: str, *values: Any, msid: int = 0) -> bytes:
    return pack(3, 0, messages.COMMAND_AMF0, msid, amf0.encode(name, *values), 128)


def audio(content: bytes, timestamp: int = 0) -> bytes:
    """Pack an audio message of the message stream that these tests publish on."""
    return pack(4, timestamp, messages.AUDIO, 1, b"\xaf\x01" + content, 128)
