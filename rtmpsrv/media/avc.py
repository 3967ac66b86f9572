"""What an AVC (H.264) configuration says of its pictures. Pure."""

from __future__ import annotations

from typing import Final

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.bits import BitReader, unescaped
from rtmpsrv.media.description import Picture, checked_size, rate

_RECORD_SIZE: Final = 6  # bytes before the first parameter set: ISO 14496-15, 5.3.3.1
_SPS: Final = 7
_BASELINE: Final = 66
_PROFILES: Final = {
    44: "CAVLC 4:4:4",
    _BASELINE: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High 10",
    122: "High 4:2:2",
    244: "High 4:4:4 Predictive",
}
# Whose parameter sets tell the colour format: H.264, 7.3.2.1.1.
_WITH_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EXTENDED_ASPECT: Final = 255
_CROP_X: Final = (1, 2, 2, 1)  # samples, by colour format
_CROP_Y: Final = (1, 2, 1, 1)
_MAX_REFERENCES: Final = 255  # in a cycle of picture order counts


def avc_picture(body: bytes) -> Picture:
    """Read an AVCDecoderConfigurationRecord. Raises RemoteProtocolError for what it cannot understand."""
    if len(body) < _RECORD_SIZE + 3 or body[0] != 1 or not body[5] & 0x1F:
        raise RemoteProtocolError("no AVC configuration with a parameter set")
    size = body[6] << 8 | body[7]
    unit = unescaped(body[8 : 8 + size])
    if len(unit) < 4 or unit[0] & 0x1F != _SPS:
        raise RemoteProtocolError("no parameter set in an AVC configuration")
    return _parameter_set(unit[1:])


def video_usability(reader: BitReader) -> None:
    """Step over what AVC and HEVC begin their usability information with alike, E.2.1."""
    if reader.flag() and reader.bits(8) == _EXTENDED_ASPECT:
        reader.bits(32)
    if reader.flag():
        reader.bits(1)  # overscan
    if reader.flag():
        reader.bits(4)  # format, full range
        if reader.flag():
            reader.bits(24)  # colours
    if reader.flag():
        reader.golombs(2)  # where chroma samples lie


def _parameter_set(data: bytes) -> Picture:
    reader = BitReader(data)
    profile, constraints, level = reader.bits(8), reader.bits(8), reader.bits(8)
    reader.golomb()
    colour = 1
    if profile in _WITH_FORMAT:
        colour = reader.golomb()
        if colour > 3:
            raise RemoteProtocolError(f"colour format {colour}")
        if colour == 3:
            reader.bits(1)
        reader.golombs(2)  # depths
        reader.bits(1)
        if reader.flag():
            _scaling_lists(reader, 12 if colour == 3 else 8)
    reader.golomb()
    _order_counts(reader)
    reader.golomb()
    reader.bits(1)
    width = (reader.golomb() + 1) * 16
    height = (reader.golomb() + 1) * 16
    by_fields = not reader.flag()
    if by_fields:
        height *= 2
        reader.bits(1)
    reader.bits(1)
    if reader.flag():
        left, right, top, bottom = reader.golomb(), reader.golomb(), reader.golomb(), reader.golomb()
        width -= (left + right) * _CROP_X[colour]
        height -= (top + bottom) * _CROP_Y[colour] * (2 if by_fields else 1)
    width, height = checked_size(width, height)
    return Picture(_profile(profile, constraints), _level(level, constraints), width, height, _fps(reader))


def _scaling_lists(reader: BitReader, count: int) -> None:
    for number in range(count):
        if not reader.flag():
            continue
        following = last = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                code = reader.golomb()
                step = (code + 1) // 2 if code & 1 else -(code // 2)
                following = (last + step) & 0xFF
            last = following or last


def _order_counts(reader: BitReader) -> None:
    kind = reader.golomb()
    if kind == 0:
        reader.golomb()
    elif kind == 1:
        reader.bits(1)
        reader.golombs(2)
        count = reader.golomb()
        if count > _MAX_REFERENCES:
            raise RemoteProtocolError(f"{count} references, limit {_MAX_REFERENCES}")
        reader.golombs(count)


def _fps(reader: BitReader) -> float | None:
    """Return what the usability information says; None where it is absent or broken off."""
    try:
        if not reader.flag():
            return None
        video_usability(reader)
        if not reader.flag():
            return None
        ticks, time_scale = reader.bits(32), reader.bits(32)
    except RemoteProtocolError:
        return None
    return rate(time_scale, 2 * ticks)  # it counts fields


def _profile(profile: int, constraints: int) -> str:
    name = _PROFILES.get(profile, f"{profile}")
    return f"Constrained {name}" if profile == _BASELINE and constraints & 0x40 else name


def _level(level: int, constraints: int) -> str:
    if level == 9 or (level == 11 and constraints & 0x10):
        return "1b"
    return f"{level // 10}.{level % 10}"
