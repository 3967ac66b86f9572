"""A blocking RTMP connection for the good stream and for attackers, which sends whatever it is told to.

It reads with a parser of its own: what is measured must not depend on the code under test.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import pack

HOST = "127.0.0.1"
GOOD_ADDRESS = "127.0.0.1"  # where the good stream comes from
HOSTILE_ADDRESS = "127.0.0.66"  # what is held against an address must not hit the good stream
ANSWER_S = 10.0  # most that an answer may take before its waiter gives up
HANDSHAKE_SIZE = 1536
READ_SIZE = 1 << 18
CHUNK_SIZE = 65536  # announced by the good publisher, and used for what attackers send in one piece
NO_CHUNKS = 0x7FFFFFFF  # a chunk size that no message reaches
CREATE_STREAM = 2.0  # transaction id
HEADER_SIZES = (11, 7, 3, 0)  # of message headers, by the format of the chunk


class Closed(Exception):
    """The server closed the connection."""


class Received(NamedTuple):
    """A whole message, in what the harness needs of it."""

    type_id: int
    payload: bytes

    @property
    def values(self) -> list[Any]:
        """Decode a command; [] for anything else."""
        return amf0.decode(self.payload) if self.type_id == messages.COMMAND_AMF0 else []


class Reader:
    """Whole messages out of chunks, for a peer that behaves."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._chunk_size = 128
        self._streams: dict[int, _Stream] = {}

    def feed(self, data: bytes) -> list[Received]:
        """Take what came; return the messages that it completes."""
        self._waiting += data
        found: list[Received] = []
        position = 0
        while (after := self._chunk(position, found)) is not None:
            position = after
        del self._waiting[:position]
        return found

    def _chunk(self, start: int, found: list[Received]) -> int | None:
        """Read one chunk that begins at `start`; return where it ends, None if it is not there yet."""
        data = self._waiting
        if start >= len(data):
            return None
        csid, kind = data[start] & 63, data[start] >> 6
        assert csid >= 2, "this server writes on low chunk streams only"
        stream = self._streams.setdefault(csid, _Stream())
        at = start + 1
        body = at + HEADER_SIZES[kind]
        if len(data) < body:
            return None
        extended = data[at : at + 3] == b"\xff\xff\xff" if kind < 3 else stream.extended
        body += 4 * extended
        length = int.from_bytes(data[at + 3 : at + 6], "big") if kind < 2 else stream.length
        end = body + min(self._chunk_size, length - len(stream.payload))
        if len(data) < end:
            return None
        stream.extended, stream.length = extended, length
        if kind < 2:
            stream.type_id = data[at + 6]
        stream.payload += data[body:end]
        if len(stream.payload) == length:
            found.append(Received(stream.type_id, bytes(stream.payload)))
            stream.payload.clear()
            if stream.type_id == messages.SET_CHUNK_SIZE:
                self._chunk_size = int.from_bytes(found[-1].payload[:4], "big")
        return end


class _Stream:
    """One chunk stream of a `Reader`."""

    def __init__(self) -> None:
        self.extended = False
        self.length = 0
        self.type_id = 0
        self.payload = bytearray()


class Connection:
    """One connection; raises Closed when the server ends it, TimeoutError when no answer comes."""

    def __init__(
        self, port: int, source: str = HOSTILE_ADDRESS, *, secure: bool = False, receive_buffer: int = 0
    ) -> None:
        """Connect; a small `receive_buffer` lets what is not read stay at the server."""
        self.raw = socket.socket()
        self.reader = Reader()
        self._unread: list[Received] = []
        try:
            if receive_buffer:
                self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.raw.bind((source, 0))
            self.raw.settimeout(ANSWER_S)
            self.raw.connect((HOST, port))
            self.socket = anybody().wrap_socket(self.raw) if secure else self.raw
        except BaseException:
            self.raw.close()
            raise

    def close(self) -> None:
        """Leave at once."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.settimeout(ANSWER_S)
        try:
            self.socket.sendall(data)
        except ConnectionError as exc:
            raise Closed(str(exc)) from exc

    def command(self, name: str, *values: Any, msid: int = 0, transaction: float = 0.0) -> None:
        """Send a command; `values` begin with the command object."""
        self.send(command(name, *values, msid=msid, transaction=transaction))

    def receive(self, timeout_s: float = ANSWER_S) -> list[Received]:
        """Return what has come, at least one message."""
        until = monotonic() + timeout_s
        while not self._unread:
            self._unread = self.reader.feed(self._bytes(until - monotonic()))
        found, self._unread = self._unread, []
        return found

    def wait_for(self, wanted: Callable[[Received], bool], timeout_s: float = ANSWER_S) -> Received:
        """Return the first message that is wanted; what comes before it is dropped, what follows is kept."""
        until = monotonic() + timeout_s
        while True:
            found = self.receive(until - monotonic())
            for place, message in enumerate(found):
                if wanted(message):
                    self._unread = found[place + 1 :]
                    return message

    def answer(self, name: str) -> list[Any]:
        """Return the values of the next command of that name."""
        return self.wait_for(lambda one: one.values[:1] == [name]).values

    def status(self) -> str:
        """Return the code of the next onStatus."""
        return str(self.answer("onStatus")[3]["code"])

    def shake(self) -> Connection:
        """Do the handshake."""
        self.send(b"\x03" + bytes(8) + os.urandom(HANDSHAKE_SIZE - 8))
        answer = b""
        until = monotonic() + ANSWER_S
        while len(answer) < 1 + 2 * HANDSHAKE_SIZE:
            answer += self._bytes(until - monotonic())
        self.send(answer[1 : 1 + HANDSHAKE_SIZE])
        return self

    def connect(self, app: str) -> Connection:
        """Shake hands and connect."""
        self.shake()
        self.command("connect", {"app": app, "tcUrl": f"rtmp://{HOST}/{app}"}, transaction=1.0)
        self.answer("_result")
        return self

    def create_stream(self) -> int:
        """Return the id of a new message stream."""
        self.command("createStream", None, transaction=CREATE_STREAM)
        return int(self.answer("_result")[3])

    def publish(self, app: str, key: str = "k", chunk_size: int = NO_CHUNKS) -> Connection:
        """Get on the air from nothing."""
        self.connect(app)
        self.command("publish", None, key, "live", msid=self.create_stream())
        code = self.status()
        if code != "NetStream.Publish.Start":
            raise Closed(code)
        self.send(messages.set_chunk_size(chunk_size))
        return self

    def play(self, app: str, key: str = "k", msid: int = 1) -> Connection:
        """Ask to play from nothing, on a message stream of that number; waits for no answer to that."""
        self.connect(app)
        while self.create_stream() < msid:
            pass
        self.command("play", None, key, -2000.0, msid=msid)
        return self

    def discard(self) -> None:
        """Throw away what has come; Closed when that is the end."""
        self.socket.settimeout(0)
        try:
            while self.socket.recv(READ_SIZE):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as exc:
            raise Closed(str(exc)) from exc
        raise Closed("end of stream")

    def is_readable(self, timeout_s: float) -> bool:
        """Wait until there is something to read."""
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self.raw if self.socket is self.raw else self.socket, selectors.EVENT_READ)
            return bool(selector.select(max(0.0, timeout_s)))

    def _bytes(self, timeout_s: float) -> bytes:
        if timeout_s <= 0:
            raise TimeoutError("no answer")
        self.socket.settimeout(timeout_s)
        try:
            data = self.socket.recv(READ_SIZE)
        except ConnectionError as exc:
            raise Closed(str(exc)) from exc
        if not data:
            raise Closed("end of stream")
        return data


def anybody() -> ssl.SSLContext:
    """Return a context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def command(name: str, *values: Any, msid: int = 0, transaction: float = 0.0) -> bytes:
    """Frame a command for a peer at the chunk size of 128, or at one that the command does not reach."""
    return message(messages.COMMAND_AMF0, amf0.encode(name, transaction, *values), msid, csid=3)


def message(type_id: int, payload: bytes, msid: int = 1, *, csid: int = 4, size: int = 128) -> bytes:
    """Frame a message at time 0; `size` is the chunk size in force."""
    return pack(csid, 0, type_id, msid, payload, size)


def whole(type_id: int, payload: bytes, msid: int = 1, csid: int = 4) -> bytes:
    """Frame a message for a connection whose chunk size it does not reach."""
    return pack(csid, 0, type_id, msid, payload, NO_CHUNKS)


def head(type_id: int, length: int, csid: int = 4, msid: int = 1) -> bytes:
    """Frame the header of a message at time 0, without its payload."""
    return bytes((csid, 0, 0, 0)) + length.to_bytes(3, "big") + bytes((type_id,)) + msid.to_bytes(4, "little")


def again(csid: int = 4) -> bytes:
    """Return the header of one byte that begins a message like the last one of its chunk stream."""
    return bytes((0xC0 | csid,))
