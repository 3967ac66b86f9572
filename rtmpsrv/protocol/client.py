"""The client's end of one RTMP connection: as `connection` is for the server. No I/O, no clock.

What the client asks goes in as an event, the answer comes out as one; the same table judges both. Answers
to the server's pings, acknowledgements and chunk size are settled here. What a server says unasked is no
error, since servers differ: it comes out as a Status or a Call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import LocalProtocolError, RemoteProtocolError
from . import commands, events, handshake, messages
from .commands import Command
from .events import Event
from .link import Link
from .requests import Requests
from .state import Phase, Role

_PUBLISH_START = "NetStream.Publish.Start"
_PUBLISH_END = "NetStream.Unpublish.Success"
_PLAY_START = "NetStream.Play.Start"
_PLAY_END = "NetStream.Play.Stop"
_REPLIES = frozenset(("_result", "_error"))


@dataclass(slots=True)
class ClientConnection(Link):
    """One connection's protocol state. Not shared: its client is the only caller. Never blocks.

    Begins with `send(ClientHello())`; `connect` may be sent as soon as the phase is OPEN.
    """

    any_media: bool = True
    requests: Requests = field(default_factory=Requests)
    server_information: dict[str, Any] = field(default_factory=dict, repr=False)  # of the answer to connect
    echoed: bool = False  # C2 was sent
    transactions: int = 0  # begun so far; the last one's id
    awaited: dict[float, str] = field(default_factory=dict)  # what each transaction under way has asked for

    def call(self, name: str, *arguments: Any, msid: int = 0, answered: bool = True) -> float:
        """Send any command; return its transaction id, 0 for one that wants no answer."""
        transaction_id = self._next_transaction("") if answered else 0.0
        self.send(events.Call(msid, name, transaction_id, None, arguments))
        return transaction_id

    # --- what goes out ----------------------------------------------------------------------------

    def _encode(self, event: Event) -> bytes:
        encode = _ENCODERS.get(type(event))
        if encode is None:
            raise LocalProtocolError(f"{type(event).__name__} is not a client's to send")
        self.requests.note(event)
        return encode(self, event)

    def _command(self, msid: int, *values: Any) -> bytes:
        return commands.command(msid, *values, chunk_size=self.out_chunk_size)

    def _next_transaction(self, purpose: str) -> float:
        self.transactions += 1
        if purpose:
            self.awaited[float(self.transactions)] = purpose
        return float(self.transactions)

    def _hello(self, event: events.ClientHello) -> bytes:
        # Zero version: the simple handshake, which every server speaks.
        c1 = bytes(8) + os.urandom(handshake.HANDSHAKE_SIZE - 8)
        return bytes((handshake.RTMP_VERSION,)) + c1

    def _connect(self, event: events.ConnectAsked) -> bytes:
        self.transactions = max(self.transactions, int(event.transaction_id))
        self.awaited[event.transaction_id] = "connect"
        properties = {"app": event.app, **event.properties}
        return self._command(0, "connect", event.transaction_id, properties)

    def _create_stream(self, event: events.StreamAsked) -> bytes:
        return self._command(0, "createStream", self._next_transaction("createStream"), None)

    def _publish(self, event: events.PublishAsked) -> bytes:
        transaction_id = self._next_transaction("")
        return self._command(event.msid, "publish", transaction_id, None, event.name, event.mode)

    def _play(self, event: events.PlayAsked) -> bytes:
        return self._command(event.msid, "play", self._next_transaction(""), None, event.name, event.start)

    def _pause(self, event: events.PauseAsked) -> bytes:
        return self._command(self.requests.play_msid, "pause", 0.0, None, event.paused, 0.0)

    def _receive(self, event: events.ReceiveAsked) -> bytes:
        name = "receiveAudio" if event.audio else "receiveVideo"
        return self._command(self.requests.play_msid, name, 0.0, None, event.wanted)

    def _publish_stop(self, event: events.PublishStopAsked) -> bytes:
        return self._command(self.requests.publish_msid, "closeStream", 0.0, None)

    def _play_stop(self, event: events.PlayStopAsked) -> bytes:
        return self._command(self.requests.play_msid, "closeStream", 0.0, None)

    def _ping(self, event: events.Ping) -> bytes:
        return messages.user_control(messages.PING_REQUEST, event.milliseconds, event.milliseconds)

    def _call(self, event: events.Call) -> bytes:
        return self._command(event.msid, event.name, event.transaction_id, event.properties, *event.arguments)

    # --- what comes in ----------------------------------------------------------------------------

    def _shake_hands(self, data: bytes) -> bytes:
        """Work through S0, S1 and S2; return the bytes that follow them."""
        if not data:
            return b""
        size = handshake.HANDSHAKE_SIZE
        if self.phase is Phase.C1:
            raise RemoteProtocolError("the server speaks before the client")
        handshake.check_version(data[0])
        if len(data) > size and not self.echoed:
            self.echoed = True
            self._put(data[1 : 1 + size])
        if len(data) < 1 + 2 * size:
            self.handshake_buffer = data
            return b""
        self._move(events.HandshakeDone(), RemoteProtocolError)
        return data[1 + 2 * size :]

    def _on_command(self, command: Command, msid: int) -> Event | None:
        event: Event | None = None
        if command.name in _REPLIES:
            event = self._answer(command)
        elif command.name == "onStatus":
            event = self._status(command, msid)
        if event is None:
            arguments = tuple(command.arguments)
            event = events.Call(msid, command.name, command.transaction_id, command.properties, arguments)
            if command.transaction_id and command.name not in _REPLIES:
                self._put(commands.null_result(command.transaction_id, self.out_chunk_size))
        self._move(event, RemoteProtocolError)
        if isinstance(event, events.ConnectAccepted) and self.chunk_size != self.out_chunk_size:
            self._put(messages.set_chunk_size(self.chunk_size))
            self.out_chunk_size = self.chunk_size
        return event

    def _answer(self, command: Command) -> Event | None:
        """Return the answer to `connect` or `createStream`, None for any other."""
        purpose = self.awaited.pop(command.transaction_id, "")
        information = command.arguments[0] if command.arguments else None
        if purpose == "connect":
            known = information if isinstance(information, dict) else {}
            if command.name == "_result":
                self.server_information = known
                return events.ConnectAccepted()
            return events.ConnectRejected(
                commands.text(known.get("code")), commands.text(known.get("description"))
            )
        if purpose == "createStream" and command.name == "_result" and isinstance(information, float):
            if not 0 <= information <= 0xFFFFFFFF:
                raise RemoteProtocolError(f"message stream {information}, limits 0 to {0xFFFFFFFF}")
            return events.StreamCreated(int(information))
        return None

    def _status(self, command: Command, msid: int) -> Event | None:
        """Return what a status answers, or the status itself; None when it has no information."""
        information = command.arguments[0] if command.arguments else None
        if not isinstance(information, dict):
            return None
        level, code, description = (
            commands.text(information.get(name)) for name in ("level", "code", "description")
        )
        event: Event | None = None
        # Some servers answer on message stream 0.
        if msid in (0, self.requests.publish_msid):
            event = self._publish_answer(level, code, description)
        if event is None and msid in (0, self.requests.play_msid):
            event = self._play_answer(level, code, description)
        return event or events.Status(msid, level, code, description)

    def _publish_answer(self, level: str, code: str, description: str) -> Event | None:
        role = self.publish_role
        if role is Role.PUBLISH_ASKED and code == _PUBLISH_START:
            return events.PublishAccepted(description)
        if role is Role.PUBLISH_ASKED and level == "error":
            return events.PublishRefused(code, description)
        if role in (Role.PUBLISHING, Role.PUBLISH_STOP_ASKED) and code == _PUBLISH_END:
            return events.PublishEnded(description)
        return None

    def _play_answer(self, level: str, code: str, description: str) -> Event | None:
        role = self.play_role
        if role is Role.PLAY_ASKED and code == _PLAY_START:
            return events.PlayAccepted()
        if role in (Role.PLAY_ASKED, Role.PLAYING) and level == "error":
            return events.PlayRefused(code, description)
        if role is Role.PLAY_STOP_ASKED and code == _PLAY_END:
            return events.PlayEnded(description)
        return None


_ENCODERS: dict[type[Event], Callable[[ClientConnection, Any], bytes]] = {
    events.ClientHello: ClientConnection._hello,
    events.ConnectAsked: ClientConnection._connect,
    events.StreamAsked: ClientConnection._create_stream,
    events.PublishAsked: ClientConnection._publish,
    events.PublishStopAsked: ClientConnection._publish_stop,
    events.PlayAsked: ClientConnection._play,
    events.PlayStopAsked: ClientConnection._play_stop,
    events.PauseAsked: ClientConnection._pause,
    events.ReceiveAsked: ClientConnection._receive,
    events.Ping: ClientConnection._ping,
    events.Call: ClientConnection._call,
}
