"""The server's end of one RTMP connection: received bytes in, events and media out. No I/O, no clock.

Handshake, acknowledgements, pongs, chunk size and the small courtesy calls of encoders (releaseStream,
FCPublish, ...) are settled here; the session sees only what it has to decide. Bytes to send collect in
a buffer that `data_to_send` empties. The whole object is plain data and may be pickled at any moment.

Received bytes are parsed as events are taken, and only so far: what a peer makes this process do at one
time is the caller's to choose. What may happen when is in `state`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..errors import LocalProtocolError, RemoteProtocolError
from . import answers, commands, events, handshake, messages, requests, state
from .aggregate import Aggregate
from .chunks import ChunkReader, Limits
from .commands import Command
from .events import Event
from .requests import Requests
from .state import Machine, Phase, Role

DEFAULT_PEER_WINDOW = 2_500_000  # bytes; peers that set no window may still stop when nothing is acknowledged
MAX_MESSAGE_STREAMS = 64  # created and not deleted, per connection; encoders use up to 3
MAX_PENDING_OUTPUT = 1 << 20  # bytes of answers that a peer may make us collect without reading them
MAX_MESSAGES_BEFORE_ROLE = 200  # from connect, or from the last end, to publish or play; real clients need 10
MESSAGES_PER_CALL = 64  # of `events`: under a millisecond of work
BYTES_PER_UNIT = 128  # of a command or data message that cost as much to decode as a message to take

# Before a peer is known to be a publisher it sends commands only.
UNKNOWN_PEER = Limits(media_bytes=1 << 16, command_bytes=1 << 16, partial_bytes=1 << 18)

MediaMessage = tuple[int, int, int, bytes, int]

_VALUES = frozenset((messages.DATA_AMF3, messages.DATA_AMF0, messages.COMMAND_AMF3, messages.COMMAND_AMF0))
_DATA = frozenset((messages.DATA_AMF3, messages.DATA_AMF0))


@dataclass(slots=True)
class ServerConnection:
    """One connection's protocol state. Not shared: its session is the only caller. Never blocks."""

    chunk_size: int  # bytes, announced with the answer to connect and used from then on
    publisher_limits: Limits = field(default_factory=Limits)
    phase: Phase = Phase.C1
    publish_role: Role = Role.NONE
    play_role: Role = Role.NONE
    requests: Requests = field(default_factory=Requests)
    out_chunk_size: int = 128  # bytes, in force for what we send
    reader: ChunkReader = field(
        default_factory=lambda: ChunkReader(limits=UNKNOWN_PEER, last_message_type=messages.LAST_MESSAGE_TYPE)
    )
    handshake_buffer: bytes = field(default=b"", repr=False)
    unread: bytes = field(default=b"", repr=False)  # received since the last call of `events`
    backlog: bool = False  # `events` may find more without further bytes
    waiting: MediaMessage | None = field(default=None, repr=False)  # to be judged next; no media
    aggregate: Aggregate | None = field(default=None, repr=False)  # being split
    work: int = 0  # units so far: messages, bytes of commands and data by BYTES_PER_UNIT, many small chunks
    messages_before_role: int = 0
    judged: list[MediaMessage] | None = field(default=None, repr=False)  # for a log, which empties it
    outbox: list[bytes] = field(default_factory=list, repr=False)
    outbox_bytes: int = 0
    received_bytes: int = 0  # since the handshake, all chunk bytes
    acknowledged_bytes: int = 0
    peer_window: int = DEFAULT_PEER_WINDOW  # bytes; 0: the peer wants no acknowledgements
    created_streams: int = 0
    live_streams: set[int] = field(default_factory=set)

    # --- bytes in ---------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take received bytes; `events` then yields what they mean.

        The handshake is answered at once, so RemoteProtocolError may be raised here too.
        """
        if self.phase is not _CONNECTED:
            data = self._receive_early(data)
        if data:
            self.unread = self.unread + data if self.unread else data
            self.backlog = True
            self.received_bytes += len(data)
            window = self.peer_window
            if window and self.received_bytes - self.acknowledged_bytes >= (window + 1) // 2:
                self.acknowledged_bytes = self.received_bytes
                self._put(messages.acknowledgement(self.received_bytes))

    def events(self, max_messages: int = MESSAGES_PER_CALL) -> Iterator[Event | list[MediaMessage]]:
        """Yield what was received, in order: events, and runs of media and data messages as lists.

        Looks at no more than `max_messages`, fewer when they are costly; `backlog` then tells whether to
        call again. The caller may stop at any time and lose nothing. State moves as events are taken, so
        the answer to one is in force before the next is judged. Media of a connection that does not
        publish is dropped here. Raises RemoteProtocolError, and after that LocalProtocolError always.
        """
        if self.phase is _ERROR:
            raise LocalProtocolError("events of a connection that is broken")
        reader = self.reader
        left = max_messages
        try:
            while left > 0 and self.backlog:
                if self.waiting is not None:
                    message, self.waiting = self.waiting, None
                    event = self._interpret(message)
                    if event is not None:
                        yield event
                    continue
                if self.aggregate is not None:
                    run, units = self._split(self.aggregate, left)
                else:
                    data, self.unread = self.unread, b""
                    if not data and reader.starved:
                        self.backlog = False
                        break
                    run = reader.read(data, left)
                    units = reader.cost
                    if run:
                        units += self._judge(run)
                self.work += units
                left -= units
                if run and self.publish_role is _PUBLISHING:
                    yield run
            if self.backlog and reader.starved and self.waiting is None and self.aggregate is None:
                self.backlog = bool(self.unread)
        except RemoteProtocolError:
            self._end(Phase.ERROR)
            raise

    @property
    def held_bytes(self) -> int:
        """The bytes that the peer makes this process hold: what is unfinished and what was not taken yet."""
        reader = self.reader
        held = reader.partial_bytes + len(reader.tail) + len(self.unread) + len(self.handshake_buffer)
        if self.waiting is not None:
            held += len(self.waiting[3])
        return held + len(self.aggregate.body) if self.aggregate is not None else held

    # --- bytes out --------------------------------------------------------------------------------

    def send(self, event: Event) -> None:
        """Answer the peer; LocalProtocolError when the table does not allow it now."""
        if self.phase is _ERROR:
            raise LocalProtocolError(f"{type(event).__name__} on a connection that is broken")
        self._move(event, LocalProtocolError)
        if isinstance(event, events.ConnectAccepted):
            self.out_chunk_size = self.chunk_size
        elif isinstance(event, events.PublishAccepted):
            self.reader.limits = self.publisher_limits
        self._put(answers.encode(event, self.requests, self.out_chunk_size))

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
        if not data:
            return
        self.outbox.append(data)
        self.outbox_bytes += len(data)
        if self.outbox_bytes > MAX_PENDING_OUTPUT:
            self._end(Phase.ERROR)
            raise RemoteProtocolError(
                f"{self.outbox_bytes} bytes of answers asked for, limit {MAX_PENDING_OUTPUT}"
            )

    def _end(self, phase: Phase) -> None:
        """Take nothing any more, and let go of what is held."""
        self.phase = phase
        self.handshake_buffer = self.unread = b""
        self.waiting = self.aggregate = None
        self.backlog = False
        self.reader = ChunkReader()

    def _receive_early(self, data: bytes) -> bytes:
        """Take bytes before the peer is connected, or behind the end; return those of chunks."""
        if self.phase is _ERROR:
            raise LocalProtocolError("bytes for a connection that is broken")
        if self.phase is Phase.C1 or self.phase is Phase.C2:
            try:
                return self._shake_hands(self.handshake_buffer + data)
            except RemoteProtocolError:
                self._end(Phase.ERROR)
                raise
        return b"" if self.phase is Phase.CLOSED else data

    def _shake_hands(self, data: bytes) -> bytes:
        """Work through C0, C1 and C2; return the bytes that follow them."""
        if not data:
            return b""
        if self.phase is Phase.C1:
            handshake.check_version(data[0])
            if len(data) < 1 + handshake.HANDSHAKE_SIZE:
                self.handshake_buffer = data
                return b""
            c1 = data[1 : 1 + handshake.HANDSHAKE_SIZE]
            self._move(events.ClientHello(), RemoteProtocolError)
            self._put(bytes((handshake.RTMP_VERSION,)) + handshake.answer(c1))
            data = data[1 + handshake.HANDSHAKE_SIZE :]
        if len(data) < handshake.HANDSHAKE_SIZE:
            self.handshake_buffer = data
            return b""
        # C2 is never judged: FFmpeg and GStreamer fill it in their own ways.
        self.handshake_buffer = b""
        self._move(events.HandshakeDone(), RemoteProtocolError)
        return data[handshake.HANDSHAKE_SIZE :]

    def _judge(self, run: list[MediaMessage]) -> int:
        """Set the last message of a run aside unless it is media or data; return what it costs more."""
        if self.judged is not None:
            self.judged += run
        if self.publish_role is not _PUBLISHING and self.play_role is not _PLAYING:
            self.messages_before_role += len(run)
            if self.messages_before_role > MAX_MESSAGES_BEFORE_ROLE:
                raise RemoteProtocolError(
                    f"more messages than the limit {MAX_MESSAGES_BEFORE_ROLE} before publish or play"
                )
        type_id, payload = run[-1][0], run[-1][3]
        if type_id == messages.VIDEO or type_id == messages.AUDIO:
            return 0
        if type_id not in _DATA:
            self.waiting = run.pop()
        return len(payload) // BYTES_PER_UNIT if type_id in _VALUES else 0

    def _split(self, aggregate: Aggregate, most: int) -> tuple[list[MediaMessage], int]:
        """Return the next messages of an aggregate, and the units that they cost."""
        before = aggregate.judged
        run = aggregate.take(most)
        if aggregate.finished or self.publish_role is not _PUBLISHING:
            self.aggregate = None
        units = aggregate.judged - before
        units += sum(len(message[3]) // BYTES_PER_UNIT for message in run if message[0] in _DATA)
        return run, units

    def _interpret(self, message: MediaMessage) -> Event | list[MediaMessage] | None:
        type_id, timestamp, msid, payload, csid = message
        if type_id == messages.COMMAND_AMF0 or type_id == messages.COMMAND_AMF3:
            command = commands.decode(type_id, payload)
            if command is None:
                return None
            if command.name == "@setDataFrame":  # sent as a command by broken encoders
                if self.publish_role is not _PUBLISHING:
                    return None
                body = commands.without_format_byte(type_id, payload)
                return [(messages.DATA_AMF0, timestamp, msid, body, csid)]
            handler = _COMMANDS.get(command.name)
            if handler is not None:
                return handler(self, command, msid)
            self._put(answers.courtesy(command, self.out_chunk_size))
        elif type_id == messages.AGGREGATE:
            if self.publish_role is _PUBLISHING:
                self.aggregate = Aggregate(timestamp, msid, payload, csid)
        elif type_id == messages.WINDOW_ACK_SIZE:
            self.peer_window = messages.uint32(type_id, payload)
        elif type_id == messages.USER_CONTROL and len(payload) >= 6:
            event, value = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:6], "big")
            if event == messages.PING_REQUEST:
                self._put(messages.user_control(messages.PING_RESPONSE, value))
        return None

    def _move(self, event: Event, error: type[Exception]) -> None:
        """Move the machine that `event` concerns as the table says."""
        machine = state.MACHINES[type(event)]
        if machine is Machine.PHASE:
            self.phase = state.following_phase(self.phase, event, error)
            if self.phase is Phase.CLOSED:
                self._end(Phase.CLOSED)
        else:
            publish = machine is Machine.PUBLISH
            role = state.following_role(self.publish_role if publish else self.play_role, event, error)
            if publish:
                self.publish_role = role
            else:
                self.play_role = role
            if role is Role.NONE:
                self.messages_before_role = 0

    # --- commands of the peer ---------------------------------------------------------------------

    def _ask(self, event: Event, command: str, msid: int) -> Event:
        """Take note of a request, or refuse it as the table says."""
        kind = type(event)
        role = self.publish_role if kind is events.PublishAsked else self.play_role
        refusal = state.REFUSALS.get((self.phase, kind)) or state.REFUSALS.get((role, kind))
        if refusal is not None:
            refused = events.Refused(command, *refusal, msid)
            self._put(answers.encode(refused, self.requests, self.out_chunk_size))
            event = refused
        self._move(event, RemoteProtocolError)
        self.requests.note(event)
        return event

    def _on_create_stream(self, command: Command, msid: int) -> None:
        if len(self.live_streams) >= MAX_MESSAGE_STREAMS:
            raise RemoteProtocolError(f"message stream asked for, limit {MAX_MESSAGE_STREAMS}")
        self.created_streams += 1
        self.live_streams.add(self.created_streams)
        self._put(commands.result(command.transaction_id, float(self.created_streams), self.out_chunk_size))

    def _on_request(self, command: Command, msid: int) -> Event | None:
        event = requests.decode(command, msid)
        if isinstance(event, events.PublishAsked) and not event.name and self.publish_role is _PUBLISHING:
            event = events.PublishStopAsked()  # Wirecast stops with publish(false)
        if event is None or (isinstance(event, events.PauseAsked) and self.play_role is not _PLAYING):
            return None
        return self._ask(event, command.name, msid)

    def _on_stop(self, command: Command, msid: int) -> Event | None:
        target = command.arguments[0] if command.arguments else None
        if command.name == "deleteStream" and isinstance(target, float):
            self.live_streams.discard(target)
        if self.publish_role is _PUBLISHING and self.requests.ends_publish(command, msid):
            return self._ask(events.PublishStopAsked(), command.name, msid)
        if self.play_role is _PLAYING and self.requests.ends_play(command, msid):
            return self._ask(events.PlayStopAsked(), command.name, msid)
        return None


# Looked at for every read.
_CONNECTED = Phase.CONNECTED
_ERROR = Phase.ERROR
_PUBLISHING = Role.PUBLISHING
_PLAYING = Role.PLAYING

_COMMANDS: dict[str, Callable[[ServerConnection, Command, int], Event | None]] = {
    "connect": ServerConnection._on_request,
    "createStream": ServerConnection._on_create_stream,
    "publish": ServerConnection._on_request,
    "play": ServerConnection._on_request,
    "pause": ServerConnection._on_request,
    "pauseRaw": ServerConnection._on_request,
    "receiveAudio": ServerConnection._on_request,
    "receiveVideo": ServerConnection._on_request,
    "deleteStream": ServerConnection._on_stop,
    "closeStream": ServerConnection._on_stop,
}
