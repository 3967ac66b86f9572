from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.enhanced import (
    MAX_MODIFIERS,
    MAX_TRACKS,
    Enhanced,
    Track,
    multichannel_size,
    walk_audio,
    walk_video,
)


def test_one_track_without_multitrack_is_track_0() -> None:
    headers = walk_video(b"\x93hvc1body")
    assert headers == Enhanced(1, 3, None, None, (), (Track(0, b"hvc1", 5, 9),))


def test_many_tracks_share_a_codec() -> None:
    headers = walk_audio(b"\x95\x11Opus" + b"\x00\x00\x00\x01a" + b"\x05\x00\x00\x02bc")
    assert headers.tracks == (Track(0, b"Opus", 10, 11), Track(5, b"Opus", 15, 17))
    assert (headers.packet_type, headers.multitrack) == (1, 1)


def test_many_codecs_name_one_per_track() -> None:
    headers = walk_video(b"\x96\x23" + b"hvc1\x00\x00\x00\x01a" + b"av01\x01\x00\x00\x00")
    assert headers.tracks == (Track(0, b"hvc1", 10, 11), Track(1, b"av01", 19, 19))


@pytest.mark.parametrize("data", [b"\x96\x11hvc1", b"\x96\x21", b"\x96\x01hvc1", b"\x96"])
def test_multitrack_without_a_track_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        walk_video(data)


def test_metadata_with_frame_type_5_is_no_command() -> None:
    assert walk_video(b"\xd4hvc1").command is None
    assert walk_video(b"\xd1\x01").command == 1


def test_modifiers_up_to_the_limit_are_skipped() -> None:
    unknown = b"\x00\xaa\x17"  # one byte of data, ModEx type 1, then ModEx again
    for count, end in ((MAX_MODIFIERS, True), (MAX_MODIFIERS + 1, False)):
        payload = b"\x97" + unknown * (count - 1) + b"\x00\xaa\x13hvc1"
        if end:
            assert len(walk_video(payload).modifiers) == count
        else:
            with pytest.raises(RemoteProtocolError, match="more than 16 ModEx"):
                walk_video(payload)


def test_tracks_up_to_the_limit_are_walked() -> None:
    track = b"\x00\x00\x00\x00"
    assert len(walk_video(b"\x96\x13hvc1" + track * MAX_TRACKS).tracks) == MAX_TRACKS
    with pytest.raises(RemoteProtocolError, match="more than 32 tracks"):
        walk_video(b"\x96\x13hvc1" + track * (MAX_TRACKS + 1))


@pytest.mark.parametrize(
    ("body", "size"),
    [(b"", 2), (b"\x01", 2), (b"\x00\x08", 2), (b"\x01\x02", 6), (b"\x02\x03", 5), (b"\x09\xff", 2)],
)
def test_multichannel_config_says_its_size(body: bytes, size: int) -> None:
    assert multichannel_size(body) == size


@given(st.sampled_from([0x80, 0x90, 0xA0, 0xD0]), st.integers(0, 15), st.binary(max_size=80))
def test_tracks_lie_inside_the_message_and_do_not_overlap(first: int, packet: int, rest: bytes) -> None:
    payload = bytes([first | packet]) + rest
    for walk in (walk_video, walk_audio):
        try:
            tracks = walk(payload).tracks
        except RemoteProtocolError:
            continue
        edges = [edge for track in tracks for edge in (track.start, track.end)]
        assert edges == sorted(edges)
        assert all(0 < edge <= len(payload) for edge in edges)
