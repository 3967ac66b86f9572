"""An RTMP client in blocking style, for tests, load and relays; it reads with deadlines.

    with connect("127.0.0.1", 1935, "live") as client:
        client.publish("key")
        client.send_video(0, header)

Works on plain sockets and on gevent's (give `create_connection` and `tls` of gevent), for one greenlet or
thread at a time. What RTMP is, is in `protocol.client`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self, TypeVar

from .errors import ConnectionClosed as ConnectionClosed  # also the callers' way to the errors they catch
from .errors import RemoteProtocolError as RemoteProtocolError
from .errors import RequestRefused as RequestRefused
from .protocol import amf0, events, messages
from .protocol.chunks import Limits, pack
from .protocol.client import ClientConnection
from .protocol.client_inbox import ClientInbox
from .protocol.events import Event
from .protocol.messages import Message
from .protocol.state import Phase, Role

READ_BYTES = 65536
PLAY_LIVE = -2.0  # where to start: live if there is a publisher
AUDIO_CSID, VIDEO_CSID, DATA_CSID = 4, 6, 4  # chunk streams, as OBS has them

_E = TypeVar("_E", bound=Event)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Deadlines in seconds and bounds in bytes."""

    connect_s: float = 10.0  # TCP, and TLS as well
    answer_s: float = 10.0  # for any one answer, and to write what is sent
    chunk_size: int = 4096
    limits: Limits = field(default_factory=Limits)  # of what the server may send
    inbox_bytes: int = 1 << 26  # received and not read yet
    every_message: bool = False  # read control messages and commands too, not only media and data
    courteous: bool = True  # acknowledge bytes and answer pings while reading


def connect(host: str, port: int, app: str, **options: Any) -> Client:
    """Open a connection, shake hands and connect to `app`; options as for `open_client`.

    Blocks up to the deadlines of the settings; raises RequestRefused, ConnectionClosed, RemoteProtocolError,
    TimeoutError or OSError, and has closed the socket then.
    """
    client = open_client(host, port, **options)
    try:
        client.shake_hands()
        client.connect(app)
    except BaseException:
        client.close()
        raise
    return client


def open_client(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    settings: ClientSettings | None = None,
    create_connection: Callable[..., socket.socket] = socket.create_connection,
) -> Client:
    """Open a connection and say nothing yet. RTMPS if `tls` is given, with `server_name` or else the host."""
    settings = settings or ClientSettings()
    sock = create_connection((host, port), settings.connect_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=server_name or host)
    except BaseException:
        sock.close()
        raise
    return Client(sock, settings, f"{'rtmp' if tls is None else 'rtmps'}://{host}:{port}")


class Client:
    """One connection over a connected socket, which it owns. Methods block within the settings' deadlines."""

    def __init__(self, sock: socket.socket, settings: ClientSettings | None = None, url: str = "") -> None:
        self.socket = sock
        self.settings = settings or ClientSettings()
        self.connection = ClientConnection(self.settings.chunk_size, courteous=self.settings.courteous)
        self.connection.reader.limits = self.settings.limits
        if not self.settings.courteous:
            self.connection.peer_window = 0
        self.inbox = ClientInbox(self.settings.inbox_bytes)
        self.sent_bytes = 0
        self.received_bytes = 0
        self._url = url
        if self.settings.every_message:
            self.connection.judged = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close without a word. Idempotent, never blocks."""
        self.socket.close()

    # --- sequences ----------------------------------------------------------------------------------

    def shake_hands(self) -> None:
        self.say_hello()
        self.finish_handshake()

    def say_hello(self) -> None:
        """Send the first part of the handshake only, so that many can be opened side by side."""
        self.send(events.ClientHello())

    def finish_handshake(self) -> None:
        """Wait for the server's part of the handshake."""
        until = monotonic() + self.settings.answer_s
        while self.connection.phase is not Phase.OPEN:
            self._receive(until)
        self.flush()

    def connect(self, app: str, **properties: Any) -> dict[str, Any]:
        """Connect to `app`; return what the server says of itself."""
        self.ask_connect(app, **properties)
        return self.wait_connected()

    def ask_connect(self, app: str, **properties: Any) -> None:
        """Send `connect`; `properties` are added to the command object."""
        known = {"flashVer": "rtmpsrv", "tcUrl": f"{self._url}/{app}", **properties}
        self.send(events.ConnectAsked(1.0, app, known))

    def wait_connected(self) -> dict[str, Any]:
        self._wait(events.ConnectAccepted)
        return self.connection.server_information

    def create_stream(self) -> int:
        """Create a message stream; return its id."""
        self.send(events.StreamAsked())
        return self.wait_stream()

    def wait_stream(self) -> int:
        return self._wait(events.StreamCreated).msid

    def publish(self, name: str, mode: str = "live", msid: int | None = None) -> None:
        """Get on the air, on a message stream of its own unless `msid` is given."""
        self.ask_publish(name, mode, self.create_stream() if msid is None else msid)
        self.wait_publishing()

    def ask_publish(self, name: str, mode: str, msid: int) -> None:
        self.send(events.PublishAsked(msid, name, mode))

    def wait_publishing(self) -> None:
        self._wait(events.PublishAccepted)

    def play(
        self, name: str, start: float = PLAY_LIVE, *, msid: int | None = None, wait: bool = True
    ) -> None:
        """Ask to play, on a message stream of its own unless `msid` is given.

        Servers answer when there is something to play; do not `wait` where that may be later.
        """
        self.ask_play(name, self.create_stream() if msid is None else msid, start)
        if wait:
            self.wait_playing()

    def ask_play(self, name: str, msid: int, start: float = PLAY_LIVE) -> None:
        self.send(events.PlayAsked(msid, name, start))

    def wait_playing(self) -> None:
        self._wait(events.PlayAccepted)

    def stop_publishing(self) -> None:
        """Go off the air; returns when the server has said so."""
        self.send(events.PublishStopAsked())
        self._wait(events.PublishEnded)

    def stop_playing(self) -> None:
        """Stop; returns when the server has said so. What came before it can still be read."""
        self.send(events.PlayStopAsked())
        self._wait(events.PlayEnded)

    # --- commands -----------------------------------------------------------------------------------

    def pause(self, paused: bool = True) -> None:
        self.send(events.PauseAsked(paused))

    def receive_audio(self, wanted: bool) -> None:
        self.send(events.ReceiveAsked(True, wanted))

    def receive_video(self, wanted: bool) -> None:
        self.send(events.ReceiveAsked(False, wanted))

    def delete_stream(self, msid: int) -> None:
        """Delete a message stream, having stopped what goes on there."""
        self._stop_on(msid)
        self.call("deleteStream", float(msid), answered=False)

    def close_stream(self, msid: int) -> None:
        """Stop what goes on on a message stream, without waiting for the answer."""
        if not self._stop_on(msid):
            self.call("closeStream", msid=msid, answered=False)

    def call(self, name: str, *arguments: Any, msid: int = 0, answered: bool = True) -> float:
        """Send any other command (FCPublish, releaseStream, ...); return its transaction id, 0 for none."""
        transaction_id = self.connection.call(name, *arguments, msid=msid, answered=answered)
        self.flush()
        return transaction_id

    def wait_result(self, transaction_id: float) -> tuple[Any, ...]:
        """Return what a call's `_result` carries; RequestRefused for `_error`."""
        until = monotonic() + self.settings.answer_s
        while (arguments := self.inbox.take_result(transaction_id)) is None:
            self._receive(until)
        return arguments

    def ping(self, milliseconds: int) -> None:
        """Send a ping request; its answer is a control message."""
        self.send(events.Ping(milliseconds))

    # --- messages out -------------------------------------------------------------------------------

    def send_audio(self, timestamp: int, payload: bytes) -> None:
        msid = self.connection.requests.publish_msid
        self.send_message(messages.AUDIO, payload, timestamp, msid, AUDIO_CSID)

    def send_video(self, timestamp: int, payload: bytes) -> None:
        msid = self.connection.requests.publish_msid
        self.send_message(messages.VIDEO, payload, timestamp, msid, VIDEO_CSID)

    def send_data(self, *values: Any, timestamp: int = 0) -> None:
        """Send a data message, such as "@setDataFrame", "onMetaData" and a dictionary."""
        msid = self.connection.requests.publish_msid
        self.send_message(messages.DATA_AMF0, amf0.encode(*values), timestamp, msid, DATA_CSID)

    def send_message(
        self, type_id: int, payload: bytes, timestamp: int = 0, msid: int = 0, csid: int = 3
    ) -> None:
        """Send a message of any type."""
        self.send_bytes(pack(csid, timestamp, type_id, msid, payload, self.connection.out_chunk_size))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, such as a batch of messages made before."""
        self.flush()
        self._write(data)

    def send(self, event: Event) -> None:
        """Send an event of the protocol; LocalProtocolError when it is out of place."""
        self.connection.send(event)
        self.flush()

    def flush(self) -> None:
        """Write what the connection has to say by itself."""
        data = self.connection.data_to_send()
        if data:
            self._write(data)

    # --- messages in --------------------------------------------------------------------------------

    def read(self, timeout_s: float | None = None) -> Message:
        """Return the next message, media and data unless the settings say `every_message`.

        Raises TimeoutError, by default after `answer_s`; ConnectionClosed at the end; RequestRefused when the
        server refuses a player that had to wait.
        """
        until = monotonic() + (self.settings.answer_s if timeout_s is None else timeout_s)
        while (message := self.inbox.take_message()) is None:
            self.inbox.raise_refusal()
            self._receive(until)
        return message

    def messages(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Yield messages as `read` does, until the server closes; `timeout_s` is for each."""
        with suppress(ConnectionClosed):
            while True:
                yield self.read(timeout_s)

    def take(self, data: bytes) -> None:
        """Act on bytes that the caller has read from the socket, as the loop of a load client does."""
        self.received_bytes += len(data)
        connection = self.connection
        connection.receive_data(data)
        while connection.backlog:
            for event in connection.events():
                if not isinstance(event, list):
                    self.inbox.add_event(event)
                elif connection.judged is None:
                    self.inbox.add_messages(event)
        if connection.judged:
            self.inbox.add_messages(connection.judged)
            connection.judged.clear()

    # --- private ------------------------------------------------------------------------------------

    def _stop_on(self, msid: int) -> bool:
        """Ask to stop publishing or playing on a message stream; tell whether there was any."""
        connection = self.connection
        if connection.publish_role is Role.PUBLISHING and connection.requests.publish_msid == msid:
            self.send(events.PublishStopAsked())
            return True
        if connection.play_role in (Role.PLAY_ASKED, Role.PLAYING) and connection.requests.play_msid == msid:
            self.send(events.PlayStopAsked())
            return True
        return False

    def _wait(self, kind: type[_E]) -> _E:
        """Return the next event of a kind; what else comes is kept. Raises RequestRefused for a refusal."""
        until = monotonic() + self.settings.answer_s
        while (answer := self.inbox.take_answer(kind)) is None:
            self._receive(until)
        return answer

    def _write(self, data: bytes) -> None:
        self.socket.settimeout(self.settings.answer_s)
        try:
            self.socket.sendall(data)
        except OSError as exc:
            if isinstance(exc, TimeoutError):
                raise
            raise ConnectionClosed(f"connection lost: {exc.strerror or exc}") from exc
        self.sent_bytes += len(data)

    def _receive(self, until: float) -> None:
        """Read once, and act on what was received. Blocks up to `until`."""
        left = until - monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            data = self.socket.recv(READ_BYTES)
        except TimeoutError:
            raise TimeoutError("nothing that was waited for came from the server in time") from None
        except OSError as exc:
            raise ConnectionClosed(f"connection lost: {exc.strerror or exc}") from exc
        if not data:
            raise ConnectionClosed("closed by the server")
        self.take(data)
        with suppress(ConnectionClosed):  # what was received counts first; the next read tells
            self.flush()
