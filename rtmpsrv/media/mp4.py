"""Fragments of MP4 from tables of frames: exact, with nothing held back. Pure; first parts are in `mp4_init`.

ISO 14496-12, section 8.8. All tracks count milliseconds, as RTMP does: nothing is rounded, nothing drifts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

TIME_SCALE: Final = 1000
MAX_DURATION: Final = 0x7FFFFFFF  # ms, of one frame

_HEAD: Final = struct.Struct(">I4s")
_TRACK_HEAD: Final = struct.Struct(">II")
_TRACK_TIME: Final = struct.Struct(">IQ")
_RUN_HEAD: Final = struct.Struct(">IIi")
_ROW: Final = struct.Struct(">IIIi")
_DEFAULT_BASE_IS_MOOF: Final = 0x020000
_VERSION_1: Final = 0x1000000
_RUN_FLAGS: Final = _VERSION_1 | 0xF01  # data offset; of each frame duration, size, flags, composition offset
_STARTS_HERE: Final = 0x2000000  # depends on no other frame
_NEEDS_OTHERS: Final = 0x1010000


class Part(NamedTuple):
    """One frame in a fragment."""

    duration: int  # ms, to the next one's decoding time
    offset: int  # ms, presentation minus decoding time
    is_keyframe: bool
    data: bytes


class Run(NamedTuple):
    """Frames of one track, one after the other."""

    number: int  # of the track, from 1
    time: int  # ms, when the first is decoded
    parts: Sequence[Part]


def box(kind: bytes, *pieces: bytes) -> bytes:
    """Return a box with these contents."""
    return b"".join((_HEAD.pack(8 + sum(map(len, pieces)), kind), *pieces))


def fragment(sequence: int, runs: Sequence[Run]) -> bytes:
    """Return a `moof` and its `mdat`; each run has at least one frame."""
    # The offsets have a fixed size: the first head only tells how long it is.
    offset = len(_head(sequence, runs, [0] * len(runs))) + _HEAD.size
    offsets: list[int] = []
    pieces: list[bytes] = []
    for run in runs:
        offsets.append(offset)
        for part in run.parts:
            offset += len(part.data)
            pieces.append(part.data)
    return _head(sequence, runs, offsets) + box(b"mdat", *pieces)


def random_access(number: int, places: Sequence[tuple[int, int]]) -> bytes:
    """Return a `mfra` that ends a file: when the fragments of a track begin, in ms, and at which byte."""
    rows = b"".join([struct.pack(">QQBBB", time, offset, 1, 1, 1) for time, offset in places])
    table = box(b"tfra", struct.pack(">IIII", _VERSION_1, number, 0, len(places)), rows)
    return box(b"mfra", table, box(b"mfro", struct.pack(">II", 0, 8 + len(table) + 16)))


def _head(sequence: int, runs: Sequence[Run], offsets: Sequence[int]) -> bytes:
    tracks: list[bytes] = []
    for run, offset in zip(runs, offsets, strict=True):
        rows = b"".join(
            [
                _ROW.pack(
                    min(part.duration, MAX_DURATION),
                    len(part.data),
                    _STARTS_HERE if part.is_keyframe else _NEEDS_OTHERS,
                    part.offset,
                )
                for part in run.parts
            ]
        )
        tracks.append(
            box(
                b"traf",
                box(b"tfhd", _TRACK_HEAD.pack(_DEFAULT_BASE_IS_MOOF, run.number)),
                box(b"tfdt", _TRACK_TIME.pack(_VERSION_1, run.time)),
                box(b"trun", _RUN_HEAD.pack(_RUN_FLAGS, len(run.parts), offset), rows),
            )
        )
    return box(b"moof", box(b"mfhd", struct.pack(">II", 0, sequence & 0xFFFFFFFF)), *tracks)
