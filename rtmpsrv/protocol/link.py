"""What both ends of an RTMP connection do alike: take bytes, hand out what they mean, collect what to send.

Received bytes are parsed as events are taken, and only so far: how much a peer makes this process do at one
time is the caller's to choose. What commands mean is the business of the two ends, `connection` and `client`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ..errors import LocalProtocolError, RemoteProtocolError
from ..pickling import Reduced, by_fields
from . import commands, messages, state
from .aggregate import Aggregate
from .chunks import DEFAULT_CHUNK_SIZE, ChunkReader
from .commands import Command
from .events import Event, Ping
from .state import Machine, Phase, Role

DEFAULT_PEER_WINDOW = 2_500_000  # bytes; peers that set no window may still stop when nothing is acknowledged
MAX_PENDING_OUTPUT = 1 << 20  # bytes of answers that a peer may make us collect without reading them
MESSAGES_PER_CALL = 64  # of `events`: under a millisecond of work
BYTES_PER_UNIT = 128  # of a command or data message that cost as much to decode as a message to take

MediaMessage = tuple[int, int, int, bytes, int]

_MEDIA: Final = frozenset((messages.AUDIO, messages.VIDEO))
_DATA: Final = frozenset((messages.DATA_AMF3, messages.DATA_AMF0))
_VALUES: Final = _DATA | {messages.COMMAND_AMF3, messages.COMMAND_AMF0}

# Looked at for every read.
_CONNECTED: Final = Phase.CONNECTED
_ERROR: Final = Phase.ERROR
_PUBLISHING: Final = Role.PUBLISHING


@dataclass(slots=True)
class Link:
    """One end of a connection. Plain data, may be pickled at any moment; not shared; never blocks."""

    chunk_size: int = 4096  # bytes, announced in the course of `connect` and used from then on
    any_media: bool = False  # hand out media whoever publishes
    courteous: bool = True  # acknowledge bytes and answer pings
    phase: Phase = Phase.C1
    publish_role: Role = Role.NONE
    play_role: Role = Role.NONE
    out_chunk_size: int = DEFAULT_CHUNK_SIZE  # bytes, in force for what we send
    reader: ChunkReader = field(
        default_factory=lambda: ChunkReader(last_message_type=messages.LAST_MESSAGE_TYPE)
    )
    handshake_buffer: bytes = field(default=b"", repr=False)
    unread: bytes = field(default=b"", repr=False)  # received since the last call of `events`
    backlog: bool = False  # `events` may find more without further bytes
    waiting: MediaMessage | None = field(default=None, repr=False)  # to be judged next; no media
    aggregate: Aggregate | None = field(default=None, repr=False)  # being split
    work: int = 0  # units so far: messages, bytes of commands and data by BYTES_PER_UNIT, many small chunks
    judged: list[MediaMessage] | None = field(default=None, repr=False)  # for others to see, who empty it
    outbox: list[bytes] = field(default_factory=list, repr=False)
    outbox_bytes: int = 0
    owed: bool = False  # there is more in it than acknowledgements, pings and their answers
    received_bytes: int = 0  # since the handshake, all chunk bytes
    acknowledged_bytes: int = 0
    peer_window: int = DEFAULT_PEER_WINDOW  # bytes; 0: the peer wants no acknowledgements

    def __reduce__(self) -> Reduced:
        return by_fields(self)

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
            self._count(len(data))

    def events(self, max_messages: int = MESSAGES_PER_CALL) -> Iterator[Event | list[MediaMessage]]:
        """Yield what was received, in order: events, and runs of media and data messages as lists.

        Looks at no more than `max_messages`, fewer when they are costly; `backlog` then tells whether to
        call again. The caller may stop at any time and lose nothing. State moves as events are taken, so
        the answer to one is in force before the next is judged. Media of a client that does not publish
        is dropped here. Raises RemoteProtocolError, and after that LocalProtocolError always.
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
                if run and (self.publish_role is _PUBLISHING or self.any_media):
                    yield run
            if self.backlog and reader.starved and self.waiting is None and self.aggregate is None:
                self.backlog = bool(self.unread)
        except RemoteProtocolError:
            self._end(Phase.ERROR)
            raise

    def take_media(self, data: bytes) -> list[MediaMessage]:
        """Take received bytes, and return the media that they complete: `receive_data` and `events` in one.

        Media is what nearly every read of a publisher brings, and no generator is made for it. Where
        `backlog` is set afterwards `events` has more, or all. Raises as they do.
        """
        is_publishing = self.publish_role is _PUBLISHING
        # Where something else comes first, or no media is taken, `events` sees to it.
        if self.backlog or self.phase is not _CONNECTED or not (is_publishing or self.any_media):
            self.receive_data(data)
            return []
        self._count(len(data))
        reader = self.reader
        try:
            run = reader.read(data, MESSAGES_PER_CALL)
            self.work += reader.cost
            if run and not (is_publishing and self.judged is None and run[-1][0] in _MEDIA):
                self.work += self._judge(run)
        except RemoteProtocolError:
            self._end(Phase.ERROR)
            raise
        self.backlog = not reader.starved or self.waiting is not None
        return run

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
        """Say something to the peer; LocalProtocolError when the table does not allow it now."""
        if self.phase is _ERROR:
            raise LocalProtocolError(f"{type(event).__name__} on a connection that is broken")
        self._move(event, LocalProtocolError)
        self._put(self._encode(event), owed=not isinstance(event, Ping))

    def data_to_send(self) -> bytes:
        """Return and forget what has to be written now, b"" for nothing."""
        if not self.outbox:
            return b""
        data = b"".join(self.outbox)
        self.outbox.clear()
        self.outbox_bytes = 0
        self.owed = False
        return data

    # --- what the two ends do each in their way ---------------------------------------------------

    def _shake_hands(self, data: bytes) -> bytes:
        """Take bytes of the handshake; return those behind it."""
        raise NotImplementedError

    def _encode(self, event: Event) -> bytes:
        """Return the bytes that say `event`, which the table has allowed, and bring it into force."""
        raise NotImplementedError

    def _on_command(self, command: Command, msid: int) -> Event | None:
        """Act on a command of the peer."""
        raise NotImplementedError

    # --- private ----------------------------------------------------------------------------------

    def _put(self, data: bytes, owed: bool = True) -> None:
        if not data:
            return
        self.owed = self.owed or owed
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

    def _count(self, size: int) -> None:
        """Count bytes of chunks, and acknowledge what has come when that is half of the window."""
        self.received_bytes = received = self.received_bytes + size
        window = self.peer_window
        if window and received - self.acknowledged_bytes >= (window + 1) // 2:
            self.acknowledged_bytes = received
            self._put(messages.acknowledgement(received), owed=False)

    def _receive_early(self, data: bytes) -> bytes:
        """Take bytes before the peer is connected, or behind the end; return those of chunks."""
        if self.phase is _ERROR:
            raise LocalProtocolError("bytes for a connection that is broken")
        if self.phase is Phase.C1 or self.phase is Phase.C2:
            data, self.handshake_buffer = self.handshake_buffer + data, b""
            try:
                return self._shake_hands(data)
            except RemoteProtocolError:
                self._end(Phase.ERROR)
                raise
        return b"" if self.phase is Phase.CLOSED else data

    def _judge(self, run: list[MediaMessage]) -> int:
        """Set the last message of a run aside unless it is media or data; return what it costs more."""
        if self.judged is not None:
            self.judged += run
        type_id, payload = run[-1][0], run[-1][3]
        if type_id in _MEDIA:
            return 0
        if type_id not in _DATA:
            self.waiting = run.pop()
        return len(payload) // BYTES_PER_UNIT if type_id in _VALUES else 0

    def _split(self, aggregate: Aggregate, most: int) -> tuple[list[MediaMessage], int]:
        """Return the next messages of an aggregate, and the units that they cost."""
        before = aggregate.judged
        run = aggregate.take(most)
        if aggregate.finished or not (self.publish_role is _PUBLISHING or self.any_media):
            self.aggregate = None
        units = aggregate.judged - before
        units += sum(len(message[3]) // BYTES_PER_UNIT for message in run if message[0] in _DATA)
        return run, units

    def _interpret(self, message: MediaMessage) -> Event | list[MediaMessage] | None:
        type_id, timestamp, msid, payload, csid = message
        takes_media = self.publish_role is _PUBLISHING or self.any_media
        if type_id == messages.COMMAND_AMF0 or type_id == messages.COMMAND_AMF3:
            command = commands.decode(type_id, payload)
            if command is None:
                return None
            if command.name == "@setDataFrame":  # sent as a command by broken encoders
                body = commands.without_format_byte(type_id, payload)
                return [(messages.DATA_AMF0, timestamp, msid, body, csid)] if takes_media else None
            return self._on_command(command, msid)
        if type_id == messages.AGGREGATE:
            if takes_media:
                self.aggregate = Aggregate(timestamp, msid, payload, csid)
        elif type_id == messages.WINDOW_ACK_SIZE:
            self.peer_window = messages.uint32(type_id, payload) if self.courteous else 0
        elif type_id == messages.USER_CONTROL and len(payload) >= 6:
            event, value = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:6], "big")
            if event == messages.PING_REQUEST and self.courteous:
                self._put(messages.user_control(messages.PING_RESPONSE, value), owed=False)
        return None

    def _move(self, event: Event, error: type[Exception]) -> None:
        """Move the machine that `event` concerns as the table says."""
        machine = state.MACHINES[type(event)]
        if machine is Machine.PHASE:
            self.phase = state.following_phase(self.phase, event, error)
            if self.phase is Phase.CLOSED:
                self._end(Phase.CLOSED)
        elif machine is Machine.PUBLISH:
            self.publish_role = state.following_role(self.publish_role, event, error)
        else:
            self.play_role = state.following_role(self.play_role, event, error)
