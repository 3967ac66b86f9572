"""What a server says in answer to its clients, as bytes. Pure functions; when it may be said is not here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import LocalProtocolError
from . import commands, messages
from .commands import Command
from .events import (
    ConnectAccepted,
    ConnectRejected,
    Event,
    Ping,
    PlayAccepted,
    PlayEnded,
    PlayRefused,
    PublishAccepted,
    PublishEnded,
    PublishRefused,
    Refused,
)
from .requests import Requests

WINDOW_ACK_SIZE = 5_000_000  # bytes, announced to every client
PEER_BANDWIDTH_DYNAMIC = 2  # limit type of Set Peer Bandwidth (RTMP 1.0 section 5.4.5)

_REPLIES = frozenset(("_result", "_error", "onStatus", "close"))

_FC_NOTICES = {
    "FCPublish": ("onFCPublish", "NetStream.Publish.Start"),
    "FCUnpublish": ("onFCUnpublish", "NetStream.Unpublish.Success"),
    "FCSubscribe": ("onFCSubscribe", "NetStream.Play.Start"),
}


def encode(event: Event, requests: Requests, chunk_size: int) -> bytes:
    """Return the bytes of an answer, or of a ping; b"" for an answer that is not said.

    `chunk_size` is the one in force after the answer: `connect_accepted` announces it itself.
    """
    encoder = _ENCODERS.get(type(event))
    if encoder is None:
        raise LocalProtocolError(f"{type(event).__name__} is not a server's to send")
    return encoder(event, requests, chunk_size)


def courtesy(command: Command, chunk_size: int) -> bytes:
    """Return the answer to a call that changes nothing here, b"" if it wants none."""
    name, transaction_id = command.name, command.transaction_id
    if name == "getStreamLength":
        return commands.result(transaction_id, 0.0, chunk_size)
    answer = b""
    if transaction_id and name not in _REPLIES:
        answer = commands.null_result(transaction_id, chunk_size)
    if name in _FC_NOTICES:  # FMLE-style encoders wait for it
        stream = commands.text(command.arguments[0]) if command.arguments else ""
        notice, code = _FC_NOTICES[name]
        answer += commands.named_notice(notice, transaction_id, code, stream, chunk_size)
    return answer


def _connect_accepted(event: ConnectAccepted, requests: Requests, chunk_size: int) -> bytes:
    return (
        messages.window_ack_size(WINDOW_ACK_SIZE)
        + messages.set_peer_bandwidth(WINDOW_ACK_SIZE, PEER_BANDWIDTH_DYNAMIC)
        + messages.set_chunk_size(chunk_size)
        + commands.connect_result(
            requests.connect_transaction, requests.object_encoding, requests.enhanced, chunk_size
        )
    )


def _connect_rejected(event: ConnectRejected, requests: Requests, chunk_size: int) -> bytes:
    return commands.connect_error(requests.connect_transaction, event.code, event.description, chunk_size)


def _refused(event: Refused, requests: Requests, chunk_size: int) -> bytes:
    return commands.on_status(event.msid, "error", event.code, event.description, chunk_size)


def _publish_accepted(event: PublishAccepted, requests: Requests, chunk_size: int) -> bytes:
    msid, description = requests.publish_msid, event.description
    status = commands.on_status(msid, "status", "NetStream.Publish.Start", description, chunk_size)
    return messages.user_control(messages.STREAM_BEGIN, msid) + status


def _publish_refused(event: PublishRefused, requests: Requests, chunk_size: int) -> bytes:
    return commands.on_status(requests.publish_msid, "error", event.code, event.description, chunk_size)


def _publish_ended(event: PublishEnded, requests: Requests, chunk_size: int) -> bytes:
    msid, description = requests.publish_msid, event.description
    if description is None:
        return b""
    return commands.on_status(msid, "status", "NetStream.Unpublish.Success", description, chunk_size)


def _play_accepted(event: PlayAccepted, requests: Requests, chunk_size: int) -> bytes:
    return b""


def _play_refused(event: PlayRefused, requests: Requests, chunk_size: int) -> bytes:
    return commands.on_status(requests.play_msid, "error", event.code, event.description, chunk_size)


def _play_ended(event: PlayEnded, requests: Requests, chunk_size: int) -> bytes:
    if event.description is None:
        return b""
    return commands.on_status(
        requests.play_msid, "status", "NetStream.Play.Stop", event.description, chunk_size
    )


def _ping(event: Ping, requests: Requests, chunk_size: int) -> bytes:
    return messages.user_control(messages.PING_REQUEST, event.milliseconds, event.milliseconds)


_ENCODERS: dict[type[Event], Callable[[Any, Requests, int], bytes]] = {
    ConnectAccepted: _connect_accepted,
    ConnectRejected: _connect_rejected,
    Refused: _refused,
    PublishAccepted: _publish_accepted,
    PublishRefused: _publish_refused,
    PublishEnded: _publish_ended,
    PlayAccepted: _play_accepted,
    PlayRefused: _play_refused,
    PlayEnded: _play_ended,
    Ping: _ping,
}
