"""The first part of a fragmented MP4, which a muxer wrote: picked out, with our time scale. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.mp4 import TIME_SCALE

MAX_INIT_BYTES: Final = 1 << 18  # a configuration has 64 KiB at most
_MAX_BOXES: Final = 1000
_HEAD_SIZE: Final = 8
_HOLDERS: Final = frozenset({b"moov", b"trak", b"mdia"})
# Behind version and flags: where the time scale and the duration are, by version; two times come before them.
_SCALE_AT: Final = (12, 20)
_DURATION_AT: Final = (16, 24)
_LEAST_TKHD: Final = (
    92  # with its head; the picture's size comes last, 16 bits before the point and 16 behind
)
_TRACK_DURATION_AT: Final = (20, 28)  # a `tkhd` has the track's number and four bytes more


def pick_init(written: bytes) -> bytes:
    """Return `ftyp` and `moov` of what a muxer wrote, with our time scale in all tracks.

    Raises RemoteProtocolError where they are not there, or move time.
    """
    found = b""
    for kind, start, end in _boxes(written, 0, len(written)):
        if kind in (b"ftyp", b"moov"):
            found += written[start:end]
    if not is_init(found):
        raise RemoteProtocolError(f"the muxer's first part has {len(found)} bytes")
    data = bytearray(found)
    for kind, start, end in _headers(found):
        if kind == b"edts":
            raise RemoteProtocolError("the muxer moves time")
        if kind == b"mdhd":
            _put(data, start, end, _SCALE_AT, TIME_SCALE, wide=False)
    return bytes(data)


def is_init(data: bytes) -> bool:
    """Tell whether these bytes may be a first part."""
    return len(data) <= MAX_INIT_BYTES and data[4:8] == b"ftyp" and b"moov" in data


def set_duration(init: bytes, duration_ms: int) -> bytes:
    """Return a first part that tells how long the file is; as many bytes as before.

    Raises RemoteProtocolError for what is none.
    """
    data = bytearray(init)
    for kind, start, end in _headers(init):
        if kind in (b"mvhd", b"mdhd"):
            _put(data, start, end, _DURATION_AT, duration_ms)
        elif kind == b"tkhd":
            _put(data, start, end, _TRACK_DURATION_AT, duration_ms)
    return bytes(data)


def picture_size(init: bytes) -> tuple[int, int] | None:
    """Return width and height of the picture as it is to be shown; None where none can be found."""
    with suppress(RemoteProtocolError):
        for kind, start, end in _headers(init):
            if kind == b"tkhd" and end - start >= _LEAST_TKHD:
                width, height = struct.unpack_from(">II", init, end - 8)
                if width >> 16 and height >> 16:
                    return width >> 16, height >> 16
    return None


def _put(
    data: bytearray, start: int, end: int, places: tuple[int, int], value: int, *, wide: bool = True
) -> None:
    """Write a number; a `wide` one has as many bytes as the box's version gives it."""
    version = data[start + _HEAD_SIZE] & 1 if start + _HEAD_SIZE < end else 0
    size = 8 if version and wide else 4
    at = start + _HEAD_SIZE + places[version]
    if at + size > end:
        raise RemoteProtocolError(f"a header of {end - start} bytes")
    data[at : at + size] = min(value, (1 << 8 * size) - 1).to_bytes(size, "big")


def _headers(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield all boxes down to the headers of tracks."""
    waiting = [(0, len(data))]
    while waiting:
        begin, end = waiting.pop()
        for kind, start, stop in _boxes(data, begin, end):
            if kind in _HOLDERS:
                waiting.append((start + _HEAD_SIZE, stop))
            else:
                yield kind, start, stop


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(_MAX_BOXES):
        if begin >= end:
            return
        if end - begin < _HEAD_SIZE:
            break
        size, kind = struct.unpack_from(">I4s", data, begin)
        if not _HEAD_SIZE <= size <= end - begin:
            break
        yield kind, begin, begin + size
        begin += size
    raise RemoteProtocolError("broken boxes")
