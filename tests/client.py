"""The client of the tests: `rtmpsrv.client`, made to say whatever it is told, in whatever order.

It reads every message, answers nothing by itself and stays at chunks of 128 bytes, as many real clients do.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from time import monotonic
from typing import Any

from rtmpsrv.client import Client as RtmpClient
from rtmpsrv.client import ClientSettings
from rtmpsrv.errors import ConnectionClosed
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import basic_header, pack
from rtmpsrv.protocol.handshake import HANDSHAKE_SIZE
from rtmpsrv.protocol.messages import Message
from rtmpsrv.protocol.state import Phase

TIMEOUT_S = 5.0  # for anything the server owes us at once
SETTINGS = ClientSettings(answer_s=TIMEOUT_S, chunk_size=128, every_message=True, courteous=False)
Closed = ConnectionClosed

AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f\xff avcC"
AAC_HEADER = bytes.fromhex("af00") + b"\x12\x10"
METADATA = amf0.encode("@setDataFrame", "onMetaData", {"width": 640.0, "height": 360.0})
END_OF_STREAM = messages.user_control(messages.STREAM_EOF, 1)[12:]


def keyframe(content: bytes) -> bytes:
    return bytes.fromhex("1701000000") + content


def interframe(content: bytes) -> bytes:
    return bytes.fromhex("2701000000") + content


def audio(content: bytes) -> bytes:
    return bytes.fromhex("af01") + content


def chunks_of(
    csid: int, timestamp: int, type_id: int, msid: int, payload: bytes, size: int = 128
) -> list[bytes]:
    """Cut a message into its chunks, so that a test may put others between them."""
    extended = timestamp.to_bytes(4, "big") if timestamp >= 0xFFFFFF else b""
    stamp = min(timestamp, 0xFFFFFF).to_bytes(3, "big")
    first = basic_header(0, csid) + stamp + len(payload).to_bytes(3, "big") + bytes((type_id,))
    first += msid.to_bytes(4, "little") + extended
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
    return [first + pieces[0]] + [basic_header(3, csid) + extended + piece for piece in pieces[1:]]


class Client:
    """One connection. `written` counts the bytes sent after the handshake."""

    def __init__(
        self, port: int, host: str = "127.0.0.1", source: str | None = None, receive_buffer: int = 0
    ) -> None:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                sock.bind((source, 0))
            sock.settimeout(TIMEOUT_S)
            sock.connect((host, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            raise
        self.rtmp = RtmpClient(sock, SETTINGS)
        self._unwritten = 0  # bytes that do not count: the handshake
        self._fences = 0x7E570000

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.rtmp.close()

    @property
    def socket(self) -> socket.socket:
        return self.rtmp.socket

    @socket.setter
    def socket(self, wrapped: socket.socket) -> None:
        self.rtmp.socket = wrapped

    @property
    def written(self) -> int:
        return self.rtmp.sent_bytes - self._unwritten

    @property
    def waiting(self) -> deque[Message]:
        """The messages that were received and not read yet."""
        return self.rtmp.inbox.messages

    # --- bytes --------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.rtmp.send_bytes(data)

    def receive(self, count: int) -> bytes:
        """Read so many raw bytes; Closed if there are fewer."""
        data = b""
        self.socket.settimeout(TIMEOUT_S)
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionError as exc:
                raise Closed(str(exc)) from exc
            if not more:
                raise Closed("end of stream")
            data += more
        return data

    def shake_hands(self, c1: bytes | None = None, version: int = 3) -> tuple[bytes, bytes]:
        """Do the whole handshake, with any C1; return S1 and S2."""
        c1 = c1 or bytes(8) + os.urandom(HANDSHAKE_SIZE - 8)
        self.send(bytes((version,)) + c1)
        answer = self.receive(1 + 2 * HANDSHAKE_SIZE)
        assert answer[0] == 3
        s1, s2 = answer[1 : 1 + HANDSHAKE_SIZE], answer[1 + HANDSHAKE_SIZE :]
        self.send(s1)
        self.rtmp.connection.phase = Phase.OPEN
        self._unwritten = self.rtmp.sent_bytes
        return s1, s2

    # --- messages out -------------------------------------------------------------------------------

    def message(self, type_id: int, payload: bytes, timestamp: int = 0, msid: int = 0, csid: int = 3) -> None:
        self.send(pack(csid, timestamp, type_id, msid, payload, 128))

    def command(self, name: str, *values: Any, msid: int = 0, transaction: float | None = None) -> float:
        """Send a command; `values` begin with the command object. Returns the transaction id."""
        if transaction is None:
            self.rtmp.connection.transactions += 1
            transaction = float(self.rtmp.connection.transactions)
        payload = amf0.encode(name, transaction, *values)
        self.message(messages.COMMAND_AMF0, payload, msid=msid)
        return transaction

    def video(self, timestamp: int, payload: bytes, msid: int = 1, csid: int = 6) -> None:
        self.message(messages.VIDEO, payload, timestamp, msid, csid)

    def audio(self, timestamp: int, payload: bytes, msid: int = 1, csid: int = 4) -> None:
        self.message(messages.AUDIO, payload, timestamp, msid, csid)

    def data(self, *values: Any, timestamp: int = 0, msid: int = 1) -> None:
        self.message(messages.DATA_AMF0, amf0.encode(*values), timestamp, msid, 4)

    def metadata(self) -> None:
        self.message(messages.DATA_AMF0, METADATA, 0, 1, 4)

    # --- messages in --------------------------------------------------------------------------------

    def read(self, timeout_s: float = TIMEOUT_S) -> Message:
        """Return the next message; TimeoutError after `timeout_s`, Closed at the end."""
        return self.rtmp.read(timeout_s)

    def read_until(
        self, wanted: Callable[[Message], bool], timeout_s: float = TIMEOUT_S
    ) -> tuple[list[Message], Message]:
        """Return what came before the first message that is wanted, and that message."""
        before: list[Message] = []
        until = monotonic() + timeout_s
        while True:
            try:
                message = self.read(until - monotonic())
            except (TimeoutError, Closed) as exc:
                raise type(exc)(f"{exc}; until then: {names_of(before[-20:])}") from exc
            if wanted(message):
                return before, message
            before.append(message)

    def expect_command(self, name: str) -> list[Any]:
        """Return the values behind the name of the next such command; what comes before it is dropped."""
        _, message = self.read_until(lambda one: values_of(one)[:1] == [name])
        return values_of(message)[1:]

    def expect_status(self, code: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Return the information object of the next onStatus, with its `msid`; it must be of that code."""
        _, message = self.read_until(lambda one: values_of(one)[:1] == ["onStatus"], timeout_s)
        values = values_of(message)
        assert values[3]["code"] == code, values
        assert values[1:3] == [0.0, None]
        return dict(values[3]) | {"msid": message.msid}

    def expect_closed(self, timeout_s: float = TIMEOUT_S) -> list[Message]:
        """Return what still comes until the server closes."""
        rest: list[Message] = []
        until = monotonic() + timeout_s
        try:
            while True:
                rest.append(self.read(until - monotonic()))
        except Closed:
            return rest

    def fence(self) -> list[Message]:
        """Ask for a pong; return what comes before it. What is not there by then was not sent."""
        self._fences += 1
        value = self._fences
        self.send(messages.user_control(messages.PING_REQUEST, value))
        pong = messages.user_control(messages.PING_RESPONSE, value)[12:]
        before, _ = self.read_until(lambda one: one.type_id == messages.USER_CONTROL and one.payload == pong)
        return before

    # --- sequences ----------------------------------------------------------------------------------

    def connect(self, app: str) -> Client:
        """Shake hands and connect."""
        self.shake_hands()
        transaction = self.ask_connect(app)
        assert self.expect_command("_result")[0] == transaction
        return self

    def ask_connect(self, app: str, **properties: Any) -> float:
        return self.command("connect", {"app": app, "tcUrl": f"rtmp://test/{app}"} | properties)

    def create_stream(self) -> int:
        transaction = self.command("createStream", None)
        values = self.expect_command("_result")
        assert values[0] == transaction
        return int(values[2])

    def ask_publish(self, key: str, msid: int = 1) -> None:
        self.command("publish", None, key, "live", msid=msid)

    def ask_play(self, key: str, msid: int = 1) -> None:
        self.command("play", None, key, -2.0, msid=msid)

    def publish(self, app: str, key: str = "k") -> Client:
        """Get on the air from nothing."""
        self.connect(app)
        self.ask_publish(key, self.create_stream())
        self.expect_status("NetStream.Publish.Start")
        return self

    def play(self, app: str, key: str = "k") -> Client:
        """Ask to play from nothing, and wait until the server has taken note."""
        self.connect(app)
        self.ask_play(key, self.create_stream())
        self.waiting.extendleft(reversed(self.fence()))
        return self


def values_of(message: Message) -> list[Any]:
    """Return the AMF values of a command or data message, [] of any other."""
    if message.type_id in (messages.COMMAND_AMF0, messages.DATA_AMF0):
        return amf0.decode(message.payload)
    return []


def describe(message: Message) -> str:
    """Say in a word what a message is: the name, the status code, or the type with the payload's start."""
    values = values_of(message)
    if values and values[0] == "onStatus":
        return str(values[3]["code"])
    if values:
        return str(values[0])
    if message.type_id == messages.USER_CONTROL:
        number = int.from_bytes(message.payload[:2], "big")
        return {0: "StreamBegin", 1: "StreamEOF", 6: "Ping", 7: "Pong"}.get(number, f"event {number}")
    names = {1: "SetChunkSize", 3: "Acknowledgement", 5: "WindowAckSize", 6: "SetPeerBandwidth"}
    names |= {8: "audio", 9: "video"}
    name = names.get(message.type_id, f"type {message.type_id}")
    if message.type_id not in (8, 9):
        return name
    if len(message.payload) > 1 and message.payload[1] == 0:
        return f"{name} header"
    return f"{name} {message.payload[5 if message.type_id == 9 else 2 :][:12].decode(errors='replace')}"


def names_of(received: list[Message]) -> list[str]:
    return [describe(message) for message in received]


def media_of(received: list[Message]) -> list[Message]:
    return [message for message in received if message.type_id in (messages.AUDIO, messages.VIDEO)]


_addresses = count(1)


def new_address() -> str:
    """Return an address of this machine that no client had before: it was never refused anything."""
    high, low = divmod(next(_addresses), 250)
    return f"127.2.{high}.{low + 1}"


class Stage:
    """Opens clients of one server and closes them all in the end.

    Refusals of one address come slower and slower, so where there are many, each client is to be a stranger.
    """

    def __init__(self, port: int, *, strangers: bool = False) -> None:
        self.port = port
        self.strangers = strangers
        self.clients: list[Client] = []
        self._marks = 0

    def client(self, host: str = "127.0.0.1", source: str | None = None, receive_buffer: int = 0) -> Client:
        if source is None and self.strangers:
            source = new_address()
        client = Client(self.port, host, source, receive_buffer)
        self.clients.append(client)
        return client

    def add(self, client: Client) -> Client:
        """Close a client with the others that was opened elsewhere."""
        self.clients.append(client)
        return client

    def publisher(self, app: str, key: str = "k", *, headers: bool = True) -> Client:
        """Return a client on the air, by default with metadata and both headers sent."""
        client = self.client().publish(app, key)
        if headers:
            client.metadata()
            client.audio(0, AAC_HEADER)
            client.video(0, AVC_HEADER)
            client.fence()
        return client

    def player(self, app: str, key: str = "k") -> Client:
        return self.client().play(app, key)

    def publisher_and_player(self, app: str, key: str = "k") -> tuple[Client, Client]:
        """Return a publisher and a player that has got all there is so far."""
        publisher, player = self.publisher(app, key), self.player(app, key)
        self.passed(publisher, player)
        return publisher, player

    def passed(self, publisher: Client, player: Client) -> list[Message]:
        """Return all that the player is sent up to a mark that the publisher sends now."""
        self._marks += 1
        name = f"mark{self._marks}"
        publisher.data("onTextData", name)
        before, _ = player.read_until(lambda one: values_of(one) == ["onTextData", name])
        return before

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()


@contextmanager
def stage(port: int, *, strangers: bool = False) -> Iterator[Stage]:
    opened = Stage(port, strangers=strangers)
    try:
        yield opened
    finally:
        opened.close()
