"""The least RTMP that a load client needs, on blocking sockets; not a model of a good client."""

from __future__ import annotations

import math
import os
import socket
import ssl
import struct
from collections import deque
from dataclasses import dataclass, field

HANDSHAKE_SIZE = 1536  # bytes, spec 5.2.3
RECEIVE_BYTES = 262_144
RECEIVE_BUFFER = 1_048_576  # bytes of SO_RCVBUF: holds a keyframe of 20 Mbit/s and a tick of reading
WAIT_S = 20.0  # for any one answer of the server
MAX_CONTROL_BODY = 65_536  # bytes kept of a message that is not media

TYPE_CHUNK_SIZE = 1
TYPE_ACK = 3
TYPE_USER_CONTROL = 4
TYPE_AUDIO = 8
TYPE_VIDEO = 9
TYPE_DATA = 18
TYPE_COMMAND = 20
MEDIA = (TYPE_AUDIO, TYPE_VIDEO)
HEADER_BYTES = (11, 7, 3, 0)  # of the message header, by fmt
EXTENDED = 0xFFFFFF

Amf = float | int | bool | str | dict[str, "Amf"] | None
Message = tuple[int, int, bytes]  # type id, body length, head of the body (media) or all of it


class ClientError(Exception):
    """The server refused, closed or went silent."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server is and how it names streams."""

    host: str
    port: int
    tls: bool = False
    channel_is_app: bool = True

    def names(self, channel: int) -> tuple[str, str]:
        """Give (app, stream name) of a channel: `/bench7/key` or `/live/bench7`."""
        return (f"bench{channel}", "key") if self.channel_is_app else ("live", f"bench{channel}")


def pack_message(csid: int, type_id: int, msid: int, body: bytes, chunk_size: int = 128) -> bytes:
    """Serialise a message at timestamp 0 as a type 0 chunk and type 3 continuations."""
    parts = [
        struct.pack(">B3s3sB", csid, b"\0\0\0", len(body).to_bytes(3, "big"), type_id),
        struct.pack("<I", msid),
    ]
    for start in range(0, len(body), chunk_size):
        if start:
            parts.append(bytes((0xC0 | csid,)))
        parts.append(body[start : start + chunk_size])
    return b"".join(parts)


def amf_encode(*values: Amf) -> bytes:
    """Serialise AMF0 values one after the other."""
    return b"".join(_amf_value(value) for value in values)


def _amf_value(value: Amf) -> bytes:
    if value is None:
        return b"\x05"
    if isinstance(value, bool):
        return b"\x01\x01" if value else b"\x01\x00"
    if isinstance(value, int | float):
        return b"\x00" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\x02" + _amf_text(value)
    pairs = b"".join(_amf_text(name) + _amf_value(item) for name, item in value.items())
    return b"\x03" + pairs + b"\0\0\x09"


def _amf_text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def command_of(body: bytes) -> tuple[str, float]:
    """Read the name and the transaction id of a command; ("", nan) if it is not one."""
    if len(body) < 3 or body[0] != 2:
        return "", math.nan
    size = int.from_bytes(body[1:3], "big")
    name = body[3 : 3 + size].decode("utf-8", "replace")
    number = body[3 + size : 12 + size]
    return name, struct.unpack(">d", number[1:])[0] if len(number) == 9 else math.nan


@dataclass(slots=True)
class _ChunkStream:
    length: int = 0
    type_id: int = 0
    extended: bool = False
    left: int = 0
    keep: int = 0
    head: bytearray = field(default_factory=bytearray)


class ChunkReader:
    """Cut what a server sends into messages; of media it keeps the first `head_bytes` only."""

    def __init__(self, head_bytes: int) -> None:
        """Start at the protocol's default chunk size."""
        self._head_bytes = head_bytes
        self._chunk_size = 128
        self._streams: dict[int, _ChunkStream] = {}
        self._current = _ChunkStream()
        self._chunk_left = 0
        self._pending = b""

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes in and give the messages that they complete. Never blocks."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        messages: list[Message] = []
        position, end = 0, len(data)
        while position < end:
            if not self._chunk_left:
                used = self._header(data, position)
                if not used:
                    self._pending = data[position:]
                    break
                position += used
            stream = self._current
            take = min(self._chunk_left, end - position)
            missing = stream.keep - len(stream.head)
            if missing > 0:
                stream.head += data[position : position + min(take, missing)]
            position += take
            self._chunk_left -= take
            stream.left -= take
            if not stream.left:
                messages.append((stream.type_id, stream.length, bytes(stream.head)))
                if stream.type_id == TYPE_CHUNK_SIZE:
                    self._chunk_size = int.from_bytes(stream.head[:4], "big")
        return messages

    def _header(self, data: bytes, position: int) -> int:
        """Read a chunk's header; gives its bytes, 0 if it is not all there."""
        start, available = position, len(data)
        first = data[position]
        fmt, csid = first >> 6, first & 0x3F
        position += 1
        if csid < 2:
            if available < position + csid + 1:
                return 0
            csid = 64 + data[position] + (256 * data[position + 1] if csid else 0)
            position += 1 + (first & 1)
        fields = data[position : position + HEADER_BYTES[fmt]]
        if len(fields) < HEADER_BYTES[fmt]:
            return 0
        position += len(fields)
        stream = self._streams.get(csid)
        if stream is None:
            stream = self._streams[csid] = _ChunkStream()
        extended = int.from_bytes(fields[:3], "big") == EXTENDED if fmt < 3 else stream.extended
        if extended:
            position += 4
            if available < position:
                return 0
        stream.extended = extended
        if fmt < 2:
            stream.length, stream.type_id = (
                int.from_bytes(fields[3:6], "big"),
                fields[6],
            )
        if not stream.left:
            stream.left = stream.length
            stream.keep = self._head_bytes if stream.type_id in MEDIA else MAX_CONTROL_BODY
            stream.head = bytearray()
        self._current = stream
        self._chunk_left = min(self._chunk_size, stream.left)
        return position - start


class Client:
    """One connection, joined in stages so that many can be joined side by side; blocking until `go`."""

    def __init__(
        self, target: Target, channel: int, head_bytes: int = 0, receive_buffer: int = RECEIVE_BUFFER
    ) -> None:
        """Connect and send C0 and C1. Blocks up to `WAIT_S`."""
        self.channel = channel
        self.app, self.stream_name = target.names(channel)
        self._target = target
        self._reader = ChunkReader(head_bytes)
        self._inbox: deque[Message] = deque()
        self.raw = socket.socket(socket.AF_INET6 if ":" in target.host else socket.AF_INET)
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw.settimeout(WAIT_S)
        self.raw.connect((target.host, target.port))
        self.sock: socket.socket = self.raw
        if target.tls:
            # a second descriptor of the same connection, for reading it away below TLS
            self.raw = self.raw.dup()
            self.sock = _tls_context().wrap_socket(self.sock, server_hostname="localhost")
        self.sock.sendall(b"\x03" + bytes(8) + os.urandom(HANDSHAKE_SIZE - 8))

    def command_connect(self, chunk_size: int | None = None) -> None:
        """Finish the handshake and send `connect` and `createStream`."""
        answer = self._receive_exactly(1 + 2 * HANDSHAKE_SIZE)
        out = [answer[1 : 1 + HANDSHAKE_SIZE]]
        if chunk_size is not None:
            out.append(pack_message(2, TYPE_CHUNK_SIZE, 0, struct.pack(">I", chunk_size)))
        url = f"rtmp{'s' if self._target.tls else ''}://{self._target.host}:{self._target.port}/{self.app}"
        properties: dict[str, Amf] = {
            "app": self.app,
            "flashVer": "bench",
            "tcUrl": url,
        }
        size = chunk_size or 128
        out.append(pack_message(3, TYPE_COMMAND, 0, amf_encode("connect", 1, properties), size))
        out.append(pack_message(3, TYPE_COMMAND, 0, amf_encode("createStream", 2, None), size))
        self.sock.sendall(b"".join(out))

    def command_play(self) -> None:
        """Wait for `createStream`'s result, then ask to play."""
        self._wait_for("_result", 2)
        play = amf_encode("play", 3, None, self.stream_name)
        buffer_length = struct.pack(">HII", 3, 1, 1000)
        self.sock.sendall(
            pack_message(8, TYPE_COMMAND, 1, play) + pack_message(2, TYPE_USER_CONTROL, 0, buffer_length)
        )

    def command_publish(self, chunk_size: int) -> None:
        """Wait for `createStream`'s result, then ask to publish."""
        self._wait_for("_result", 2)
        body = amf_encode("publish", 3, None, self.stream_name, "live")
        self.sock.sendall(pack_message(8, TYPE_COMMAND, 1, body, chunk_size))

    def go(self) -> None:
        """Wait for the server's consent to play or publish; the sockets never block from here on."""
        self._wait_for("onStatus")
        self.sock.setblocking(False)
        self.raw.setblocking(False)

    def messages(self) -> list[Message]:
        """Read once and give the messages completed by it. Never blocks; raises `ClientError` at the end."""
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return []
        except OSError as exc:
            raise ClientError(f"connection lost: {exc}") from exc
        if not data:
            raise ClientError("closed by the server")
        return self._reader.feed(data)

    def close(self) -> None:
        """Close without a word, as a lost player does."""
        self.raw.close()
        self.sock.close()

    def _receive_exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                data = self.sock.recv(size - len(parts))
            except OSError as exc:
                raise ClientError(f"no handshake: {exc}") from exc
            if not data:
                raise ClientError("closed in the handshake")
            parts += data
        return bytes(parts)

    def _wait_for(self, name: str, transaction: float | None = None) -> None:
        while True:
            while self._inbox:
                type_id, _length, body = self._inbox.popleft()
                if type_id != TYPE_COMMAND:
                    continue
                found, number = command_of(body)
                refused = found == "_error" or (found == "onStatus" and b"\x00\x05error" in body)
                if refused:
                    raise ClientError(f"{self.app}: refused: {body!r}")
                if found == name and transaction in (None, number):
                    return
            try:
                data = self.sock.recv(RECEIVE_BYTES)
            except OSError as exc:
                raise ClientError(f"{self.app}: no {name}: {exc}") from exc
            if not data:
                raise ClientError(f"{self.app}: closed before {name}")
            self._inbox.extend(self._reader.feed(data))


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the certificate is self-signed, made for the run
    return context
