"""An FLV file while it is written, and one that was left unfinished. Pure: bytes out, no file touched.

Payloads are those of the publisher, to the letter; times begin at 0. What is known at the end only has room
from the beginning, and is written over it: duration, size, and which kinds there are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final, Self

from rtmpsrv.errors import AmfError, LocalProtocolError
from rtmpsrv.media import flv
from rtmpsrv.media.classify import HEADER, classify_audio, classify_video
from rtmpsrv.media.metadata import METADATA_NAME
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.amf_values import EcmaArray, Value

SUFFIX: Final = ".flv"
FLAGS_AT: Final = 4  # in the file header
HEADER_SIZE: Final = 13
_AT_THE_END: Final = ("duration", "filesize")
_OF_A_FILE: Final = frozenset({*_AT_THE_END, "filepositions", "keyframes", "lasttimestamp"})
_NUMBER: Final = struct.Struct(">d")
_FLAGS: Final = {messages.AUDIO: 4, messages.VIDEO: 1}
_CLASSIFY: Final = {messages.AUDIO: classify_audio, messages.VIDEO: classify_video}

Headers = tuple[tuple[int, bytes], ...]
Patch = tuple[int, bytes]  # where in the file, and what


class FlvFile:
    """One file. Changed by its writer."""

    suffix = SUFFIX
    lost_frames = 0

    def __init__(self, headers: Headers) -> None:
        self._headers = frozenset(headers)
        self._flags = 0
        for type_id, _payload in headers:
            self._flags |= _FLAGS.get(type_id, 0)
        self._places: dict[str, int] = {}

    def begin(self, headers: Headers, metadata: Iterable[bytes]) -> bytes:
        """Return what comes before media."""
        described, others = _described(metadata)
        start = HEADER_SIZE + flv.TAG_HEADER_SIZE
        self._places = {name: start + at for name, at in _places(described).items()}
        tags = [flv.tag(messages.DATA_AMF0, 0, payload) for payload in (described, *others)]
        tags += [flv.tag(type_id, 0, payload) for type_id, payload in headers]
        return b"".join([flv.header(bool(self._flags & 4), bool(self._flags & 1)), *tags])

    def frame(self, type_id: int, time_ms: int, payload: bytes) -> bytes:
        """Return one message."""
        self._flags |= _FLAGS.get(type_id, 0)
        return flv.tag(type_id, time_ms, payload)

    def goes_on(self, headers: Headers) -> bool:
        """Tell whether the file may hold what has these headers: none of its own was replaced."""
        if not self._headers <= frozenset(headers):
            return False
        self._headers = frozenset(headers)
        return True

    def end(self) -> bytes:
        """Return nothing: there is nothing behind the last message."""
        return b""

    def patches(self, end_ms: int, size: int) -> list[Patch]:
        """Return what is to be written over the beginning when the file is whole."""
        return _patches(self._places, self._flags, end_ms, size)

    @property
    def held(self) -> int:
        """How many bytes were taken in and not returned."""
        return 0

    def leave(self) -> tuple[bytes, dict[str, Any] | None]:
        """Return what is still to be written, and plain values with which `resumed` goes on behind it.

        None: nobody can.
        """
        return b"", {"flags": self._flags, "places": self._places}

    @classmethod
    def resumed(cls, value: dict[str, Any], headers: Headers, beginning: bytes) -> Self:
        """Return one that goes on. Raises KeyError, TypeError, ValueError for what is none."""
        found = cls(headers)
        found._flags |= int(value["flags"])
        for name in _AT_THE_END:
            place = value["places"].get(name)
            if place is not None:
                found._places[name] = int(place)
        return found


class Scan:
    """Reads a file that was left unfinished, block by block: how much of it is whole."""

    def __init__(self) -> None:
        self.size = 0  # up to the end of the last whole tag
        self.end_ms = 0
        self._flags = 0
        self._frames = 0
        self._places: dict[str, int] = {}

    def read(self, head: bytes) -> int:
        """Take the 13 bytes at the beginning, then the head of each tag; return the size of what follows.

        0: nothing behind this can be read. Whoever calls it goes on by `taken` once that was there.
        """
        if not self.size:
            return HEADER_SIZE if head[:4] == b"FLV\x01" and len(head) == HEADER_SIZE else 0
        if len(head) < flv.TAG_HEADER_SIZE or (head[0] & 0x1F) not in (*_FLAGS, messages.DATA_AMF0):
            return 0
        return flv.TAG_HEADER_SIZE + int.from_bytes(head[1:4], "big") + flv.BACK_POINTER_SIZE

    def taken(self, head: bytes, beginning: bytes, size: int) -> None:
        """Count what is there whole; `beginning` is that of its payload."""
        if self.size:
            type_id = head[0] & 0x1F
            if type_id == messages.DATA_AMF0:
                if not self._places:
                    start = self.size + flv.TAG_HEADER_SIZE
                    self._places = {name: start + at for name, at in _places(beginning).items()}
            else:
                self._flags |= _FLAGS[type_id]
                self._frames += not _CLASSIFY[type_id](beginning) & HEADER
                self.end_ms = max(self.end_ms, int.from_bytes(head[4:7], "big") | head[7] << 24)
        self.size += size

    def patches(self) -> list[Patch]:
        """Return what is to be written over the beginning."""
        return _patches(self._places, self._flags, self.end_ms, self.size)

    @property
    def whole(self) -> int:
        """How much can be kept."""
        return self.size

    @property
    def head_bytes(self) -> int:
        """How much it wants to see next."""
        return flv.TAG_HEADER_SIZE if self.size else HEADER_SIZE

    @property
    def holds_media(self) -> bool:
        """Whether there is more than what every file begins with."""
        return self._frames > 0


def _patches(places: dict[str, int], flags: int, end_ms: int, size: int) -> list[Patch]:
    values = dict(zip(_AT_THE_END, (end_ms / 1000, float(size)), strict=True))
    return [(FLAGS_AT, bytes([flags]))] + [
        (place, _NUMBER.pack(values[name])) for name, place in places.items()
    ]


def _described(metadata: Iterable[bytes]) -> tuple[bytes, list[bytes]]:
    """Return onMetaData with room for what is known at the end, and the other data messages."""
    members: dict[str, Value] = {}
    others: list[bytes] = []
    for payload in metadata:
        if amf0.decode_first_string(payload) != METADATA_NAME:
            others.append(payload)
            continue
        try:
            values = amf0.decode(payload, lenient=True)
        except AmfError:
            continue
        if len(values) > 1 and isinstance(values[1], dict):
            members = {name: value for name, value in values[1].items() if name not in _OF_A_FILE}
    room: dict[str, Value] = dict.fromkeys(_AT_THE_END, 0.0)
    try:
        return amf0.encode(METADATA_NAME, EcmaArray(room | members)), others
    except LocalProtocolError:  # a text that no AMF0 holds
        return amf0.encode(METADATA_NAME, EcmaArray(room)), others


def _places(payload: bytes) -> dict[str, int]:
    """Return where in onMetaData the numbers are that are known at the end only."""
    found: dict[str, int] = {}
    for name in _AT_THE_END:
        key = len(name).to_bytes(2, "big") + name.encode() + bytes([amf0.NUMBER])
        at = payload.find(key)
        if at >= 0 and at + len(key) + _NUMBER.size <= len(payload):
            found[name] = at + len(key)
    return found
