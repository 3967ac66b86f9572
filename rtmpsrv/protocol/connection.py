"""The server's end of one RTMP connection: received bytes in, events and media out. No I/O, no clock.

Handshake, acknowledgements, pongs, chunk size and the small courtesy calls of encoders (releaseStream,
FCPublish, ...) are settled here; the session sees only what it has to decide. Bytes to send collect in
a buffer that `data_to_send` empties. The whole object is plain data and may be pickled at any moment.

The transition table is below, one for both directions: what the peer asks and what the session answers
move the same three small machines (connection, publish, play). A pair that is in neither table is a
protocol error, the peer's or ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..errors import LocalProtocolError, RemoteProtocolError
from . import aggregate, commands, handshake, messages
from .amf_values import UNDEFINED
from .chunks import ChunkReader, Limits
from .commands import Command
from .events import (
    ConnectAccepted,
    ConnectAsked,
    ConnectRejected,
    Event,
    PauseAsked,
    Ping,
    PlayAccepted,
    PlayAsked,
    PlayEnded,
    PlayRefused,
    PlayStopAsked,
    PublishAccepted,
    PublishAsked,
    PublishEnded,
    PublishRefused,
    PublishStopAsked,
    ReceiveAsked,
    Refused,
)

WINDOW_ACK_SIZE = 5_000_000  # bytes, announced to every client
PEER_BANDWIDTH_DYNAMIC = 2  # limit type of Set Peer Bandwidth
DEFAULT_PEER_WINDOW = 2_500_000  # bytes; peers that set no window may still stop when nothing is acknowledged
MAX_MESSAGE_STREAMS = 64  # created and not deleted, per connection; encoders use up to 3
MAX_PENDING_OUTPUT = 1 << 20  # bytes of answers that a peer may make us collect without reading them

# Before a peer is known to be a publisher it sends commands only.
UNKNOWN_PEER = Limits(media_bytes=1 << 16, command_bytes=1 << 16, partial_bytes=1 << 18)

MediaMessage = tuple[int, int, int, bytes, int]


class Phase(Enum):
    """Where the connection stands."""

    C1 = "waiting for C0 and C1"
    C2 = "waiting for C2"
    OPEN = "handshake done"
    CONNECT_ASKED = "connect asked"
    CONNECTED = "connected"
    CLOSED = "closed"


class Role(Enum):
    """Where publishing, or playing, stands on a connection."""

    NONE = "none"
    PUBLISH_ASKED = "publish asked"
    PUBLISHING = "publishing"
    PLAY_ASKED = "play asked"
    PLAYING = "playing"


TRANSITIONS: dict[tuple[Phase | Role, type[Event]], Phase | Role] = {
    (Phase.OPEN, ConnectAsked): Phase.CONNECT_ASKED,
    (Phase.CONNECT_ASKED, ConnectAccepted): Phase.CONNECTED,
    (Phase.CONNECT_ASKED, ConnectRejected): Phase.CLOSED,
    (Role.NONE, PublishAsked): Role.PUBLISH_ASKED,
    (Role.PUBLISH_ASKED, PublishAccepted): Role.PUBLISHING,
    (Role.PUBLISH_ASKED, PublishRefused): Role.NONE,
    (Role.PUBLISHING, PublishEnded): Role.NONE,
    (Role.NONE, PlayAsked): Role.PLAY_ASKED,
    (Role.PLAY_ASKED, PlayAccepted): Role.PLAYING,
    (Role.PLAY_ASKED, PlayRefused): Role.NONE,
    (Role.PLAYING, PlayRefused): Role.NONE,  # it waited, and the publisher's key is another
    (Role.PLAYING, PlayEnded): Role.NONE,
}

# Requests that are answered with a status and closed: (code, description), spec sections 3.6 and 3.7.
_NO_CHANNEL = "No channel is selected"
REFUSALS: dict[tuple[Phase | Role, type[Event]], tuple[str, str]] = {
    (Phase.OPEN, PublishAsked): ("NetStream.Publish.BadConnection", _NO_CHANNEL),
    (Phase.OPEN, PlayAsked): ("NetStream.Play.BadConnection", _NO_CHANNEL),
    (Role.PUBLISHING, PublishAsked): ("NetStream.Publish.BadConnection", "Connection already publishing"),
    (Role.PLAYING, PlayAsked): ("NetStream.Play.BadConnection", "Connection already playing"),
}


@dataclass(slots=True)
class ServerConnection:
    """One connection's protocol state. Not shared: its session is the only caller. Never blocks."""

    chunk_size: int  # bytes, announced with the answer to connect and used from then on
    publisher_limits: Limits = field(default_factory=Limits)
    phase: Phase = Phase.C1
    publish_role: Role = Role.NONE
    play_role: Role = Role.NONE
    publish_msid: int = 0
    play_msid: int = 0
    publish_name: str | None = field(default=None, repr=False)
    play_name: str | None = field(default=None, repr=False)
    app: str | None = None
    object_encoding: Any = UNDEFINED
    connect_transaction: float = 0.0
    out_chunk_size: int = 128  # bytes, in force for what we send
    reader: ChunkReader = field(
        default_factory=lambda: ChunkReader(limits=UNKNOWN_PEER, last_message_type=messages.LAST_MESSAGE_TYPE)
    )
    handshake_buffer: bytes = field(default=b"", repr=False)
    inbox: deque[MediaMessage] = field(default_factory=deque, repr=False)
    outbox: list[bytes] = field(default_factory=list, repr=False)
    outbox_bytes: int = 0
    received_bytes: int = 0  # since the handshake, all chunk bytes
    acknowledged_bytes: int = 0
    peer_window: int = DEFAULT_PEER_WINDOW  # bytes; 0: the peer wants no acknowledgements
    created_streams: int = 0
    live_streams: set[int] = field(default_factory=set)

    # --- bytes in ---------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take received bytes; `events` then yields what they mean. Raises RemoteProtocolError."""
        if self.phase is Phase.C1 or self.phase is Phase.C2:
            data = self._shake_hands(data)
            if not data:
                return
        self.received_bytes += len(data)
        self.inbox.extend(self.reader.feed(data))
        window = self.peer_window
        if window and self.received_bytes - self.acknowledged_bytes >= (window + 1) // 2:
            self.acknowledged_bytes = self.received_bytes
            self._put(messages.acknowledgement(self.received_bytes))

    def events(self) -> Iterator[Event | list[MediaMessage]]:
        """Yield what was received, in order: events, and runs of media and data messages as lists.

        State moves as events are taken, so the answer to one is in force before the next is judged.
        Media of a connection that does not publish is dropped here. Raises RemoteProtocolError.
        """
        inbox = self.inbox
        reader = self.reader
        while (inbox or reader.held) and self.phase is not Phase.CLOSED:
            if not inbox:
                # Publishers that wait for no answer send a keyframe together with their publish.
                inbox.extend(reader.feed(b""))
            run: list[MediaMessage] = []
            while inbox:
                message = inbox[0]
                type_id = message[0]
                if type_id == 8 or type_id == 9 or type_id == 18 or type_id == 15:
                    run.append(message)
                elif type_id == messages.AGGREGATE:
                    run += [
                        (kind, timestamp, message[2], payload, message[4])
                        for kind, timestamp, payload in aggregate.split(message[1], message[3])
                    ]
                else:
                    break
                inbox.popleft()
            if run and self.publish_role is Role.PUBLISHING:
                yield run
            if inbox:
                event = self._interpret(inbox.popleft())
                if event is not None:
                    yield event

    # --- bytes out --------------------------------------------------------------------------------

    def send(self, event: Event) -> None:
        """Answer the peer; LocalProtocolError when the table does not allow it now."""
        encode = _ENCODERS[type(event)]
        encode(self, event)

    def data_to_send(self) -> bytes:
        """Return and forget what has to be written now, b"" for nothing."""
        if not self.outbox:
            return b""
        data = b"".join(self.outbox)
        self.outbox.clear()
        self.outbox_bytes = 0
        return data

    # --- private ----------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        self.outbox.append(data)
        self.outbox_bytes += len(data)
        if self.outbox_bytes > MAX_PENDING_OUTPUT:
            raise RemoteProtocolError(
                f"{self.outbox_bytes} bytes of answers asked for, limit {MAX_PENDING_OUTPUT}"
            )

    def _shake_hands(self, data: bytes) -> bytes:
        """Work through C0, C1 and C2; return the bytes that follow them."""
        data = self.handshake_buffer + data
        if not data:
            return b""
        if self.phase is Phase.C1:
            handshake.check_version(data[0])
            if len(data) < 1 + handshake.HANDSHAKE_SIZE:
                self.handshake_buffer = data
                return b""
            c1 = data[1 : 1 + handshake.HANDSHAKE_SIZE]
            self._put(bytes((handshake.RTMP_VERSION,)) + handshake.answer(c1))
            self.phase = Phase.C2
            data = data[1 + handshake.HANDSHAKE_SIZE :]
        if len(data) < handshake.HANDSHAKE_SIZE:
            self.handshake_buffer = data
            return b""
        # C2 is never judged: FFmpeg and GStreamer fill it in their own ways.
        self.handshake_buffer = b""
        self.phase = Phase.OPEN
        return data[handshake.HANDSHAKE_SIZE :]

    def _interpret(self, message: MediaMessage) -> Event | None:
        type_id, timestamp, msid, payload, csid = message
        if type_id == messages.COMMAND_AMF0 or type_id == messages.COMMAND_AMF3:
            command = commands.decode(type_id, payload)
            if command is None:
                return None
            if command.name == "@setDataFrame":  # sent as a command by broken encoders
                self.inbox.appendleft((messages.DATA_AMF0, timestamp, msid, payload, csid))
                return None
            handler = _COMMANDS.get(command.name)
            if handler is None:
                if command.transaction_id and command.name not in _REPLIES:
                    self._put(commands.null_result(command.transaction_id, self.out_chunk_size))
                return None
            return handler(self, command, msid)
        if type_id == messages.WINDOW_ACK_SIZE:
            self.peer_window = messages.uint32(type_id, payload)
        elif type_id == messages.USER_CONTROL and len(payload) >= 6:
            event, value = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:6], "big")
            if event == messages.PING_REQUEST:
                self._put(messages.user_control(messages.PING_RESPONSE, value))
        return None

    def _ask(self, event: Event, command: str, msid: int) -> Event:
        """Move the machine that `event` concerns, or refuse it as the table says."""
        kind = type(event)
        role = self.publish_role if kind is PublishAsked else self.play_role
        refusal = REFUSALS.get((self.phase, kind)) or REFUSALS.get((role, kind))
        if refusal is not None:
            code, description = refusal
            self._put(commands.on_status(msid, "error", code, description, self.out_chunk_size))
            self.phase = Phase.CLOSED
            return Refused(command, code, description)
        self._move(event, RemoteProtocolError)
        return event

    def _move(self, event: Event, error: type[Exception]) -> None:
        kind = type(event)
        where = _MACHINES[kind]
        state = getattr(self, where)
        following = TRANSITIONS.get((state, kind))
        if following is None:
            raise error(f"{kind.__name__} while {state.value}")
        setattr(self, where, following)

    # --- commands of the peer ---------------------------------------------------------------------

    def _on_connect(self, command: Command, msid: int) -> Event:
        properties = command.properties if isinstance(command.properties, dict) else {}
        app = properties.get("app")
        encoding = properties.get("objectEncoding", UNDEFINED)
        event = ConnectAsked(command.transaction_id, str(app) if isinstance(app, str) else None, properties)
        self._move(event, RemoteProtocolError)
        self.connect_transaction = command.transaction_id
        self.object_encoding = encoding if isinstance(encoding, float) else UNDEFINED
        self.app = event.app
        return event

    def _on_create_stream(self, command: Command, msid: int) -> None:
        if len(self.live_streams) >= MAX_MESSAGE_STREAMS:
            raise RemoteProtocolError(f"message stream asked for, limit {MAX_MESSAGE_STREAMS}")
        self.created_streams += 1
        self.live_streams.add(self.created_streams)
        self._put(commands.result(command.transaction_id, float(self.created_streams), self.out_chunk_size))

    def _on_publish(self, command: Command, msid: int) -> Event:
        name = commands.text(command.arguments[0]) if command.arguments else None
        if not name and self.publish_role is Role.PUBLISHING:
            return PublishStopAsked()  # Wirecast stops with publish(false)
        mode = commands.text(command.arguments[1]) if len(command.arguments) > 1 else ""
        event = self._ask(PublishAsked(msid, name, mode), command.name, msid)
        if type(event) is PublishAsked:
            self.publish_msid, self.publish_name = msid, name
        return event

    def _on_play(self, command: Command, msid: int) -> Event:
        name = commands.text(command.arguments[0]) if command.arguments else None
        event = self._ask(PlayAsked(msid, name), command.name, msid)
        if type(event) is PlayAsked:
            self.play_msid, self.play_name = msid, name
        return event

    def _on_pause(self, command: Command, msid: int) -> Event | None:
        if self.play_role is not Role.PLAYING or not command.arguments:
            return None
        return PauseAsked(commands.flag(command.arguments[0]))

    def _on_receive(self, command: Command, msid: int) -> Event | None:
        if not command.arguments:  # the reference turns the track off; nobody sends that
            return None
        return ReceiveAsked(command.name == "receiveAudio", commands.flag(command.arguments[0]))

    def _on_delete_stream(self, command: Command, msid: int) -> Event | None:
        target = command.arguments[0] if command.arguments else None
        if isinstance(target, str):  # GStreamer names the stream instead of numbering it
            if self.publish_role is Role.PUBLISHING and target == self.publish_name:
                return self._stop(self.publish_msid)
            if self.play_role is Role.PLAYING and target == self.play_name:
                return self._stop(self.play_msid)
            return None
        if not isinstance(target, float) or target != target or abs(target) > 0xFFFFFFFF:
            return None
        self.live_streams.discard(int(target))
        return self._stop(int(target))

    def _on_close_stream(self, command: Command, msid: int) -> Event | None:
        return self._stop(msid)

    def _stop(self, msid: int) -> Event | None:
        if self.publish_role is Role.PUBLISHING and msid == self.publish_msid:
            return PublishStopAsked()
        if self.play_role is Role.PLAYING and msid == self.play_msid:
            return PlayStopAsked()
        return None

    def _on_release_stream(self, command: Command, msid: int) -> None:
        if command.transaction_id:
            self._put(commands.null_result(command.transaction_id, self.out_chunk_size))

    def _on_fc(self, command: Command, msid: int) -> None:
        """FCPublish, FCUnpublish, FCSubscribe: a result, and the notice that FMLE-style encoders wait for."""
        name = commands.text(command.arguments[0]) if command.arguments else ""
        notice, code = _FC_NOTICES[command.name]
        size = self.out_chunk_size
        self._on_release_stream(command, msid)
        self._put(commands.named_notice(notice, command.transaction_id, code, name, size))

    def _on_get_stream_length(self, command: Command, msid: int) -> None:
        self._put(commands.result(command.transaction_id, 0.0, self.out_chunk_size))

    # --- answers of the session -------------------------------------------------------------------

    def _send_connect_accepted(self, event: ConnectAccepted) -> None:
        self._move(event, LocalProtocolError)
        self._put(messages.window_ack_size(WINDOW_ACK_SIZE))
        self._put(messages.set_peer_bandwidth(WINDOW_ACK_SIZE, PEER_BANDWIDTH_DYNAMIC))
        self._put(messages.set_chunk_size(self.chunk_size))
        self.out_chunk_size = self.chunk_size
        self._put(
            commands.connect_result(self.connect_transaction, self.object_encoding, self.out_chunk_size)
        )

    def _send_connect_rejected(self, event: ConnectRejected) -> None:
        self._move(event, LocalProtocolError)
        self._put(
            commands.connect_error(
                self.connect_transaction, event.code, event.description, self.out_chunk_size
            )
        )

    def _status(self, msid: int, level: str, code: str, description: str) -> None:
        self._put(commands.on_status(msid, level, code, description, self.out_chunk_size))

    def _send_publish_accepted(self, event: PublishAccepted) -> None:
        self._move(event, LocalProtocolError)
        self.reader.limits = self.publisher_limits
        self._put(messages.user_control(messages.STREAM_BEGIN, self.publish_msid))
        self._status(self.publish_msid, "status", "NetStream.Publish.Start", event.description)

    def _send_publish_refused(self, event: PublishRefused) -> None:
        self._move(event, LocalProtocolError)
        self._status(self.publish_msid, "error", event.code, event.description)

    def _send_publish_ended(self, event: PublishEnded) -> None:
        self._move(event, LocalProtocolError)
        self.publish_name = None
        if event.description is not None:
            self._status(self.publish_msid, "status", "NetStream.Unpublish.Success", event.description)

    def _send_play_accepted(self, event: PlayAccepted) -> None:
        self._move(event, LocalProtocolError)

    def _send_play_refused(self, event: PlayRefused) -> None:
        self._move(event, LocalProtocolError)
        self._status(self.play_msid, "error", event.code, event.description)

    def _send_play_ended(self, event: PlayEnded) -> None:
        self._move(event, LocalProtocolError)
        self.play_name = None
        if event.description is not None:
            self._status(self.play_msid, "status", "NetStream.Play.Stop", event.description)

    def _send_ping(self, event: Ping) -> None:
        time = event.milliseconds
        self._put(messages.user_control(messages.PING_REQUEST, time, time))


_MACHINES: dict[type[Event], str] = {
    ConnectAsked: "phase",
    ConnectAccepted: "phase",
    ConnectRejected: "phase",
    PublishAsked: "publish_role",
    PublishAccepted: "publish_role",
    PublishRefused: "publish_role",
    PublishEnded: "publish_role",
    PlayAsked: "play_role",
    PlayAccepted: "play_role",
    PlayRefused: "play_role",
    PlayEnded: "play_role",
}

_REPLIES = frozenset(("_result", "_error", "onStatus", "close"))

_FC_NOTICES = {
    "FCPublish": ("onFCPublish", "NetStream.Publish.Start"),
    "FCUnpublish": ("onFCUnpublish", "NetStream.Unpublish.Success"),
    "FCSubscribe": ("onFCSubscribe", "NetStream.Play.Start"),
}

_COMMANDS: dict[str, Callable[[ServerConnection, Command, int], Event | None]] = {
    "connect": ServerConnection._on_connect,
    "createStream": ServerConnection._on_create_stream,
    "publish": ServerConnection._on_publish,
    "play": ServerConnection._on_play,
    "pause": ServerConnection._on_pause,
    "pauseRaw": ServerConnection._on_pause,
    "receiveAudio": ServerConnection._on_receive,
    "receiveVideo": ServerConnection._on_receive,
    "deleteStream": ServerConnection._on_delete_stream,
    "closeStream": ServerConnection._on_close_stream,
    "releaseStream": ServerConnection._on_release_stream,
    "FCPublish": ServerConnection._on_fc,
    "FCUnpublish": ServerConnection._on_fc,
    "FCSubscribe": ServerConnection._on_fc,
    "getStreamLength": ServerConnection._on_get_stream_length,
}

_ENCODERS: dict[type[Event], Callable[[ServerConnection, Any], None]] = {
    ConnectAccepted: ServerConnection._send_connect_accepted,
    ConnectRejected: ServerConnection._send_connect_rejected,
    PublishAccepted: ServerConnection._send_publish_accepted,
    PublishRefused: ServerConnection._send_publish_refused,
    PublishEnded: ServerConnection._send_publish_ended,
    PlayAccepted: ServerConnection._send_play_accepted,
    PlayRefused: ServerConnection._send_play_refused,
    PlayEnded: ServerConnection._send_play_ended,
    Ping: ServerConnection._send_ping,
}
