"""Tell from a coded frame itself whether a decoder can start there, for where its message does not say.

Looks at a few bytes and copies none. Nothing here raises: what is malformed or unknown is no keyframe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .enhanced import KEYFRAME_TYPES

FRAME_TYPE_NONE: Final = 0  # gortmplib 1.0 (`forward` of MediaMTX) gives all enhanced frames this one

NAL_LENGTH_SIZE: Final = 4  # bytes; encoders that stream use no other
# Before the first slice: delimiter, parameter sets, a few SEI. A frame with more is taken for no keyframe.
MAX_UNITS: Final = 16  # looked at in a frame

AVC_SLICES: Final = range(1, 6)  # H.264, table 7-1
AVC_IDR: Final = 5
HEVC_SLICES: Final = range(32)  # H.265, table 7-1
HEVC_IRAP: Final = range(16, 22)  # BLA, IDR, CRA
VVC_SLICES: Final = range(12)  # H.266, table 5
VVC_IRAP: Final = range(7, 10)  # IDR, CRA
OBU_SEQUENCE_HEADER: Final = 1  # AV1, 6.2.2
OBU_BEFORE_IT: Final = frozenset({2, 5, 15})  # temporal delimiter, metadata, padding
VP9_FRAME_MARKER: Final = 2
VP9_LAST_PROFILE: Final = 3


def is_keyframe(frame_type: int, fourcc: bytes, payload: bytes, start: int, end: int) -> bool:
    """Tell whether a frame is one by the type in its message, or by itself where that says nothing."""
    return frame_type in KEYFRAME_TYPES or (
        frame_type == FRAME_TYPE_NONE and is_coded_keyframe(fourcc, payload, start, end)
    )


def is_coded_keyframe(fourcc: bytes, payload: bytes, start: int, end: int) -> bool:
    """Tell whether the frame in `payload[start:end]` is one by itself."""
    look = _LOOKS.get(fourcc)
    return look is not None and start < end and look(payload, start, end)


def _avc(payload: bytes, start: int, end: int) -> bool:
    for _ in range(MAX_UNITS):
        head = start + NAL_LENGTH_SIZE
        if head >= end:
            break
        unit_type = payload[head] & 0x1F
        if unit_type in AVC_SLICES:
            return unit_type == AVC_IDR
        start = head + int.from_bytes(payload[start:head], "big")
    return False


def _hevc(payload: bytes, start: int, end: int) -> bool:
    for _ in range(MAX_UNITS):
        head = start + NAL_LENGTH_SIZE
        if head >= end:
            break
        unit_type = payload[head] >> 1 & 0x3F
        if unit_type in HEVC_SLICES:
            return unit_type in HEVC_IRAP
        start = head + int.from_bytes(payload[start:head], "big")
    return False


def _vvc(payload: bytes, start: int, end: int) -> bool:
    for _ in range(MAX_UNITS):
        head = start + NAL_LENGTH_SIZE
        if head + 1 >= end:
            break
        unit_type = payload[head + 1] >> 3  # in the second byte, other than its forerunners
        if unit_type in VVC_SLICES:
            return unit_type in VVC_IRAP
        start = head + int.from_bytes(payload[start:head], "big")
    return False


def _av1(payload: bytes, start: int, end: int) -> bool:
    """A sequence header comes with each keyframe, before all frames."""
    for _ in range(MAX_UNITS):
        if start >= end:
            break
        head = payload[start]
        unit_type = head >> 3 & 0x0F
        if unit_type not in OBU_BEFORE_IT:
            return unit_type == OBU_SEQUENCE_HEADER
        if not head & 0x02:  # no size: it is the last
            break
        start += 2 if head & 0x04 else 1
        size = shift = 0
        while start < end:
            byte = payload[start]
            start += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 28:  # 32 bits at most, 4.10.5
                break
        start += size
    return False


def _vp8(payload: bytes, start: int, end: int) -> bool:
    return not payload[start] & 0x01  # RFC 6386, 9.1


def _vp9(payload: bytes, start: int, end: int) -> bool:
    """Two bits of marker, two of profile (the low one first), show_existing_frame, frame type; 6.2."""
    first = payload[start]
    if first >> 6 != VP9_FRAME_MARKER:
        return False
    profile = first >> 3 & 0x02 | first >> 5 & 0x01
    both = first >> 1 if profile == VP9_LAST_PROFILE else first >> 2  # a reserved bit comes before
    return not both & 0x03


_LOOKS: Final[dict[bytes, Callable[[bytes, int, int], bool]]] = {
    b"avc1": _avc,
    b"hvc1": _hevc,
    b"vvc1": _vvc,
    b"av01": _av1,
    b"vp08": _vp8,
    b"vp09": _vp9,
}
