from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.description import Picture
from rtmpsrv.media.hevc import hevc_picture
from tests.unit.media.bit_writer import BitWriter

# By x265 3.5, without its texts.
REAL = {
    "main": (
        "0101600000009000000000007bf000fcfdf8f800000f03200001001840010c01ffff0160000003009000000300000300"
        "7b959409210001002b42010101600000030090000003000003007ba003c0801107cb965654a4c2f01680800000030080"
        "00001e0422000100064401c073c189",
        Picture("Main", "4.1", 1920, 1080, 60.0),
    ),
    "10 bits with scaling lists": (
        "0102200000009000000000003ff000fcfdfafa00000f03200001001840010c01ffff0220000003009000000300000300"
        "3f959409210001002c42010102200000030090000003000003003fa005020171f2b65959529385e02d01000003000100"
        "000300190822000100064401c073c189",
        Picture("Main 10", "2.1", 640, 360, 25.0),
    ),
}


def record(parameters: BitWriter, *, before: bytes = b"") -> bytes:
    unit = b"\x42\1" + parameters.data
    unit = unit.replace(b"\0\0", b"\0\0\3")
    return bytes([1, 4, *bytes(10), 93, *bytes(9), 1]) + before + b"\x21\0\1" + sized(unit)


def sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit


def begun(layers: int = 0, colour: int = 1) -> BitWriter:
    """To the size: 640x480."""
    writer = BitWriter().bits(4, 0).bits(3, layers).bits(1, 1).bits(32, 0, 0, 0)
    for _ in range(layers):
        writer.bits(1, 1, 1)
    if layers:
        writer.bits(2, *[0] * (8 - layers))
        writer.bits(32, *[0] * 3 * layers)
    writer.golomb(0, colour)
    if colour == 3:
        writer.bits(1, 0)
    return writer.golomb(640, 480)


def to_the_sets(writer: BitWriter) -> BitWriter:
    """Go on behind the size, with lists, samples without coding, and all orders."""
    writer.bits(1, 0).golomb(0, 0, 4).bits(1, 1).golomb(*[1, 1, 1]).golomb(*[0] * 6)
    return writer.bits(1, 0, 0, 0, 0)


def timed(writer: BitWriter) -> BitWriter:
    """Go on behind the sets of references: 50 pictures a second."""
    writer.bits(1, 0, 0, 0).bits(1, 1).bits(1, 0, 0, 0, 0).bits(3, 0).bits(1, 0)
    return writer.bits(1, 1).bits(32, 1, 50)


@pytest.mark.parametrize(("record", "picture"), REAL.values(), ids=REAL)
def test_real_configurations(record: str, picture: Picture) -> None:
    assert hevc_picture(bytes.fromhex(record)) == picture


def test_sets_of_references_by_themselves_and_by_the_one_before() -> None:
    writer = to_the_sets(begun()).golomb(4)
    writer.golomb(2, 1).golomb(0).bits(1, 1).golomb(0).bits(1, 1).golomb(0).bits(1, 1)
    writer.bits(1, 1, 0).golomb(0).bits(
        1, 1, 0, 1, 0, 0, 1
    )  # four flags: used, not but kept, not at all, used
    writer.bits(1, 1, 1).golomb(3).bits(1, 1, 1, 1, 1)  # four of three and itself
    writer.bits(1, 0).golomb(0, 0)
    assert hevc_picture(record(timed(writer))) == Picture("Rext", "3.1", 640, 480, 50.0)


def test_all_that_may_come_before_the_time() -> None:
    writer = begun(layers=2, colour=3).bits(1, 1).golomb(1, 2, 3, 4)
    writer.golomb(0, 0, 4).bits(1, 0).golomb(*[1, 1, 1]).golomb(*[0] * 6)
    writer.bits(1, 1, 1)
    for size in range(4):
        for matrix in range(2 if size == 3 else 6):
            if matrix:
                writer.bits(1, 0).golomb(0)
            else:
                writer.bits(1, 1).golomb(*[0] * (min(64, 1 << 4 + 2 * size) + (size > 1)))
    writer.bits(1, 0, 0, 1).bits(8, 0).golomb(0, 0).bits(1, 0)
    writer.golomb(0).bits(1, 1).golomb(1).bits(9, 0)
    writer.bits(2, 0).bits(1, 1).bits(5, 0).bits(2, 0).bits(1, 1).golomb(0, 0, 0, 0).bits(1, 1).bits(
        32, 1001, 24000
    )
    picture = hevc_picture(record(writer))
    assert picture == Picture("Rext", "3.1", 640 - 3, 480 - 7, 23.976)


def test_a_size_without_a_time() -> None:
    for writer in (
        begun().bits(1, 0),  # broken off
        to_the_sets(begun()).golomb(65),
        to_the_sets(begun()).golomb(1).golomb(17, 0),
        to_the_sets(begun()).golomb(1).golomb(0, 17),
        to_the_sets(begun()).golomb(0).bits(1, 1).golomb(33),
        to_the_sets(begun()).golomb(0).bits(1, 0, 0, 0, 0),
        to_the_sets(begun()).golomb(0).bits(1, 0, 0, 0, 1).bits(1, 0, 0, 0, 0).bits(3, 0).bits(1, 0, 0),
    ):
        assert hevc_picture(record(writer)) == Picture("Rext", "3.1", 640, 480, None)


def test_sets_that_grow_are_bounded() -> None:
    writer = to_the_sets(begun()).golomb(3).golomb(16, 16)
    for _ in range(32):
        writer.golomb(0).bits(1, 1)
    writer.bits(1, 1, 1).golomb(0).bits(1, *[1] * 33)
    assert hevc_picture(record(timed(writer.bits(1, 0)))).fps is None


def test_a_profile_without_a_name_and_other_units_before() -> None:
    parameters = record(
        timed(to_the_sets(begun()).golomb(0)), before=b"\x20\0\2" + sized(b"one") + sized(b"two")
    )
    assert hevc_picture(parameters[:1] + b"\x1f" + parameters[2:]) == Picture("31", "3.1", 640, 480, 50.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(22),
        bytes(23),
        record(begun(), before=b"\x20\0\x10" + sized(b"") * 16),
        record(begun(), before=b"\x20\0\0" * 16),  # arrays without units
        record(begun(colour=4)),
        record(BitWriter().bits(4, 0)),
    ],
)
def test_what_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        hevc_picture(body)


@given(st.binary(max_size=150), st.sampled_from(sorted(REAL)), st.integers(23, 110))
def test_any_bytes_are_a_picture_or_refused(noise: bytes, name: str, place: int) -> None:
    body = bytes.fromhex(REAL[name][0])
    for hostile in (noise, body[:place] + noise, body[:place] + noise + body[place + len(noise) :]):
        with suppress(RemoteProtocolError):
            assert hevc_picture(hostile).width
