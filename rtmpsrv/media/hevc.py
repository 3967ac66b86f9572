"""What an HEVC (H.265) configuration says of its pictures. Pure."""

from __future__ import annotations

from typing import Final

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.avc import video_usability
from rtmpsrv.media.bits import BitReader, unescaped
from rtmpsrv.media.description import Picture, checked_size, rate

_RECORD_SIZE: Final = 23  # bytes before the arrays of units: ISO 14496-15, 8.3.3.1
_SPS: Final = 33
_MAX_STEPS: Final = 16  # over arrays and units before the first parameter set
_PROFILES: Final = {1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Rext", 9: "SCC"}
_CROP_X: Final = (1, 2, 2, 1)  # samples, by colour format
_CROP_Y: Final = (1, 2, 1, 1)
_MAX_SETS: Final = 64  # of reference pictures, H.265, 7.4.3.2.1
_MAX_PICTURES: Final = 16  # in such a set, of each direction
_MAX_LONG_TERM: Final = 32


def hevc_picture(body: bytes) -> Picture:
    """Read an HEVCDecoderConfigurationRecord. Raises RemoteProtocolError for what it cannot understand."""
    if len(body) < _RECORD_SIZE:
        raise RemoteProtocolError(f"HEVC configuration of {len(body)} bytes, it has {_RECORD_SIZE}")
    profile = _PROFILES.get(body[1] & 0x1F, f"{body[1] & 0x1F}")
    level = f"{body[12] / 30:.1f}"
    width, height, fps = _parameter_set(unescaped(_first_set(body))[2:])
    return Picture(profile, level, width, height, fps)


def _first_set(body: bytes) -> bytes:
    """Return the first sequence parameter set."""
    position, steps = _RECORD_SIZE, 0
    while steps < _MAX_STEPS and position + 5 <= len(body):
        kind = body[position] & 0x3F
        count = body[position + 1] << 8 | body[position + 2]
        position += 3
        steps += 1  # an array without a unit is one, too
        for _ in range(min(count, _MAX_STEPS)):
            size = int.from_bytes(body[position : position + 2], "big")
            position += 2
            if kind == _SPS:
                return body[position : position + size]
            position += size
            steps += 1
    raise RemoteProtocolError("no parameter set in an HEVC configuration")


def _parameter_set(data: bytes) -> tuple[int, int, float | None]:
    """Return width, height and pictures per second."""
    reader = BitReader(data)
    reader.bits(4)
    layers = reader.bits(3)
    reader.bits(1)
    _profiles(reader, layers)
    reader.golomb()
    colour = reader.golomb()
    if colour > 3:
        raise RemoteProtocolError(f"colour format {colour}")
    if colour == 3:
        reader.bits(1)
    width, height = reader.golomb(), reader.golomb()
    if reader.flag():
        left, right, top, bottom = reader.golomb(), reader.golomb(), reader.golomb(), reader.golomb()
        width -= (left + right) * _CROP_X[colour]
        height -= (top + bottom) * _CROP_Y[colour]
    width, height = checked_size(width, height)
    try:
        fps = _fps(reader, layers)
    except RemoteProtocolError:  # the size is there
        fps = None
    return width, height, fps


def _profiles(reader: BitReader, layers: int) -> None:
    """Step over profile, tier and level of all layers, 7.3.3."""
    reader.bits(88 + 8)
    present = [(reader.flag(), reader.flag()) for _ in range(layers)]
    if layers:
        reader.bits(2 * (8 - layers))
    for has_profile, has_level in present:
        reader.bits(88 * has_profile + 8 * has_level)


def _fps(reader: BitReader, layers: int) -> float | None:
    """Go on behind the size to the time of a picture."""
    reader.golombs(2)  # depths
    order_bits = reader.golomb() + 4
    reader.golombs(3 * (layers + 1 if reader.flag() else 1))
    reader.golombs(6)  # sizes of blocks
    if reader.flag() and reader.flag():
        _scaling_lists(reader)
    reader.bits(2)
    if reader.flag():
        reader.bits(8)
        reader.golombs(2)
        reader.bits(1)
    _reference_sets(reader)
    if reader.flag():
        for _ in range(_limited(reader.golomb(), _MAX_LONG_TERM)):
            reader.bits(order_bits + 1)
    reader.bits(2)
    if not reader.flag():
        return None
    video_usability(reader)
    reader.bits(3)
    if reader.flag():
        reader.golombs(4)
    if not reader.flag():
        return None
    ticks, time_scale = reader.bits(32), reader.bits(32)
    return rate(time_scale, ticks)


def _scaling_lists(reader: BitReader) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not reader.flag():
                reader.golomb()
                continue
            reader.golombs(min(64, 1 << 4 + 2 * size) + (1 if size > 1 else 0))


def _reference_sets(reader: BitReader) -> None:
    """Step over the sets of short-term reference pictures, 7.3.7."""
    pictures = 0  # in the set before
    for number in range(_limited(reader.golomb(), _MAX_SETS)):
        if number and reader.flag():
            reader.bits(1)
            reader.golomb()
            # A picture stays that is used, or of which it is said that its distance is.
            pictures = sum([reader.flag() or reader.flag() for _ in range(pictures + 1)])
            _limited(pictures, 2 * _MAX_PICTURES)
            continue
        before, after = reader.golomb(), reader.golomb()
        pictures = _limited(before, _MAX_PICTURES) + _limited(after, _MAX_PICTURES)
        for _ in range(pictures):
            reader.golomb()
            reader.bits(1)


def _limited(count: int, limit: int) -> int:
    if count > limit:
        raise RemoteProtocolError(f"{count} in an HEVC parameter set, limit {limit}")
    return count
