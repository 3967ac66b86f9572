from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.avc import avc_picture
from rtmpsrv.media.description import Picture
from tests.unit.media.bit_writer import BitWriter

# By x264 of FFmpeg 5.1.
REAL = {
    "ultrafast": (
        "0142c028ffe100196742c028da01e0089f970110000003001000000303c0f1832a01000468ce0fc8",
        Picture("Constrained Baseline", "4.0", 1920, 1080, 30.0),
    ),
    "59.94": (
        "01640020ffe1001867640020acd9405005bb011000003e90001d4c00f183196001000668ebe3cb22c0fdf8f800",
        Picture("High", "3.2", 1280, 720, 59.94),
    ),
    "interlaced": (
        "014d401effe10019674d401eeca05031f9f011000003000100000300321f14299601000568fba3cb20",
        Picture("Main", "3.0", 640, 360, 25.0),
    ),
    "4:4:4 with scaling lists": (
        "01f4001effe1001a67f4001e919b281405ff3e0220000003002000000601e2c5b2c001000868ebe3c44c000440fff8f800",
        Picture("High 4:4:4 Predictive", "3.0", 640, 362, 24.0),
    ),
    "10 bits": (
        "016e001fffe1001a676e001fa6cd940d83de6f0110000003001000000640f183196001000668ebe3cb22c0fdfafa00",
        Picture("High 10", "3.1", 854, 480, 50.0),
    ),
    "1b": (
        "0142d00bffe100166742d00bd902c4ec0440000003004000000783c4899201000568cb83cb20",
        Picture("Constrained Baseline", "1b", 176, 144, 15.0),
    ),
}


def record(parameters: BitWriter) -> bytes:
    unit = b"\x67" + parameters.data
    return b"\1\x64\0\x28\xff\xe1" + len(unit).to_bytes(2, "big") + unit


def begun(profile: int = 66, level: int = 40, constraints: int = 0) -> BitWriter:
    return BitWriter().bits(8, profile, constraints, level).golomb(0)


def sized(writer: BitWriter, *, crop: tuple[int, ...] = (), by_fields: bool = False) -> BitWriter:
    """Go on behind the order counts: 640x480."""
    writer.golomb(0).bits(1, 0).golomb(39, 14 if by_fields else 29)
    writer.bits(1, 0, 0) if by_fields else writer.bits(1, 1)
    writer.bits(1, 1)
    return writer.bits(1, 1).golomb(*crop) if crop else writer.bits(1, 0)


@pytest.mark.parametrize(("record", "picture"), REAL.values(), ids=REAL)
def test_real_configurations(record: str, picture: Picture) -> None:
    assert avc_picture(bytes.fromhex(record)) == picture


def test_order_counts_of_all_kinds() -> None:
    for writer in (
        begun().golomb(0, 0, 4),
        begun().golomb(0, 1).bits(1, 0).golomb(1, 2, 2, 5, 6),
        begun().golomb(0, 2),
    ):
        picture = avc_picture(record(sized(writer).bits(1, 0)))
        assert (picture.width, picture.height, picture.fps) == (640, 480, None)


def test_as_many_references_as_there_may_be_and_one_more() -> None:
    most = begun().golomb(0, 1).bits(1, 0).golomb(1, 2, 255, *[0] * 255)
    assert avc_picture(record(sized(most))).width == 640
    more = begun().golomb(0, 1).bits(1, 0).golomb(1, 2, 256, *[0] * 256)
    with pytest.raises(RemoteProtocolError, match="256 references"):
        avc_picture(record(sized(more)))


def test_cropping_counts_fields_and_colour_samples() -> None:
    writer = sized(begun().golomb(0, 2), crop=(1, 2, 0, 3), by_fields=True)
    picture = avc_picture(record(writer.bits(1, 0)))
    assert (picture.width, picture.height) == (640 - 6, 480 - 12)
    mono = begun(100).golomb(0, 0, 0).bits(1, 0, 0).golomb(0, 2)
    picture = avc_picture(record(sized(mono, crop=(1, 0, 0, 1)).bits(1, 0)))
    assert (picture.width, picture.height) == (639, 479)


def test_scaling_lists_that_end_early_or_go_on() -> None:
    high = begun(100).golomb(1, 0, 0).bits(1, 0, 1)
    high.bits(1, 1).golomb(16)  # -8: the rest is as the last
    high.bits(1, 1).golomb(*[1] * 16)
    high.bits(1, 0, 0, 0, 0).bits(1, 1).golomb(*[0] * 64).bits(1, 0)
    assert avc_picture(record(sized(high.golomb(0, 2)))).width == 640


def test_all_that_may_come_before_the_time() -> None:
    writer = sized(begun(level=51).golomb(0, 2)).bits(1, 1)
    writer.bits(1, 1).bits(8, 255).bits(32, 1).bits(2, 2).bits(1, 1).bits(4, 5).bits(1, 1).bits(24, 1)
    writer.bits(1, 1).golomb(0, 0).bits(1, 1).bits(32, 1, 100)
    assert avc_picture(record(writer)) == Picture("Baseline", "5.1", 640, 480, 50.0)


def test_usability_without_time_or_broken_off() -> None:
    writer = sized(begun().golomb(0, 2)).bits(1, 1, 0, 0, 0, 0, 0)
    assert avc_picture(record(writer)).fps is None
    assert avc_picture(record(sized(begun().golomb(0, 2)).bits(1, 1, 0, 0, 0, 0, 1))).fps is None


def test_profiles_and_levels_without_a_name() -> None:
    assert avc_picture(record(sized(begun(99).golomb(0, 2)))).profile == "99"
    assert avc_picture(record(sized(begun(77, 9).golomb(0, 2)))).level == "1b"
    assert avc_picture(record(sized(begun(77, 11).golomb(0, 2)))).level == "1.1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\1\x64\0\x28\xff\xe1\0",
        b"\2" + bytes.fromhex(REAL["ultrafast"][0])[1:],
        b"\1\x64\0\x28\xff\xe0\0\0\0",
        b"\1\x64\0\x28\xff\xe1\0\4\x68\1\2\3",
        b"\1\x64\0\x28\xff\xe1\0\2\x67\1\2\3",
        record(begun(100).golomb(4)),
        record(begun().golomb(0, 2, 0).bits(1, 0).golomb(2000, 1).bits(1, 1, 1, 0)),
    ],
)
def test_what_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        avc_picture(body)


@given(st.binary(max_size=100), st.sampled_from(sorted(REAL)), st.integers(0, 40))
def test_any_bytes_are_a_picture_or_refused(noise: bytes, name: str, place: int) -> None:
    body = bytes.fromhex(REAL[name][0])
    for hostile in (noise, body[:place] + noise, body[:place] + noise + body[place + len(noise) :]):
        with suppress(RemoteProtocolError):
            assert avc_picture(hostile).width
