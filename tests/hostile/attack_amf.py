"""Attacks by values that are much work to read, each below the limits that close a connection."""

from __future__ import annotations

from rtmpsrv.protocol import amf0, messages

from .attacker import Attack
from .cases import attack
from .wire import Closed, message, whole

NULLS = b"\x05" * 9984  # values allowed in one message: 10,000
DEEP = b"\x03\x00\x01a" * 60 + b"\x05" + b"\x00\x00\x09" * 60  # levels allowed: 64
DEEP_ARRAYS = b"\x0a\x00\x00\x00\x01" * 60 + b"\x05"
REFERENCES = b"\x0a\x00\x00\x20\x00" + b"\x07\x00\x00" * 8192  # an array of itself
MEMBERS = b"\x03" + b"".join(b"\x00\x04%04d\x05" % n for n in range(9000)) + b"\x00\x00\x09"
AMF3_STRINGS = b"\x11\x09\x81\x81\x01\x01" + b"\x06\x03a" + b"\x06\x00" * 8191  # the same one by reference
AMF3_OBJECTS = b"\x11\x09\x81\x81\x01\x01" + b"\x0a\x0b\x01\x01" * 8192  # each empty, without a class
DATES = b"\x0b" + bytes(10)

VALUES = {
    "nulls": NULLS,
    "deep_objects": DEEP * 80,
    "deep_arrays": DEEP_ARRAYS * 150,
    "references": REFERENCES,
    "members": MEMBERS,
    "amf3_strings": AMF3_STRINGS,
    "amf3_objects": AMF3_OBJECTS,
    "dates": DATES * 5000,
}
BEGIN = amf0.encode("x", 0.0)


@attack()
def amf_bombs_before_connect(this: Attack) -> None:
    """Send commands of thousands of values before connect, on connections that come back."""

    def once() -> None:
        connection = this.open().shake()
        try:
            for value in VALUES.values():
                connection.send(message(messages.COMMAND_AMF0, (BEGIN + value)[:65_000], 0, csid=3) * 4)
                connection.discard()
        except Closed:
            pass
        finally:
            connection.close()

    this.together(4, once)


def _commands(this: Attack, names: tuple[str, ...]) -> None:
    """Send commands and data of such values while publishing; a refused value may close."""
    pieces = []
    for name in names:
        pieces.append(whole(messages.COMMAND_AMF0, BEGIN + VALUES[name], 0, csid=3))
        pieces.append(whole(messages.DATA_AMF0, amf0.encode("@setDataFrame", "onMetaData") + VALUES[name]))

    def once() -> None:
        connection = this.publisher()
        this.flood([connection], b"".join(pieces))
        connection.close()

    this.together(1, once)


@attack()
def amf_of_many_nulls(this: Attack) -> None:
    """Send commands and metadata of ten thousand nulls each."""
    _commands(this, ("nulls",))


@attack()
def amf_of_great_depth(this: Attack) -> None:
    """Send commands and metadata of objects and arrays sixty levels deep."""
    _commands(this, ("deep_objects", "deep_arrays"))


@attack()
def amf_of_references(this: Attack) -> None:
    """Send commands and metadata of references, in AMF0 and AMF3."""
    _commands(this, ("references", "amf3_strings", "amf3_objects"))


@attack()
def amf_of_many_members(this: Attack) -> None:
    """Send commands and metadata of objects of thousands of members, and of dates."""
    _commands(this, ("members", "dates"))


@attack()
def amf_of_a_player(this: Attack) -> None:
    """Send commands of all these values while playing the good stream, in chunks of 128 bytes."""
    data = b"".join(
        message(messages.COMMAND_AMF0, (BEGIN + value)[:65_000], 1, csid=3) for value in (NULLS, DEEP * 80)
    )

    def once() -> None:
        connection = this.player("good")
        this.flood([connection], data)
        connection.close()

    this.together(2, once)
