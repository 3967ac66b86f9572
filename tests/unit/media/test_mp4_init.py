from __future__ import annotations

import struct

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.mp4 import box
from rtmpsrv.media.mp4_init import MAX_INIT_BYTES, is_init, pick_init, picture_size, set_duration

FTYP = box(b"ftyp", b"iso5", bytes(4))
MVHD = box(b"mvhd", struct.pack(">IIIII", 0, 1, 2, 1000, 0), bytes(80))
TKHD = box(b"tkhd", struct.pack(">IIIIII", 3, 1, 2, 1, 0, 0), bytes(60))
PICTURE = box(
    b"tkhd", struct.pack(">IIIIII", 3, 1, 2, 1, 0, 0), bytes(52), struct.pack(">II", 640 << 16, 360 << 16)
)
WIDE_PICTURE = box(
    b"tkhd",
    struct.pack(">IQQIIQ", 1 << 24, 1, 2, 1, 0, 0),
    bytes(52),
    struct.pack(">II", 1920 << 16, 1080 << 16),
)
MDHD = box(b"mdhd", struct.pack(">IIIII", 0, 1, 2, 48000, 0), bytes(4))
WIDE_MDHD = box(b"mdhd", struct.pack(">IQQIQ", 1 << 24, 1, 2, 48000, 0), bytes(4))
WIDE_TKHD = box(b"tkhd", struct.pack(">IQQIIQ", 1 << 24, 1, 2, 1, 0, 0), bytes(60))


def movie(*tracks: bytes) -> bytes:
    return box(b"moov", MVHD, *[box(b"trak", one) for one in tracks])


def test_the_first_part_is_picked_out_and_counts_milliseconds() -> None:
    tracks = TKHD + box(b"mdia", MDHD), WIDE_TKHD + box(b"mdia", WIDE_MDHD)
    written = FTYP + movie(*tracks) + box(b"moof", bytes(9)) + box(b"mdat", b"frame")

    init = pick_init(written)

    assert init == FTYP + movie(
        TKHD + box(b"mdia", MDHD.replace(b"\0\0\xbb\x80", b"\0\0\3\xe8")),
        WIDE_TKHD + box(b"mdia", WIDE_MDHD.replace(b"\0\0\xbb\x80", b"\0\0\3\xe8")),
    )
    assert is_init(init)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (b"", "0 bytes"),
        (FTYP, "first part"),
        (FTYP + b"\0\0\0", "broken boxes"),
        (FTYP + b"\0\0\0\7moov", "broken boxes"),
        (FTYP + b"\0\0\1\0moov", "broken boxes"),
        (FTYP + box(b"moov", box(b"trak", box(b"edts"))), "moves time"),
        (FTYP + movie(box(b"mdia", box(b"mdhd", bytes(8)))), "a header of 16 bytes"),
        (FTYP + movie(box(b"mdia", box(b"mdhd"))), "a header of 8 bytes"),
        (FTYP + box(b"moov", bytes(MAX_INIT_BYTES)), "first part"),
        (FTYP * 2000 + movie(), "broken boxes"),
    ],
)
def test_what_is_no_first_part(written: bytes, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        pick_init(written)


def test_a_duration_is_written_into_each_header() -> None:
    init = FTYP + movie(TKHD + box(b"mdia", MDHD), WIDE_TKHD + box(b"mdia", WIDE_MDHD))

    told = set_duration(init, 60_000)

    assert len(told) == len(init)
    assert told.count(struct.pack(">I", 60_000)) == 5
    assert told.count(struct.pack(">Q", 60_000)) >= 2
    assert set_duration(told, 0) == init


def test_a_duration_that_does_not_fit_is_the_longest() -> None:
    assert struct.pack(">IIIII", 0, 1, 2, 1000, 0xFFFFFFFF) in set_duration(FTYP + movie(TKHD), 1 << 40)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (FTYP + movie(TKHD, PICTURE), (640, 360)),
        (FTYP + movie(WIDE_PICTURE), (1920, 1080)),
        (FTYP + movie(TKHD + box(b"mdia", MDHD)), None),  # sound
        (FTYP + movie(box(b"tkhd", bytes(8))), None),
        (FTYP + b"\0\0\0\7moov", None),
        (b"init", None),
    ],
)
def test_size_of_the_picture(init: bytes, expected: tuple[int, int] | None) -> None:
    assert picture_size(init) == expected
