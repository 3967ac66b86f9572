"""One player's connection: joined by `rtmpsrv.client`, then read by the chunk reader alone."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchlib.rtmpclient import (
    MEDIA,
    RECEIVE_BUFFER,
    TYPE_ACK,
    TYPE_COMMAND,
    TYPE_USER_CONTROL,
    WAIT_S,
    ClientError,
    Target,
    pack_message,
    tls_context,
)

from rtmpsrv.client import Client, ClientSettings
from rtmpsrv.errors import ProtocolError, RequestRefused
from rtmpsrv.protocol.events import ClientHello
from rtmpsrv.protocol.messages import user_control

from .kinds import BEFORE, LATER, SHAKES, Kind, Part
from .marks import Tally

ACK_S = 20.0  # which also tells the server that the player lives
PING_REQUEST, PING_RESPONSE = 6, 7
PING_NUMBER = 0x50C0
HALF_HELLO = 700  # bytes of C0 and C1
LAGGARD_BUFFER = 8192  # bytes of SO_RCVBUF
# A network's segments, not those of the loopback: the server's kernel holds a number of them for a socket,
# of the latter 40 s of such a stream.
LAGGARD_SEGMENT = 536
SETTINGS = ClientSettings(answer_s=WAIT_S, chunk_size=128, every_message=True, courteous=False)
END = b"NetStream.Play.UnpublishNotify"


class Peer:
    """One player. `connect`, `ask` and `arrive` block up to `WAIT_S`, the rest never does."""

    def __init__(self, target: Target, part: Part) -> None:
        """Open the connection; of the handshake, send what the kind of player sends."""
        self.part = part
        self.tally = Tally(part.channel)
        self.told_end = False
        self.answered = False
        self._app, self._name = target.names(part.channel)
        self._acked_at = time.monotonic()
        sock = socket.socket(socket.AF_INET6 if ":" in target.host else socket.AF_INET)
        laggard = part.kind is Kind.LAGGARD
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LAGGARD_BUFFER if laggard else RECEIVE_BUFFER)
        if laggard:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, LAGGARD_SEGMENT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(WAIT_S)
        with self._translated():
            sock.connect((target.host, target.port))
            self.port: int = sock.getsockname()[1]
            if target.tls:
                sock = tls_context().wrap_socket(sock, server_hostname="localhost")
            url = f"rtmp{'s' if target.tls else ''}://{target.host}:{target.port}"
            self._rtmp = Client(sock, SETTINGS, url)
            self._rtmp.connection.send(ClientHello())
            hello = self._rtmp.connection.data_to_send()
            said = HALF_HELLO if part.kind is Kind.HALF_SHAKEN else len(hello)
            self._rest_of_hello = hello[said:]
            self._rtmp.send_bytes(hello[:said])

    def fileno(self) -> int:
        return self._rtmp.socket.fileno()

    def close(self) -> None:
        """Close without a word."""
        self._rtmp.close()

    # --- joining --------------------------------------------------------------------------------------

    def join(self) -> None:
        """Come to play in one go."""
        self.connect()
        self.ask()
        self.arrive()

    def connect(self) -> None:
        """Finish the handshake and ask for a message stream, unless that is for later."""
        if self.part.kind not in SHAKES:
            self._connect()

    def ask(self) -> None:
        """Ask to play, unless that is for later."""
        if self.part.kind not in LATER:
            self._ask()

    def arrive(self) -> None:
        """Wait for the consent, unless there is nobody to play yet; from here on the socket never blocks."""
        with self._translated():
            if self.part.kind not in LATER and self.part.kind not in BEFORE:
                self._rtmp.wait_playing()
            if self.part.kind is Kind.SILENT:
                self._rtmp.receive_audio(False)
        self._rtmp.socket.setblocking(False)

    def go_on(self) -> None:
        """Do what was left for later. Blocks."""
        with self._translated():
            self._rtmp.send_bytes(self._rest_of_hello)
        if self.part.kind is not Kind.IDLE:
            self._connect()
        self._ask()
        with self._translated():
            self._rtmp.wait_playing()
        self._rtmp.socket.setblocking(False)

    def _connect(self) -> None:
        with self._translated():
            self._rtmp.finish_handshake()
            self._rtmp.connect(self._app, flashVer="succession")

    def _ask(self) -> None:
        with self._translated():
            for _ in range(2 if self.part.kind is Kind.SECOND_STREAM else 1):
                msid = self._rtmp.create_stream()
            self._rtmp.ask_play(self._name, msid)

    # --- playing --------------------------------------------------------------------------------------

    def read(self, size: int) -> bool:
        """Read what has come and count it; True if media were among it. Raises ClientError at the end."""
        media = False
        inbox = self._rtmp.inbox
        while (message := inbox.take_message()) is not None:  # received while it joined
            media |= self._take(message.type_id, message.timestamp, message.payload)
        reader = self._rtmp.connection.reader
        while True:
            try:
                data = self._rtmp.socket.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                return media
            except OSError as exc:
                raise ClientError(f"connection lost: {exc}") from exc
            if not data:
                raise ClientError("closed by the server")
            self._rtmp.received_bytes += len(data)
            with self._translated():
                found = reader.feed(data)
            for type_id, timestamp, _, body, _ in found:
                media |= self._take(type_id, timestamp, body)
            if len(data) < size or self.part.kind is Kind.LAGGARD:
                return media

    def _take(self, type_id: int, timestamp: int, body: bytes) -> bool:
        if type_id in MEDIA:
            return self.tally.take(type_id, timestamp, body)
        if type_id == TYPE_USER_CONTROL:
            event, number = struct.unpack_from(">HI", body)
            if event == PING_REQUEST:
                self._say(user_control(PING_RESPONSE, number))
            self.answered |= event == PING_RESPONSE and number == PING_NUMBER
        elif type_id == TYPE_COMMAND:
            self.told_end |= END in body
        return False

    def acknowledge(self, now: float) -> None:
        """Tell the server how much has come, where that is due."""
        if now - self._acked_at > ACK_S and self.part.kind not in LATER:
            self._acked_at = now
            received = struct.pack(">I", self._rtmp.received_bytes & 0xFFFFFFFF)
            self._say(pack_message(2, TYPE_ACK, 0, received))

    def ping(self) -> None:
        """Ask the server for an answer."""
        self.answered = False
        self._say(user_control(PING_REQUEST, PING_NUMBER))

    def pause(self, paused: bool) -> None:
        if not paused:
            self.tally.muted = frozenset()
            self.tally.loosen()
        with self._translated():
            self._rtmp.pause(paused)
        self._rtmp.socket.setblocking(False)

    def _say(self, data: bytes) -> None:
        with suppress(BlockingIOError, ssl.SSLWantWriteError, OSError):  # the next read finds it closed
            self._rtmp.socket.send(data)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ProtocolError, RequestRefused) as exc:
            raise ClientError(f"{self.part.kind} of {self._app}: {exc}") from exc
