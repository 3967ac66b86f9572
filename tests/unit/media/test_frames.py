"""Whether a coded frame is a keyframe by itself, codec by codec."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.media.frames import FRAME_TYPE_NONE, MAX_UNITS, is_coded_keyframe, is_keyframe

FOURCCS = (b"avc1", b"hvc1", b"vvc1", b"av01", b"vp08", b"vp09")


def units(*heads: str) -> bytes:
    """NAL units with these first bytes."""
    bodies = [bytes.fromhex(head) + b"body" for head in heads]
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def coded(fourcc: bytes, frame: bytes) -> bool:
    """Whether a frame is a keyframe; where it stands in its message makes no difference."""
    whole = is_coded_keyframe(fourcc, frame, 0, len(frame))
    assert is_coded_keyframe(fourcc, b"\x83" + frame + units("65", "2601"), 1, 1 + len(frame)) is whole
    return whole


@pytest.mark.parametrize(
    ("fourcc", "heads", "expected"),
    [
        (b"avc1", ["65"], True),
        (b"avc1", ["25"], True),
        (b"avc1", ["41"], False),
        (b"avc1", ["09", "06", "67", "68", "65"], True),
        (b"avc1", ["09", "06", "41", "65"], False),  # the first slice counts
        (b"avc1", ["09", "06"], False),
        (b"avc1", ["09"] * (MAX_UNITS - 1) + ["65"], True),
        (b"avc1", ["09"] * MAX_UNITS + ["65"], False),
        *((b"hvc1", [f"{kind << 1:02x}01"], 16 <= kind <= 21) for kind in range(32)),
        (b"hvc1", ["4001", "4201", "4401", "4e01", "2601"], True),
        (b"hvc1", ["4601", "0201"], False),
        (b"hvc1", ["4601"] * MAX_UNITS + ["2601"], False),
        *((b"vvc1", [f"00{kind << 3 | 1:02x}"], 7 <= kind <= 9) for kind in range(12)),
        (b"vvc1", ["0079", "0081", "0039"], True),
        (b"vvc1", ["0079", "0001"], False),
        (b"vvc1", ["0079"] * MAX_UNITS + ["0039"], False),
        *((fourcc, heads, False) for fourcc in (b"hvc1", b"vvc1") for heads in ([], ["4679"])),
        (b"mp4v", ["65"], False),
    ],
)
def test_first_slice_says_what_a_frame_is(fourcc: bytes, heads: list[str], expected: bool) -> None:
    assert coded(fourcc, units(*heads)) is expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("0a0b00", True),
        ("1200 0a0b00", True),  # behind a temporal delimiter
        ("1200 2a02aabb 0a0b00", True),  # and metadata
        ("7e00 8001" + "00" * 128 + "0a00", True),  # padding of 128 bytes, with extension
        ("3200", False),
        ("1200 3200", False),
        ("1200 320100 0a00", False),  # behind a frame
        ("10", False),
        ("10 0a00", False),  # without a size it is the last
        ("12ffffffffff 0a00", False),
        ("12ff", False),
        ("1200" * MAX_UNITS + "0a00", False),
    ],
)
def test_keyframes_of_av1_have_a_sequence_header(frame: str, expected: bool) -> None:
    assert coded(b"av01", bytes.fromhex(frame)) is expected


@pytest.mark.parametrize(
    ("fourcc", "frame", "expected"),
    [
        (b"vp08", "10", True),
        (b"vp08", "11", False),
        (b"vp09", "82", True),
        (b"vp09", "86", False),
        (b"vp09", "88", False),  # shows an existing frame
        (b"vp09", "a2", True),
        (b"vp09", "92", True),
        (b"vp09", "b0", True),  # profile 3 has a reserved bit
        (b"vp09", "b2", False),
        (b"vp09", "b4", False),
        (b"vp09", "42", False),
        (b"vp09", "", False),
    ],
)
def test_frames_of_vp8_and_vp9_have_a_bit(fourcc: bytes, frame: str, expected: bool) -> None:
    assert coded(fourcc, bytes.fromhex(frame)) is expected


@pytest.mark.parametrize(
    ("frame_type", "if_coded", "if_not"),
    [(1, True, True), (4, True, True), (2, False, False), (3, False, False), (FRAME_TYPE_NONE, True, False)],
)
def test_payload_counts_where_the_type_says_nothing(frame_type: int, if_coded: bool, if_not: bool) -> None:
    key, inter = units("65"), units("41")
    assert is_keyframe(frame_type, b"avc1", key, 0, len(key)) is if_coded
    assert is_keyframe(frame_type, b"avc1", inter, 0, len(inter)) is if_not


@given(st.sampled_from(FOURCCS), st.binary(max_size=40), st.integers(0, 45))
def test_nothing_raises_whatever_the_bytes(fourcc: bytes, frame: bytes, start: int) -> None:
    assert is_coded_keyframe(fourcc, frame, start, len(frame)) in (True, False)
