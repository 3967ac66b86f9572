from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.description import Picture
from rtmpsrv.media.open_video import av1_picture, vpx_picture
from tests.unit.media.bit_writer import BitWriter

# By libaom and SVT-AV1 1.4.1.
AOM = bytes.fromhex("81010c000a0b0000000cc4ff6736be4010")
SVT = bytes.fromhex("81050c000a0b0000002d4cffb3c02f8004")


def sequence(writer: BitWriter, head: int = 0x0A) -> bytes:
    body = writer.data
    return b"\x81\x05\x0c\0" + (bytes([head, len(body)]) if head & 2 else bytes([head])) + body


def size(writer: BitWriter) -> BitWriter:
    return writer.bits(4, 9, 9).bits(10, 639, 479)


def test_real_configurations() -> None:
    assert av1_picture(AOM) == Picture("Main", "2.1", 640, 360)
    assert av1_picture(SVT) == Picture("Main", "3.1", 1280, 720)


def test_a_record_without_sequence_header() -> None:
    assert av1_picture(b"\x81\x24\x0c\0") == Picture("High", "3.0")


def test_a_still_picture_and_a_unit_with_extension_and_without_size() -> None:
    still = size(BitWriter().bits(4, 1).bits(1, 1).bits(5, 1))
    assert av1_picture(sequence(still)) == Picture("Main", "3.1", 640, 480)
    assert av1_picture(sequence(still, 0x08)) == Picture("Main", "3.1", 640, 480)
    body = still.data
    assert av1_picture(b"\x81\x05\x0c\0\x0e\x10" + bytes([len(body)]) + body).width == 640


def test_the_time_of_a_picture_and_all_that_may_follow() -> None:
    writer = BitWriter().bits(4, 0).bits(1, 0, 1).bits(32, 1, 50).bits(1, 1).golomb(1)
    writer.bits(1, 1).bits(5, 3).bits(32, 0).bits(5, 0, 0)  # a decoder model: delays of 4 bits
    writer.bits(1, 1).bits(5, 1)  # two points, with delays of display
    writer.bits(12, 0).bits(5, 8).bits(1, 0).bits(1, 1).bits(9, 0).bits(1, 1).bits(4, 0)
    writer.bits(12, 0).bits(5, 7).bits(1, 0).bits(1, 0)
    assert av1_picture(sequence(size(writer))) == Picture("Main", "3.1", 640, 480, 25.0)


def test_pictures_at_no_even_distance_and_no_decoder_model() -> None:
    writer = BitWriter().bits(4, 0).bits(1, 0, 1).bits(32, 1001, 60000).bits(1, 0, 0, 0)
    writer.bits(5, 0).bits(12, 0).bits(5, 0)
    assert av1_picture(sequence(size(writer))).fps == 59.94


def test_vp9() -> None:
    assert vpx_picture(bytes.fromhex("01000000000b820202020000")) == Picture("Profile 0", "1.1")
    assert vpx_picture(bytes.fromhex("0100000002008202")) == Picture("Profile 2", "")


@pytest.mark.parametrize(
    "body", [b"", b"\x81\5\x0c", b"\x80\5\x0c\0", b"\x81\x60\x0c\0", AOM[:6], AOM[:4] + b"\x12\0"]
)
def test_what_is_no_av1_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        av1_picture(body)


def test_what_is_no_vp9_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="7 bytes"):
        vpx_picture(bytes(7))


@pytest.mark.parametrize("read", [av1_picture, vpx_picture])
@given(noise=st.binary(max_size=60))
def test_any_bytes_are_a_picture_or_refused(read: Callable[[bytes], Picture], noise: bytes) -> None:
    for hostile in (noise, AOM[:5] + noise, AOM[:1] + noise):
        with suppress(RemoteProtocolError):
            assert read(hostile).profile
