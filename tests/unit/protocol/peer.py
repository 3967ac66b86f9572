"""A client in front of a server's connection, for the tests of `protocol/connection.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rtmpsrv.protocol import amf0, events
from rtmpsrv.protocol.chunks import ChunkReader, Limits, pack
from rtmpsrv.protocol.connection import (
    ServerConnection,
)
from tests.vectors import load

CHUNK_SIZE = 4096
HANDSHAKE = b"\3" + bytes(1536 + 1536)
SERVER_HANDSHAKE_BYTES = 1 + 1536 + 1536
CAPTURES = load("captures")["captures"]
MALFORMED = {v["name"]: v for v in load("commands")["malformed"]}

Sent = tuple[int, int, int, Any]  # type id, message stream id, timestamp, decoded values or control body


class Peer:
    """A client in front of a connection, and the session behind it, which says yes to everything."""

    def __init__(self, *, answers: bool = True, limits: Limits | None = None) -> None:
        self.connection = ServerConnection(CHUNK_SIZE, publisher_limits=limits or Limits())
        self.reader = ChunkReader()  # of what the server sends
        self.events: list[Any] = []
        self.answers = answers
        self.handshake_left = SERVER_HANDSHAKE_BYTES
        self.sent: list[Sent] = []

    def receive(self, data: bytes) -> list[Any]:
        """Let the connection receive; return the new events."""
        self.connection.receive_data(data)
        before = len(self.events)
        while self.connection.backlog:
            for event in self.connection.events():
                self.events.append(event)
                if self.answers:
                    answer(self.connection, event)
        self.collect()
        return self.events[before:]

    def collect(self) -> None:
        data = self.connection.data_to_send()
        skipped = min(self.handshake_left, len(data))
        self.handshake_left -= skipped
        for kind, timestamp, msid, payload, _csid in self.reader.feed(data[skipped:]):
            body = amf0.decode(payload) if kind in (18, 20) else payload
            self.sent.append((kind, msid, timestamp, body))

    def call(self, name: str, *values: Any, transaction: float = 0.0, msid: int = 0) -> list[Any]:
        """Let the client call a command with a null command object; return the new events."""
        return self.receive(command(name, transaction, None, *values, msid=msid))

    def statuses(self) -> list[tuple[str, str, str]]:
        """What the server said with onStatus, as (level, code, description)."""
        return [tuple(v[3].values()) for kind, _, _, v in self.sent if kind == 20 and v[0] == "onStatus"]

    def replies(self) -> list[Any]:
        return [values for kind, _, _, values in self.sent if kind == 20]


def answer(connection: ServerConnection, event: Any) -> None:
    reply = REPLIES.get(type(event))
    if reply is not None:
        connection.send(reply())


REPLIES: dict[type, Callable[[], events.Event]] = {
    events.ConnectAsked: events.ConnectAccepted,
    events.PublishAsked: lambda: events.PublishAccepted("started"),
    events.PublishStopAsked: lambda: events.PublishEnded("ended"),
    events.PlayAsked: events.PlayAccepted,
    events.PlayStopAsked: lambda: events.PlayEnded("stopped"),
}


def command(name: str, transaction: float, *values: Any, msid: int = 0, type_id: int = 20) -> bytes:
    return pack(3, 0, type_id, msid, amf0.encode(name, transaction, *values))


def connect(**properties: Any) -> bytes:
    return command("connect", 1.0, {"app": "live", **properties})


def connected(**options: Any) -> Peer:
    peer = Peer(**options)
    peer.receive(HANDSHAKE + connect())
    return peer


def publishing(**options: Any) -> Peer:
    peer = connected(**options)
    peer.call("createStream", transaction=2.0)
    assert peer.call("publish", "key", "live", msid=1) == [events.PublishAsked(1, "key", "live")]
    return peer


def playing() -> Peer:
    peer = connected()
    peer.call("createStream", transaction=2.0)
    assert peer.call("play", "key", msid=1) == [events.PlayAsked(1, "key")]
    return peer


def padded(length: int) -> bytes:
    """Return a command of so many bytes."""
    begin = amf0.encode("x", 0.0)
    return begin + amf0.encode("y" * (length - len(begin) - 3))


def members(value: Any) -> list[Any]:
    """Return the values inside an object, an array or an array of arrays; of anything else itself."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if inside is None else [one for item in inside for one in members(item)]


def video(payload: bytes, timestamp: int = 0) -> bytes:
    return pack(6, timestamp, 9, 1, payload)


def flat(received: Iterable[Any]) -> list[Any]:
    """Join the runs of media: where they are cut depends on the reads."""
    return [item for event in received for item in (event if isinstance(event, list) else (event,))]


def tag(type_id: int, payload: bytes) -> bytes:
    return bytes((type_id,)) + len(payload).to_bytes(3, "big") + bytes(7) + payload + bytes(4)
