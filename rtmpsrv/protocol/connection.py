"""The server's end of one RTMP connection: received bytes in, events and media out. No I/O, no clock.

Handshake, acknowledgements, pongs, chunk size and the small courtesy calls of encoders (releaseStream,
FCPublish, ...) are settled here; the session sees only what it has to decide. Bytes to send collect in
a buffer that `data_to_send` empties. The whole object is plain data and may be pickled at any moment.
How bytes are taken is in `link`, what may happen when in `state`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import RemoteProtocolError
from . import answers, commands, events, handshake, messages, requests, state
from .chunks import ChunkReader, Limits
from .commands import Command
from .events import Event
from .link import Link, MediaMessage
from .requests import Requests
from .state import Phase, Role

MAX_MESSAGE_STREAMS = 64  # created and not deleted, per connection; encoders use up to 3
MAX_MESSAGES_BEFORE_ROLE = 200  # from connect, or from the last end, to publish or play; real clients need 10

# Before a peer is known to be a publisher it sends commands only; the longest, connect, takes under 4 KiB.
UNKNOWN_PEER = Limits(media_bytes=1 << 16, command_bytes=1 << 14, partial_bytes=1 << 18)


@dataclass(slots=True)
class ServerConnection(Link):
    """One connection's protocol state. Not shared: its session is the only caller. Never blocks."""

    publisher_limits: Limits = field(default_factory=Limits)
    reader: ChunkReader = field(
        default_factory=lambda: ChunkReader(limits=UNKNOWN_PEER, last_message_type=messages.LAST_MESSAGE_TYPE)
    )
    requests: Requests = field(default_factory=Requests)
    messages_before_role: int = 0
    created_streams: int = 0
    live_streams: set[int] = field(default_factory=set)

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
        self._move(events.HandshakeDone(), RemoteProtocolError)
        return data[handshake.HANDSHAKE_SIZE :]

    def _judge(self, run: list[MediaMessage]) -> int:
        """Count what a peer sends before it says what it wants."""
        if self.publish_role is not _PUBLISHING and self.play_role is not _PLAYING:
            self.messages_before_role += len(run)
            if self.messages_before_role > MAX_MESSAGES_BEFORE_ROLE:
                raise RemoteProtocolError(
                    f"more messages than the limit {MAX_MESSAGES_BEFORE_ROLE} before publish or play"
                )
        return Link._judge(self, run)

    def _encode(self, event: Event) -> bytes:
        if isinstance(event, events.ConnectAccepted):
            self.out_chunk_size = self.chunk_size
        elif isinstance(event, events.PublishAccepted):
            self.reader.limits = self.publisher_limits
        elif isinstance(event, (events.PublishEnded, events.PlayEnded)):
            self.messages_before_role = 0
        return answers.encode(event, self.requests, self.out_chunk_size)

    # --- commands of the peer ---------------------------------------------------------------------

    def _on_command(self, command: Command, msid: int) -> Event | None:
        handler = _COMMANDS.get(command.name)
        if handler is not None:
            return handler(self, command, msid)
        self._put(answers.courtesy(command, self.out_chunk_size))
        return None

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

    def _on_fc_unpublish(self, command: Command, msid: int) -> Event | None:
        # FMLE and its kin stop with it alone, keep the connection and may publish again.
        self._put(answers.courtesy(command, self.out_chunk_size))
        return self._on_stop(command, msid)


# Looked at for every read.
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
    "FCUnpublish": ServerConnection._on_fc_unpublish,
}
