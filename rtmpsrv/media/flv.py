"""The FLV file format: write the header and tags, read them back incrementally. Opens no files."""

from __future__ import annotations

import struct
from typing import NamedTuple

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError

MAX_PAYLOAD_SIZE = 0xFFFFFF  # bytes; the size field of a tag has 24 bits

_SIGNATURE = b"FLV"
_FILE_HEADER_SIZE = 9  # bytes, version 1
_MAX_FILE_HEADER_SIZE = 64  # bytes; the file names its own size, nobody has written another than 9
TAG_HEADER_SIZE = 11
BACK_POINTER_SIZE = 4
_HAS_AUDIO = 4
_HAS_VIDEO = 1
_TYPE_MASK = 0x1F  # bit 5 says that the tag is encrypted

_TAG_HEADER = struct.Struct(">IIHB")  # type and size; timestamp, its high byte last; stream id, always 0
_UINT32 = struct.Struct(">I")


class Tag(NamedTuple):
    """One tag; `timestamp` in ms."""

    type_id: int
    timestamp: int
    payload: bytes


def header(has_audio: bool, has_video: bool) -> bytes:
    """Return the 13 bytes before the first tag. mpegts.js waits for every kind announced here."""
    flags = (_HAS_AUDIO if has_audio else 0) | (_HAS_VIDEO if has_video else 0)
    return _SIGNATURE + bytes([1, flags]) + _UINT32.pack(_FILE_HEADER_SIZE) + _UINT32.pack(0)


def tag(type_id: int, timestamp: int, payload: bytes) -> bytes:
    """Return one tag with its back pointer; the timestamp is taken modulo 2^32."""
    size = len(payload)
    if size > MAX_PAYLOAD_SIZE:
        raise LocalProtocolError(f"FLV tag of {size} bytes, limit {MAX_PAYLOAD_SIZE}")
    turned = (timestamp << 8 | timestamp >> 24 & 0xFF) & 0xFFFFFFFF
    head = _TAG_HEADER.pack(type_id << 24 | size, turned, 0, 0)
    return b"".join((head, payload, _UINT32.pack(TAG_HEADER_SIZE + size)))


class TagReader:
    """Reads a stream of FLV bytes cut anywhere; unusable after an error.

    Holds at most one incomplete tag (16 MiB) beside what it is fed. Back pointers are not checked.
    """

    def __init__(self) -> None:
        self.has_audio = False
        self.has_video = False
        self._buffer = bytearray()
        self._in_tags = False

    def feed(self, data: bytes) -> list[Tag]:
        """Return the tags that `data` completes; raise RemoteProtocolError when it is not FLV."""
        self._buffer += data
        position = 0
        if not self._in_tags:
            position = self._file_header()
            if not position:
                return []
        tags: list[Tag] = []
        buffer = self._buffer
        while len(buffer) - position >= TAG_HEADER_SIZE:
            word, turned, _, _ = _TAG_HEADER.unpack_from(buffer, position)
            start = position + TAG_HEADER_SIZE
            end = start + (word & MAX_PAYLOAD_SIZE)
            if len(buffer) < end + BACK_POINTER_SIZE:
                break
            timestamp = turned >> 8 | (turned & 0xFF) << 24
            tags.append(Tag(word >> 24 & _TYPE_MASK, timestamp, bytes(buffer[start:end])))
            position = end + BACK_POINTER_SIZE
        del buffer[:position]
        return tags

    def _file_header(self) -> int:
        """Return where the first tag begins, 0 when the header is not complete yet."""
        buffer = self._buffer
        if buffer[:3] != _SIGNATURE[: len(buffer)]:
            raise RemoteProtocolError(f"FLV signature expected, got {bytes(buffer[:3])!r}")
        if len(buffer) < _FILE_HEADER_SIZE:
            return 0
        (size,) = _UINT32.unpack_from(buffer, 5)
        if not _FILE_HEADER_SIZE <= size <= _MAX_FILE_HEADER_SIZE:
            raise RemoteProtocolError(f"FLV header of {size} bytes, limit {_MAX_FILE_HEADER_SIZE}")
        if len(buffer) < size + BACK_POINTER_SIZE:
            return 0
        self.has_audio, self.has_video = bool(buffer[4] & _HAS_AUDIO), bool(buffer[4] & _HAS_VIDEO)
        self._in_tags = True
        return int(size) + BACK_POINTER_SIZE
