"""A load client: `rtmpsrv.client` up to the consent to play or publish, then the bare sockets."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rtmpsrv.client import Client as RtmpClient
from rtmpsrv.client import ClientSettings
from rtmpsrv.errors import ProtocolError, RequestRefused
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.events import StreamAsked

RECEIVE_BYTES = 262_144
RECEIVE_BUFFER = 1_048_576  # bytes of SO_RCVBUF: holds a keyframe of 20 Mbit/s and a tick of reading
WAIT_S = 20.0  # for any one answer of the server
MSID = 1  # the message stream of all load; every server numbers the first one so

TYPE_CHUNK_SIZE = messages.SET_CHUNK_SIZE
TYPE_ACK = messages.ACKNOWLEDGEMENT
TYPE_USER_CONTROL = messages.USER_CONTROL
TYPE_AUDIO = messages.AUDIO
TYPE_VIDEO = messages.VIDEO
TYPE_DATA = messages.DATA_AMF0
TYPE_COMMAND = messages.COMMAND_AMF0
MEDIA = (TYPE_AUDIO, TYPE_VIDEO)

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
    http_port: int = 0  # of viewers by HTTP

    def names(self, channel: int) -> tuple[str, str]:
        """Give (app, stream name) of a channel: `/bench7/key` or `/live/bench7`."""
        return (f"bench{channel}", "key") if self.channel_is_app else ("live", f"bench{channel}")


def pack_message(csid: int, type_id: int, msid: int, body: bytes, chunk_size: int = 128) -> bytes:
    """Serialise a message at timestamp 0."""
    return pack(csid, 0, type_id, msid, body, chunk_size)


def amf_encode(*values: Amf) -> bytes:
    """Serialise AMF0 values one after the other; all numbers are alike there."""
    return amf0.encode(*[_with_floats(value) for value in values])


def _with_floats(value: Amf) -> Any:
    if isinstance(value, dict):
        return {name: _with_floats(item) for name, item in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Client:
    """One connection, joined in stages so that many can be joined side by side; blocking until `go`."""

    acknowledges = True

    def __init__(
        self, target: Target, channel: int, head_bytes: int = 0, receive_buffer: int = RECEIVE_BUFFER
    ) -> None:
        """Connect and send C0 and C1. Blocks up to `WAIT_S`."""
        self.channel = channel
        self.app, self.stream_name = target.names(channel)
        self._head_bytes = head_bytes
        self._publishing = False
        self.raw = socket.socket(socket.AF_INET6 if ":" in target.host else socket.AF_INET)
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw.settimeout(WAIT_S)
        self.raw.connect((target.host, target.port))
        self.sock: socket.socket = self.raw
        if target.tls:
            # a second descriptor of the same connection, for reading it away below TLS
            self.raw = self.raw.dup()
            self.sock = tls_context().wrap_socket(self.sock, server_hostname="localhost")
        settings = ClientSettings(answer_s=WAIT_S, chunk_size=128, every_message=True, courteous=False)
        url = f"rtmp{'s' if target.tls else ''}://{target.host}:{target.port}"
        self.rtmp = RtmpClient(self.sock, settings, url)
        with self._translated():
            self.rtmp.say_hello()

    def command_connect(self, chunk_size: int | None = None) -> None:
        """Finish the handshake and send `connect` and `createStream`."""
        self.rtmp.connection.chunk_size = chunk_size or 128
        with self._translated():
            self.rtmp.finish_handshake()
            self.rtmp.ask_connect(self.app, flashVer="bench")
            self.rtmp.send(StreamAsked())

    def command_play(self) -> None:
        """Wait for `createStream`'s result, then ask to play."""
        buffer_length = struct.pack(">HII", messages.SET_BUFFER_LENGTH, MSID, 1000)
        with self._translated():
            self._wait_for_stream()
            self.rtmp.ask_play(self.stream_name, MSID)
            self.rtmp.send_message(TYPE_USER_CONTROL, buffer_length, csid=2)

    def command_publish(self) -> None:
        """Wait for `createStream`'s result, then ask to publish."""
        self._publishing = True
        with self._translated():
            self._wait_for_stream()
            self.rtmp.ask_publish(self.stream_name, "live", MSID)

    def wait_for_consent(self) -> None:
        """Wait until the server lets it publish, or starts to play."""
        with self._translated():
            if self._publishing:
                self.rtmp.wait_publishing()
            else:
                self.rtmp.wait_playing()

    def go(self) -> None:
        """Wait for the server's consent; the sockets never block from here on."""
        self.wait_for_consent()
        self.sock.setblocking(False)
        self.raw.setblocking(False)

    def messages(self) -> list[Message]:
        """Read once and give the messages completed by it; the first time, what came before as well.

        Blocks as the socket does; raises `ClientError` at the end.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            data = None
        except OSError as exc:
            raise ClientError(f"connection lost: {exc}") from exc
        if data == b"":
            raise ClientError("closed by the server")
        with self._translated():
            self.rtmp.take(data or b"")
        taken: list[Message] = []
        while (message := self.rtmp.inbox.take_message()) is not None:
            kept = self._head_bytes if message.type_id in MEDIA else None
            taken.append((message.type_id, len(message.payload), message.payload[:kept]))
        return taken

    def close(self) -> None:
        """Close without a word, as a lost player does."""
        self.raw.close()
        self.sock.close()

    def _wait_for_stream(self) -> None:
        self.rtmp.wait_connected()
        if (msid := self.rtmp.wait_stream()) != MSID:
            raise ClientError(f"{self.app}: message stream {msid}, made for {MSID}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ProtocolError, RequestRefused) as exc:
            raise ClientError(f"{self.app}: {exc}") from exc


def tls_context() -> ssl.SSLContext:
    """Return what trusts any certificate: that of the server is self-signed, made for the run."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
