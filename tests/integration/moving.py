"""Whole relays in this process, whose sessions move: frozen, pickled, and resumed in another session.

So do channels, from one relay to another with all their sessions. Real sockets on loopback; what has moved
has descriptors of its own, as it would in another process.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from time import monotonic
from typing import Any

import gevent
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.access.gate import Gate, Grant, PublishRequest
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.refusals import RefusalDelay
from rtmpsrv.client import Client
from rtmpsrv.entrance import Entrance
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.player import Player, PlayerState
from rtmpsrv.live.registry import Registry
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.messages import Message
from rtmpsrv.relay import Relay
from rtmpsrv.room import play_policy
from rtmpsrv.server import host
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.ingest import Ingest
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.session import Session
from rtmpsrv.server.session_state import SessionSettings, SessionState, begin
from rtmpsrv.server.tls_transport import TlsTransport
from rtmpsrv.server.transport import PlainTransport, Transport
from rtmpsrv.server.turns import Turns
from tests.client import AAC_HEADER, AVC_HEADER, SETTINGS, audio, interframe, keyframe, values_of
from tests.unit.server.stage import PATIENCE_S, FakeSlots, eventually

APP, KEY = "live", "key"
CHUNK_SIZE = 4096  # of the server; its clients send chunks of 128 bytes
SMALL_BUFFER = 4096  # bytes, which the kernel doubles
FIRST_MS = 0xFFFFFF - 400  # a few frames on, timestamps need their extended field
FRAME_MS = 33
MARK = amf0.encode("mark")  # what the payload of a data message for synchronisation begins with

Frame = tuple[int, int, bytes]  # type id, timestamp, payload


class Desk:
    """An authority that says yes and notes what has ended."""

    key_names_stream = False

    def __init__(self) -> None:
        self.ended_ids: list[str] = []
        self._numbers = count(1)

    def authorise(self, request: PublishRequest) -> str:
        return f"id-{next(self._numbers)}"

    def ended(self, grant: Grant) -> None:
        self.ended_ids.append(grant.stream_id)

    def wait_idle(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        pass


class Connection:
    """One client and the session that serves it."""

    def __init__(self, house: House, *, small: bool = False, tls: ssl.SSLContext | None = None) -> None:
        near, far = tcp_pair(SMALL_BUFFER if small else None)
        self._house = house
        self.heard: list[Message] = []
        self.near: Any = near
        self._tls: TlsTransport | None = None
        if tls is not None:
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            shaking = gevent.spawn(trusting.wrap_socket, far)
            self._tls = TlsTransport(near, tls, house.parts.budget)
            self._tls.shake_hands()
            far = shaking.get(timeout=PATIENCE_S)
        self.client = Client(far, SETTINGS, "rtmp://127.0.0.1")
        self.logger = log.session_logger("TEST", next(house.numbers))
        facts = host.Client(1, "127.0.0.1", 1935, tls is not None)
        self.run(begin(facts, house.parts.settings, monotonic()))

    def run(self, state: SessionState) -> None:
        transport: Transport = self._tls or PlainTransport(self.near)
        self.state = state
        self.session = Session(state, transport, self._house.relay, self._house.parts, self.logger)
        self.greenlet = gevent.spawn(self.session.run)
        self._house.greenlets.append(self.greenlet)

    def move(self, meanwhile: Callable[[], object] = lambda: None) -> SessionState:
        """Go on in another session, with a copy of the state; return another copy, as it was then."""
        frozen = pickle.dumps(self.session.freeze())
        meanwhile()
        self.go_on(frozen, self._house)
        state: SessionState = pickle.loads(frozen)
        return state

    def go_on(self, frozen: bytes, house: House) -> None:
        """Be served in a house from now on, by what the present session was when it was frozen."""
        greenlet, near = self.greenlet, self.near
        self._house, self.near = house, near.dup()
        self.run(pickle.loads(frozen))
        greenlet.join(PATIENCE_S)
        assert greenlet.dead
        assert near.fileno() >= 0, "the old one leaves the socket alone"
        near.close()

    def send_cut(self, data: bytes, cut: int, meanwhile: Callable[[], object] = lambda: None) -> SessionState:
        """Send some bytes, and the rest when those were read and the session has moved."""
        self.client.socket.sendall(data[:cut])
        read = self.state.bytes_in + cut
        eventually(lambda: self.state.bytes_in >= read, "reading")
        state = self.move(meanwhile)
        self.client.socket.sendall(data[cut:])
        return state

    def sync(self) -> None:
        """Return when the session has acted on everything that was sent."""
        self.client.ping(value := next(self._house.numbers))
        self.hear(lambda message: is_pong(message) and message.payload[2:] == value.to_bytes(4, "big"))
        self.heard.pop()  # of this test's own making

    def hear(self, is_last: Callable[[Message], object]) -> None:
        """Read up to a message."""
        while True:
            message = self.client.read()
            self.heard.append(message)
            if is_last(message):
                return

    def hear_to(self, frame: Frame) -> None:
        self.hear(lambda message: frame_of(message) == frame)

    def hear_status(self, code: str) -> None:
        self.hear(lambda message: code in codes_of([message]))

    @property
    def frames(self) -> list[Frame]:
        """Media and marks that were heard."""
        return frames_of(self.heard)

    @property
    def player(self) -> Player:
        channel = self._house.registry.find(APP)
        assert channel is not None
        return next(one for one in channel.players if one.sink is self.session.outlet)


class Publisher(Connection):
    """A client that keeps what it has published."""

    def __init__(self, house: House, app: str = APP) -> None:
        super().__init__(house)
        self.sent: list[Frame] = []
        self.client.shake_hands()
        self.client.connect(app)
        self._app = app

    def start(self, key: str = KEY) -> None:
        """Go on the air, with headers and a keyframe."""
        self.client.publish(key)
        self.send(self.frame(messages.VIDEO, AVC_HEADER), self.frame(messages.AUDIO, AAC_HEADER))
        self.some(5, opening=True)

    def frame(self, type_id: int, payload: bytes) -> Frame:
        """Make the next frame; it counts as sent from now on."""
        self.sent.append((type_id, FIRST_MS + FRAME_MS * len(self.sent), payload))
        return self.sent[-1]

    def pack(self, frame: Frame, csid: int | None = None) -> bytes:
        """Return a frame as the bytes to send."""
        type_id, timestamp, payload = frame
        msid = self.client.connection.requests.publish_msid
        return pack(csid or type_id, timestamp, type_id, msid, payload, 128)

    def send(self, *frames: Frame) -> None:
        self.client.send_bytes(b"".join([self.pack(frame) for frame in frames]))

    def some(self, number: int = 5, *, opening: bool = False, size: int = 300) -> None:
        """Send video and audio by turns, all different; `opening` with a keyframe."""
        for position in range(number):
            content = len(self.sent).to_bytes(4, "big") + bytes(size)
            video = keyframe(content) if opening and not position else interframe(content)
            self.send(self.frame(messages.VIDEO, video), self.frame(messages.AUDIO, audio(content)))

    def mark(self) -> Frame:
        """Send what players hear in any case, and can read up to."""
        self.send(mark := self.frame(messages.DATA_AMF0, MARK + amf0.encode(float(len(self.sent)))))
        return mark


class House:
    """A relay with all that belongs to it."""

    def __init__(self, *, beside: House | None = None, **limits: Any) -> None:
        """Build one, which shares the book of another if it is `beside` it."""
        clock = LoopClock()
        self._shares_book = beside is not None
        self.numbers: count[int] = count(1) if beside is None else beside.numbers
        self.registry: Registry[str] = Registry(clock, LiveLimits(**limits), 1 << 30, CHUNK_SIZE)
        self.desk: Desk = Desk() if beside is None else beside.desk
        self.gate: Gate = Gate(self.desk) if beside is None else beside.gate
        policy = play_policy(IpRules.parse(""))
        self.relay = Relay(self.registry, self.gate, Entrance(), policy, RefusalDelay())
        settings = SessionSettings(chunk_size=CHUNK_SIZE)
        budget, ingest = self.registry.budget, Ingest(clock)
        self.parts = ServerParts(settings, FakeSlots(), budget, clock, Turns(), ingest, self.numbers)
        self.greenlets: list[gevent.Greenlet[[], None]] = []
        self.connections: list[Connection] = []

    def publisher(self, app: str = APP) -> Publisher:
        self.connections.append(publisher := Publisher(self, app))
        return publisher

    def connect(self, **how: Any) -> Connection:
        """Open a connection that has said nothing."""
        self.connections.append(connection := Connection(self, **how))
        return connection

    def waiting(self, **how: Any) -> Connection:
        """Let somebody wait for the publisher, so that it hears all of it."""
        player = self.connect(**how)
        player.client.shake_hands()
        player.client.connect(APP)
        player.client.play(KEY, msid=1, wait=False)
        player.sync()
        return player

    def move(self, other: House, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Let another house go on with all channels and connections."""
        fds: list[int] = []
        channels = pickle.dumps({one.name: one.snapshot(fds) for one in self.registry})
        frozen = [(one, pickle.dumps(one.session.freeze())) for one in self.connections]
        copies = [os.dup(fd) for fd in fds]
        for channel in self.registry:
            self.registry.abandon(channel.name)
        budget = self.registry.budget.describe()
        assert (len(self.registry), budget["log_bytes"], budget["descriptors"]) == (0, 0, 0)
        meanwhile()
        for name, value in pickle.loads(channels).items():
            other.registry.adopt(name, value, copies)
        for connection, state in frozen:
            connection.go_on(state, other)
        other.connections += self.connections
        self.connections.clear()

    def close(self) -> None:
        """End it all, and see to it that nothing is left of the moves."""
        for connection in self.connections:
            connection.client.close()
        gevent.joinall(self.greenlets, PATIENCE_S)
        for connection in self.connections:
            connection.near.close()
        gevent.sleep(0)  # gevent closes sockets in the next round of its loop
        assert all(greenlet.dead for greenlet in self.greenlets)
        assert (len(self.registry), self.registry.budget.used_bytes) == (0, 0)
        assert (self.parts.ingest.publishers, len(self.parts.ingest)) == (0, 0)
        assert self._shares_book or not self.gate.kill(APP, None, "nobody is left"), (
            "a publication outlived its session"
        )


def hear_all(players: Iterable[Connection], frame: Frame) -> None:
    for player in players:
        player.hear_to(frame)


@contextmanager
def house(beside: House | None = None, **limits: Any) -> Iterator[House]:
    opened, faults = House(beside=beside, **limits), Faults(logging.ERROR)
    logging.getLogger("rtmpsrv").addHandler(faults)
    try:
        yield opened
        opened.close()
    finally:
        logging.getLogger("rtmpsrv").removeHandler(faults)
    assert faults.lines == []


class Faults(logging.Handler):
    """Notes what was logged as a fault of the server's."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def tcp_pair(buffer_bytes: int | None) -> tuple[gsocket.socket, gsocket.socket]:
    """Return both ends of a connection on loopback, the server's first."""
    with gsocket.socket() as listener:
        far = gsocket.socket()
        if buffer_bytes is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        far.connect(listener.getsockname())
        near, _ = listener.accept()
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.settimeout(PATIENCE_S)
    return near, far


def playback_of(state: SessionState) -> PlayerState:
    assert isinstance(state.playback, PlayerState)
    return state.playback


def frame_of(message: Message) -> Frame:
    return message.type_id, message.timestamp, message.payload


def frames_of(heard: list[Message]) -> list[Frame]:
    """Return media and marks, without the data messages that the server begins with."""
    kinds = (messages.AUDIO, messages.VIDEO)
    return [
        frame_of(message) for message in heard if message.type_id in kinds or message.payload.startswith(MARK)
    ]


def is_pong(message: Message) -> bool:
    begin = messages.PING_RESPONSE.to_bytes(2, "big")
    return message.type_id == messages.USER_CONTROL and message.payload.startswith(begin)


def codes_of(heard: list[Message]) -> list[str]:
    """Return the codes of all statuses."""
    commands = [values_of(message) for message in heard if message.type_id == messages.COMMAND_AMF0]
    return [values[3]["code"] for values in commands if values[0] == "onStatus"]
