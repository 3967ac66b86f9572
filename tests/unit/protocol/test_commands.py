from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.protocol import amf0, commands
from rtmpsrv.protocol.amf_values import UNDEFINED
from rtmpsrv.protocol.chunks import ChunkReader
from rtmpsrv.protocol.messages import COMMAND_AMF0, COMMAND_AMF3, DATA_AMF0
from tests.unit.protocol.amf_tags import exact, untag
from tests.vectors import load, name_of

VECTORS = load("commands")
SIZE = 4096  # bytes, chunk size
COMMAND_TYPES = (COMMAND_AMF0, COMMAND_AMF3)


def numbered(vectors: list[dict[str, Any]]) -> list[Any]:
    return [
        pytest.param(vector, id=f"{index}-{vector['name']}")
        for index, vector in enumerate(vectors)
        if vector["type"] in COMMAND_TYPES
    ]


def payload_of(data: bytes, msid: int = 0, type_id: int = COMMAND_AMF0) -> bytes:
    """Take one framed message apart."""
    ((kind, timestamp, stream, payload, _csid),) = ChunkReader(SIZE).feed(data)
    assert (kind, timestamp, stream) == (type_id, 0, msid)
    return payload


def check(command: commands.Command | None, values: list[Any]) -> None:
    assert command is not None
    expected = [untag(value) for value in values]
    assert command.name == expected[0]
    assert command.transaction_id == expected[1]
    assert exact(command.properties) == exact(expected[2] if len(expected) > 2 else None)
    assert exact(command.arguments) == exact(expected[3:])


# --- what clients send ----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", numbered(VECTORS["from_client"]))
def test_command_of_a_client_is_decoded(vector: dict[str, Any]) -> None:
    check(commands.decode(vector["type"], bytes.fromhex(vector["hex"])), vector["values"])


@pytest.mark.parametrize("vector", numbered(VECTORS["amf3_forms"]))
def test_amf3_form_is_decoded(vector: dict[str, Any]) -> None:
    check(commands.decode(vector["type"], bytes.fromhex(vector["hex"])), vector["values"])


def test_amf3_command_without_its_format_byte_is_decoded() -> None:
    payload = amf0.encode("createStream", 2.0, None)
    assert commands.decode(COMMAND_AMF3, payload) == commands.Command("createStream", 2.0, None, [])
    assert commands.decode(COMMAND_AMF3, b"\0" + payload) == commands.decode(COMMAND_AMF0, payload)


MALFORMED = {v["name"]: bytes.fromhex(v["hex"]) for v in VECTORS["malformed"] if v["type"] == COMMAND_AMF0}


@pytest.mark.parametrize("name", ["empty command", "command name is a number"])
def test_command_without_a_name_is_ignored(name: str) -> None:
    assert commands.decode(COMMAND_AMF0, MALFORMED[name]) is None


@pytest.mark.parametrize("payload", ["", "02", "020005ab", "ff", "040200016100"])
def test_command_whose_name_cannot_be_read_is_ignored(payload: str) -> None:
    assert commands.decode(COMMAND_AMF0, bytes.fromhex(payload)) is None


@pytest.mark.parametrize("name", ["connect", "createStream", "publish", "play"])
def test_request_without_a_transaction_id_is_refused(name: str) -> None:
    for tail in (b"", b"\x00\x40"):
        with pytest.raises(RemoteProtocolError, match=f"{name} without a transaction id"):
            commands.decode(COMMAND_AMF0, amf0.encode(name) + tail)


def test_other_command_without_a_transaction_id_asks_for_no_reply() -> None:
    assert commands.decode(COMMAND_AMF0, amf0.encode("onBWDone")) == commands.Command("onBWDone", 0, None, [])


# Padding, a stray end of an object, values that are reserved or cut short.
@pytest.mark.parametrize("tail", ["000000", "000009", "09", "0d", "04", "0200106162", "ff01"])
def test_what_stands_before_bytes_that_cannot_be_read_counts(tail: str) -> None:
    command = commands.decode(COMMAND_AMF0, amf0.encode("publish", 4.0, None, "key") + bytes.fromhex(tail))
    assert command is not None
    assert (command.name, command.transaction_id, command.arguments[0]) == ("publish", 4.0, "key")


def test_members_before_a_value_that_cannot_be_read_count() -> None:
    head = amf0.encode("connect", 1.0) + b"\x03\x00\x03app" + amf0.encode("live")
    for tail in ("00016104", "0001610200", "0004", ""):
        command = commands.decode(COMMAND_AMF0, head + bytes.fromhex(tail))
        assert command == commands.Command("connect", 1.0, {"app": "live"}, [])


@pytest.mark.parametrize("name", ["connect without object", "connect object null"])
def test_command_without_an_object_has_no_properties(name: str) -> None:
    command = commands.decode(COMMAND_AMF0, MALFORMED[name])
    assert command == commands.Command("connect", 1.0, None, [])


def test_transaction_id_nan_asks_for_no_reply() -> None:
    command = commands.decode(COMMAND_AMF0, MALFORMED["transaction id NaN"])
    assert command is not None
    assert command.transaction_id == 0.0


def test_transaction_id_is_any_other_double() -> None:
    command = commands.decode(COMMAND_AMF0, MALFORMED["transaction id negative fraction"])
    assert command is not None
    assert command.transaction_id == -1.5


def test_transaction_id_that_is_no_number_counts_as_0() -> None:
    command = commands.decode(COMMAND_AMF0, amf0.encode("play", "1", None))
    assert command is not None
    assert command.transaction_id == 0.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), ("", ""), (None, ""), (1.0, ""), (True, ""), ({"a": 1.0}, ""), (UNDEFINED, "")],
)
def test_text_argument(value: Any, expected: str) -> None:
    assert commands.text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (1.0, True), (0.0, False), ("true", False), (None, False), ([1.0], False)],
)
def test_flag_argument(value: Any, expected: bool) -> None:
    assert commands.flag(value) is expected


# --- what this server sends -----------------------------------------------------------------------


def status(code: str, level: str) -> bytes:
    return commands.on_status(1, level, code, code, SIZE)


SENT: dict[str, Callable[[], bytes]] = {
    "connect _error Rejected": lambda: commands.connect_error(
        1.0, "NetConnection.Connect.Rejected", "not allowed", SIZE
    ),
    "createStream _result": lambda: commands.result(4.0, 1.0, SIZE),
    "getStreamLength _result 0": lambda: commands.result(3.0, 0.0, SIZE),
    "onFCPublish": lambda: commands.named_notice("onFCPublish", 0.0, "NetStream.Publish.Start", "s", SIZE),
    "onFCUnpublish": lambda: commands.named_notice(
        "onFCUnpublish", 0.0, "NetStream.Unpublish.Success", "s", SIZE
    ),
    "onFCSubscribe": lambda: commands.named_notice("onFCSubscribe", 0.0, "NetStream.Play.Start", "s", SIZE),
}
SENT_STATUSES = (
    "Publish.Start", "Publish.BadName", "Unpublish.Success", "Play.Reset", "Play.Start", "Play.Stop",
    "Play.UnpublishNotify", "Pause.Notify", "Unpause.Notify",
)  # fmt: skip
BY_NAME = {vector["name"]: vector for vector in VECTORS["from_server"]}


@pytest.mark.parametrize("name", SENT)
def test_answer_is_encoded(name: str) -> None:
    assert payload_of(SENT[name]()).hex() == BY_NAME[name]["hex"]


@pytest.mark.parametrize("code", SENT_STATUSES)
def test_status_is_encoded(code: str) -> None:
    vector = BY_NAME[f"onStatus NetStream.{code}"]
    level = dict(vector["values"][3]["object"])["level"]["string"]
    assert payload_of(status(f"NetStream.{code}", level), msid=1).hex() == vector["hex"]


def test_connect_result_says_what_clients_look_for() -> None:
    values = amf0.decode(payload_of(commands.connect_result(1.0, 0.0, True, SIZE)))
    plain = [untag(value) for value in BY_NAME["connect _result"]["values"]]
    assert values[:3] == plain[:3]
    assert plain[3].items() <= values[3].items()
    assert values[3]["capsEx"] == commands.CAPS_EX
    assert "avc1" in values[3]["fourCcList"]


@pytest.mark.parametrize("encoding", [0.0, 3.0])
def test_connect_result_for_a_client_that_announced_nothing(encoding: float) -> None:
    values = amf0.decode(payload_of(commands.connect_result(1.0, encoding, False, SIZE)))
    assert list(values[3]) == ["level", "code", "description", "objectEncoding"]
    assert values[3]["objectEncoding"] == encoding


def test_calls_with_nothing_to_say_have_two_nulls() -> None:
    assert amf0.decode(payload_of(commands.null_result(2.0, SIZE))) == ["_result", 2.0, None, None]


def test_sample_access_is_a_data_message_on_stream_0() -> None:
    payload = payload_of(commands.sample_access(SIZE), type_id=DATA_AMF0)
    assert amf0.decode(payload) == ["|RtmpSampleAccess", False, False]


def test_all_vectors_of_messages_that_are_sent_exist() -> None:
    assert SENT.keys() <= BY_NAME.keys()
    assert name_of(BY_NAME["null _result"]) == "null _result"
