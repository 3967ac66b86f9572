"""Commands as bytes: what peers call, decoded, and what a server answers, encoded.

Encoders are pure functions of their arguments, so that bytes can be shared between connections. All
answers are AMF0 whatever the peer offered. Status objects hold strings only, in the order level, code,
description: FFmpeg skips through them with a reader that knows few types.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import RemoteProtocolError
from . import amf0
from .chunks import pack
from .messages import COMMAND_AMF0, COMMAND_AMF3, COMMAND_CSID, DATA_AMF0, DATA_CSID

FMS_VERSION = "FMS/3,0,1,123"
CAPABILITIES = 31.0
FORWARD = 4.0  # E-RTMP v2: this server forwards the codec; it neither encodes nor decodes
CAPS_EX = 14.0  # E-RTMP v2: multitrack 2, ModEx 4, nano offsets 8; all kept byte for byte
FORWARDED_FOURCCS = [
    "avc1", "hvc1", "av01", "vp08", "vp09", "vvc1", "mp4a", "Opus", "fLaC", "ac-3", "ec-3", ".mp3"
]  # fmt: skip
# Requests that must have a transaction id; without one any other command is one that asks for no reply.
_NUMBERED = frozenset(("connect", "createStream", "publish", "play"))


class Command(NamedTuple):
    """A decoded command message."""

    name: str
    transaction_id: float
    properties: Any
    arguments: list[Any]


def decode(type_id: int, payload: bytes) -> Command | None:
    """Decode a command message, None for one without a name. What cannot be read ends it: encoders pad.

    Raises RemoteProtocolError for a request without its transaction id. Type 17 has one format byte 00 before
    the same AMF0 values (E-RTMP v2); some stacks leave it out.
    """
    values = amf0.decode(without_format_byte(type_id, payload), lenient=True)
    if not values or not isinstance(values[0], str):
        return None
    name = values[0]
    if len(values) < 2 and name in _NUMBERED:
        raise RemoteProtocolError(f"{name} without a transaction id")
    transaction_id = values[1] if len(values) > 1 and isinstance(values[1], float) else 0.0
    if transaction_id != transaction_id:  # NaN asks for no reply
        transaction_id = 0.0
    return Command(name, transaction_id, values[2] if len(values) > 2 else None, values[3:])


def without_format_byte(type_id: int, payload: bytes) -> bytes:
    """Return the AMF0 values of a command message, which in type 17 are behind a byte 00 or not."""
    return payload[1:] if type_id == COMMAND_AMF3 and payload[:1] != b"\x02" else payload


def text(value: object) -> str:
    """Return a string argument; any other AMF value counts as the empty string."""
    return str(value) if isinstance(value, str) else ""


def flag(value: object) -> bool:
    """Return a boolean argument: booleans, and numbers other than 0; anything else is False."""
    return bool(value) if isinstance(value, (bool, float, int)) else False


def command(msid: int, *values: Any, chunk_size: int) -> bytes:
    """Frame a command message on chunk stream 3."""
    return pack(COMMAND_CSID, 0, COMMAND_AMF0, msid, amf0.encode(*values), chunk_size)


def connect_result(transaction_id: float, object_encoding: float, enhanced: bool, chunk_size: int) -> bytes:
    """Frame the answer to `connect`; `enhanced` for a client that announced Enhanced RTMP.

    The others are told nothing of it: small readers (go2rtc) know no strict array and give up the answer.
    """
    information: dict[str, Any] = {
        "level": "status",
        "code": "NetConnection.Connect.Success",
        "description": "Connection succeeded.",
        "objectEncoding": object_encoding,
    }
    if enhanced:
        information |= {
            "fourCcList": FORWARDED_FOURCCS,
            "videoFourCcInfoMap": {"*": FORWARD},
            "audioFourCcInfoMap": {"*": FORWARD},
            "capsEx": CAPS_EX,
        }
    return command(
        0,
        "_result",
        transaction_id,
        {"fmsVer": FMS_VERSION, "capabilities": CAPABILITIES, "mode": 1.0},
        information,
        chunk_size=chunk_size,
    )


def connect_error(transaction_id: float, code: str, description: str, chunk_size: int) -> bytes:
    information = {"level": "error", "code": code, "description": description}
    return command(0, "_error", transaction_id, None, information, chunk_size=chunk_size)


def result(transaction_id: float, value: Any, chunk_size: int) -> bytes:
    """Frame a `_result` with null properties and one value."""
    return command(0, "_result", transaction_id, None, value, chunk_size=chunk_size)


def null_result(transaction_id: float, chunk_size: int) -> bytes:
    """Frame the `_result` for calls that have nothing to say; null, since small readers know no undefined."""
    return result(transaction_id, None, chunk_size)


def named_notice(name: str, transaction_id: float, code: str, description: str, chunk_size: int) -> bytes:
    """Frame onFCPublish and its kin; FMLE-style encoders wait for it with the id of their call."""
    information = {"code": code, "description": description}
    return command(0, name, transaction_id, None, information, chunk_size=chunk_size)


def on_status(msid: int, level: str, code: str, description: str, chunk_size: int) -> bytes:
    """Frame `onStatus`; `level` is "status" or "error", clients hang on any other pair of level and code."""
    information = {"level": level, "code": code, "description": description}
    return command(msid, "onStatus", 0.0, None, information, chunk_size=chunk_size)


def sample_access(chunk_size: int) -> bytes:
    """Frame `|RtmpSampleAccess` false, false on message stream 0, as the reference does before media."""
    body = amf0.encode("|RtmpSampleAccess", False, False)
    return pack(DATA_CSID, 0, DATA_AMF0, 0, body, chunk_size)
