"""What configurations of AV1, VP8 and VP9 say of their pictures. Pure."""

from __future__ import annotations

from typing import Final

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.bits import BitReader
from rtmpsrv.media.description import Picture, checked_size, rate

_AV1_RECORD_SIZE: Final = 4  # bytes before the units: AV1 Codec ISO Media File Format Binding, 2.3.3
_AV1_VERSION: Final = 0x81  # marker bit, version 1
_AV1_PROFILES: Final = ("Main", "High", "Professional")
_SEQUENCE_HEADER: Final = 1
_HAS_EXTENSION, _HAS_SIZE = 0x04, 0x02
_HIGHEST_MAIN_TIER_ONLY: Final = 7  # levels above have a bit for the tier
_VPX_RECORD_SIZE: Final = 8  # with the version and flags of its box: VP Codec ISO Media File Format Binding


def av1_picture(body: bytes) -> Picture:
    """Read an AV1CodecConfigurationRecord; a size only where its sequence header is there.

    Raises RemoteProtocolError for what it cannot understand.
    """
    if len(body) < _AV1_RECORD_SIZE or body[0] != _AV1_VERSION or body[1] >> 5 >= len(_AV1_PROFILES):
        raise RemoteProtocolError("no AV1 configuration")
    profile = _AV1_PROFILES[body[1] >> 5]
    number = body[1] & 0x1F
    level = f"{2 + (number >> 2)}.{number & 3}"
    if len(body) == _AV1_RECORD_SIZE:
        return Picture(profile, level)
    width, height, fps = _sequence_header(body[_AV1_RECORD_SIZE:])
    return Picture(profile, level, width, height, fps)


def vpx_picture(body: bytes) -> Picture:
    """Read a VPCodecConfigurationRecord. Raises RemoteProtocolError for what it cannot understand."""
    if len(body) < _VPX_RECORD_SIZE:
        raise RemoteProtocolError(f"VP configuration of {len(body)} bytes, it has {_VPX_RECORD_SIZE}")
    level = body[5]
    return Picture(f"Profile {body[4]}", f"{level // 10}.{level % 10}" if level else "")


def _sequence_header(unit: bytes) -> tuple[int, int, float | None]:
    """Return width, height and pictures per second of a sequence header, 5.5.1."""
    head = unit[0]
    if head >> 3 & 0x0F != _SEQUENCE_HEADER:
        raise RemoteProtocolError("the first unit of an AV1 configuration is no sequence header")
    start = 2 if head & _HAS_EXTENSION else 1
    if head & _HAS_SIZE:
        start += 1  # below 128 bytes, since there is nothing long in it
    reader = BitReader(unit[start:])
    reader.bits(4)
    fps = None
    if reader.flag():  # a still picture's, reduced
        reader.bits(5)
    else:
        fps = _operating_points(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    width, height = checked_size(reader.bits(width_bits) + 1, reader.bits(height_bits) + 1)
    return width, height, fps


def _operating_points(reader: BitReader) -> float | None:
    """Step over them; return the pictures per second that come before."""
    fps = None
    delay_bits = 0
    if reader.flag():
        ticks, time_scale = reader.bits(32), reader.bits(32)
        ticks *= 1 + reader.golomb() if reader.flag() else 1
        fps = rate(time_scale, ticks)
        if reader.flag():  # a decoder model
            delay_bits = reader.bits(5) + 1
            reader.bits(32 + 5 + 5)
    has_delay = reader.flag()
    for _ in range(reader.bits(5) + 1):
        reader.bits(12)
        if reader.bits(5) > _HIGHEST_MAIN_TIER_ONLY:
            reader.bits(1)
        if delay_bits and reader.flag():
            reader.bits(2 * delay_bits + 1)
        if has_delay and reader.flag():
            reader.bits(4)
    return fps
