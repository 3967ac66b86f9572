from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.protocol import chunks, messages
from rtmpsrv.protocol.chunks import ChunkReader
from rtmpsrv.protocol.messages import Message
from tests.vectors import load

VECTORS = load("control")
LIMIT_TYPES = {"hard": 0, "soft": 1, "dynamic": 2}


def body_of(data: bytes) -> str:
    """Take one framed message apart: it must be a control message on chunk stream 2, stream 0, time 0."""
    ((type_id, timestamp, msid, payload, csid),) = ChunkReader().feed(data)
    assert (timestamp, msid, csid) == (0, 0, messages.CONTROL_CSID)
    assert 1 <= type_id <= 6
    return payload.hex()


def vector_id(vector: dict[str, Any]) -> str:
    return f"{vector['name']}-{vector['body']}"


def encoded(vector: dict[str, Any]) -> bytes | None:
    value = vector["value"]
    match vector["type"]:
        case messages.SET_CHUNK_SIZE:
            return messages.set_chunk_size(value["size"])
        case messages.ACKNOWLEDGEMENT:
            return messages.acknowledgement(value["sequence"])
        case messages.WINDOW_ACK_SIZE:
            return messages.window_ack_size(value["size"])
        case messages.SET_PEER_BANDWIDTH if value["limit"]:
            return messages.set_peer_bandwidth(value["size"], LIMIT_TYPES[value["limit"]])
    return None  # never sent: Abort, and the old form of Set Peer Bandwidth


@pytest.mark.parametrize("vector", VECTORS["control"], ids=vector_id)
def test_control_vector(vector: dict[str, Any]) -> None:
    data = encoded(vector)
    if data is not None:
        assert body_of(data) == vector["body"]
    first = next(iter(vector["value"].values()))
    assert messages.uint32(vector["type"], bytes.fromhex(vector["body"])) == first


@pytest.mark.parametrize("vector", VECTORS["user_control"], ids=vector_id)
def test_user_control_vector(vector: dict[str, Any]) -> None:
    value = vector["value"] or {}
    if len(value) == 1 and len(vector["body"]) == 12:
        (number,) = value.values()
        assert body_of(messages.user_control(vector["event"], number)) == vector["body"]


@pytest.mark.parametrize("vector", VECTORS["ack_sequence"], ids=lambda v: str(v["received_total"]))
def test_acknowledgement_counts_modulo_2_to_the_32(vector: dict[str, Any]) -> None:
    assert body_of(messages.acknowledgement(vector["received_total"])) == vector["send"]


def test_control_field_of_three_bytes_is_refused() -> None:
    assert messages.uint32(5, b"\0\0\0\7") == 7
    with pytest.raises(RemoteProtocolError, match="type 5 of 3 bytes"):
        messages.uint32(5, b"\0\0\0")


def test_messages_are_framed_as_the_reference_does() -> None:
    assert messages.window_ack_size(5_000_000).hex() == "020000000000040500000000004c4b40"
    assert messages.set_chunk_size(4096).hex() == "02000000000004010000000000001000"
    assert messages.user_control(messages.STREAM_BEGIN, 1).hex() == "020000000000060400000000000000000001"
    assert messages.user_control(messages.STREAM_EOF, 1).hex() == "020000000000060400000000000100000001"


def test_ping_carries_its_time_as_timestamp_too() -> None:
    (message,) = ChunkReader().feed(messages.user_control(messages.PING_REQUEST, 123456, 123456))
    assert message[1] == 123456
    assert message[3].hex() == "00060001e240"


def test_message_has_the_fields_of_the_readers_tuples() -> None:
    (plain,) = ChunkReader().feed(chunks.pack(6, 7, 9, 1, b"payload"))
    message = Message(*plain)
    assert (message.type_id, message.timestamp, message.msid, message.csid) == (9, 7, 1, 6)
    assert message.payload == b"payload"
