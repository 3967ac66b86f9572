"""Messages of several tracks, reduced to the default ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.media.one_track import codec_of, default_track, only_track, only_tracks

# Multitrack: one track; many tracks of one codec; many tracks, each with its codec.
ONE = b"\x95\x01Opus\x02payload"
MANY = b"\x95\x11Opus\x00\x00\x00\x02p0\x01\x00\x00\x02p1"
MIXED = b"\xa6\x21avc1\x00\x00\x00\x05\0\0\0v0hvc1\x01\x00\x00\x05\0\0\0v1"
OPUS_2 = (8, b"\x95\x00Opus\x02OpusHead")
OPUS_1 = (8, b"\x95\x00Opus\x01OpusHead")
COLOUR = (9, b"\x94avc1colour")


@pytest.mark.parametrize(
    ("type_id", "payload", "track", "expected"),
    [
        (8, ONE, 2, b"\x91Opuspayload"),
        (8, ONE, 0, None),
        (8, MANY, 0, b"\x91Opusp0"),
        (8, MANY, 1, b"\x91Opusp1"),
        (9, MIXED, 0, b"\xa1avc1\0\0\0v0"),
        (9, MIXED, 1, b"\xa1hvc1\0\0\0v1"),
        (9, MIXED, 2, None),
    ],
)
def test_one_track_is_taken_out(type_id: int, payload: bytes, track: int, expected: bytes | None) -> None:
    assert only_track(type_id, payload, track) == expected


@pytest.mark.parametrize(
    ("type_id", "payload"),
    [
        (8, b""),
        (8, b"\xaf\x01aac"),
        (8, b"\x91Opusframe"),
        (8, b"\x97\x02\0\0\0\x01Opusframe"),  # a modifier, and no tracks
        (8, b"\x95"),  # cut short
        (9, b"\x17\x01\0\0\0frame"),
        (9, b"\x91hvc1\0\0\0frame"),
        (9, b"\xd6\x00"),  # a command
    ],
)
def test_message_that_names_no_tracks_stays_as_it_is(type_id: int, payload: bytes) -> None:
    assert only_track(type_id, payload, 3) == payload


def test_headers_tell_the_default_tracks() -> None:
    assert default_track(8, ()) == default_track(9, (OPUS_2,)) == 0
    assert default_track(8, (OPUS_2, OPUS_1, COLOUR)) == 1
    assert default_track(9, (COLOUR,)) == 0
    assert default_track(8, (OPUS_2, (8, b"\xaf\0\x12\x10"))) == 0
    assert only_tracks((COLOUR, OPUS_2, OPUS_1), 1, 0) == (COLOUR, (8, b"\x90OpusOpusHead"))


def test_codecs_are_told_apart_and_ways_to_write_one_are_not() -> None:
    assert codec_of(9, b"\x17\0\0\0\0avcC") == codec_of(9, b"\x90avc1avcC") == "H264"
    assert codec_of(9, b"\x90hvc1hvcC") == "H265"
    assert codec_of(8, b"\xaf\0\x12\x10") == "MPEG-4 Audio"
    assert codec_of(9, COLOUR[1]) == ""
    assert codec_of(8, b"") == ""


@given(st.sampled_from([8, 9]), st.binary(max_size=40), st.integers(0, 3))
def test_nothing_raises(type_id: int, payload: bytes, track: int) -> None:
    only_track(type_id, payload, track)
    codec_of(type_id, payload)
    default_track(type_id, ((type_id, payload),))
