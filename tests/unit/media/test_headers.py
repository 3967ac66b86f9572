from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.media.classify import FRAME, HEADER, classify_audio, classify_video
from rtmpsrv.media.headers import (
    MAX_CACHE_BYTES,
    MAX_HEADER_BYTES,
    MAX_STREAM_TRACKS,
    Change,
    HeaderCache,
)
from rtmpsrv.protocol.messages import AUDIO, VIDEO

AVC = bytes.fromhex("1700000000") + b"avc config"
OTHER_AVC = bytes.fromhex("1700000000") + b"another"
AVC_TRACK_1 = bytes.fromhex("96006176633101") + b"track one"
HEVC_METADATA = b"\x84hvc1colorInfo"
AAC = bytes.fromhex("af001210")
AAC_TRACK_1 = bytes.fromhex("95006d703461011188")
MULTICHANNEL = bytes.fromhex("946d7034610006")
TRACKS_0_AND_1 = b"\x96\x10hvc1" + b"\x00\x00\x00\x01a" + b"\x01\x00\x00\x01b"
TRACK_1_ONLY = b"\x96\x00hvc1\x01new"
HEVC_END = b"\x92hvc1"
TRACK_1_END = b"\x96\x02hvc1\x01"


def video(cache: HeaderCache, payload: bytes) -> Change:
    return cache.update(VIDEO, payload, classify_video(payload))


def audio(cache: HeaderCache, payload: bytes) -> Change:
    return cache.update(AUDIO, payload, classify_audio(payload))


def test_new_cache_is_empty() -> None:
    assert HeaderCache().snapshot() == ()
    assert HeaderCache().default_video_track == 0


def test_legacy_headers_are_sent_audio_first() -> None:
    cache = HeaderCache()
    video(cache, AVC)
    audio(cache, AAC)
    assert cache.snapshot() == ((AUDIO, AAC), (VIDEO, AVC))


@pytest.mark.parametrize("enhanced", [MULTICHANNEL, AAC_TRACK_1, b"\x90Opus"])
def test_video_goes_first_when_there_is_enhanced_audio(enhanced: bytes) -> None:
    cache = HeaderCache()
    audio(cache, enhanced)
    video(cache, AVC)
    assert cache.snapshot() == ((VIDEO, AVC), (AUDIO, enhanced))


def test_enhanced_headers_are_sent_video_first_and_configs_before_metadata() -> None:
    # FFmpeg 9 makes empty packets of enhanced headers that come before all video.
    cache = HeaderCache()
    for payload in (HEVC_METADATA, AVC, AVC_TRACK_1):
        assert video(cache, payload) is Change.CHANGED
    for payload in (MULTICHANNEL, AAC, AAC_TRACK_1):
        assert audio(cache, payload) is Change.CHANGED
    assert cache.snapshot() == (
        (VIDEO, AVC),
        (VIDEO, AVC_TRACK_1),
        (VIDEO, HEVC_METADATA),
        (AUDIO, AAC),
        (AUDIO, AAC_TRACK_1),
        (AUDIO, MULTICHANNEL),
    )


def test_identical_repeat_changes_nothing() -> None:
    cache = HeaderCache()
    video(cache, AVC)
    audio(cache, AAC)
    before = cache.snapshot()
    assert not video(cache, bytes(bytearray(AVC)))
    assert not audio(cache, AAC)
    assert cache.snapshot() is before


def test_frames_change_nothing() -> None:
    cache = HeaderCache()
    assert video(cache, bytes.fromhex("1701000000") + b"key") is Change.UNCHANGED
    assert audio(cache, b"\xaf\x01aac") is Change.UNCHANGED
    assert audio(cache, b"") is Change.UNCHANGED
    assert cache.update(VIDEO, b"not a header", HEADER) is Change.UNCHANGED
    assert cache.snapshot() == ()


def test_other_config_of_the_default_track_restarts_the_gop() -> None:
    cache = HeaderCache()
    assert video(cache, AVC) is Change.CHANGED
    assert video(cache, OTHER_AVC) is Change.RESTART
    assert video(cache, b"\x90hvc1config") is Change.RESTART
    assert cache.snapshot() == ((VIDEO, b"\x90hvc1config"),)


def test_other_config_of_another_track_restarts_nothing() -> None:
    cache = HeaderCache()
    video(cache, AVC)
    video(cache, AVC_TRACK_1)
    assert video(cache, AVC_TRACK_1 + b"!") is Change.CHANGED
    assert audio(cache, AAC) is Change.CHANGED
    assert audio(cache, AAC + b"!") is Change.CHANGED
    assert video(cache, HEVC_METADATA) is Change.CHANGED


def test_lowest_track_is_the_default_of_a_stream_without_track_0() -> None:
    cache = HeaderCache()
    video(cache, b"\x96\x00hvc1\x05five")
    video(cache, b"\x96\x00hvc1\x03three")
    audio(cache, AAC_TRACK_1)
    assert cache.default_video_track == 3
    assert video(cache, b"\x96\x00hvc1\x05FIVE") is Change.CHANGED
    assert video(cache, b"\x96\x00hvc1\x03THREE") is Change.RESTART


def test_message_of_several_tracks_is_sent_once() -> None:
    cache = HeaderCache()
    assert video(cache, TRACKS_0_AND_1) is Change.CHANGED
    assert cache.snapshot() == ((VIDEO, TRACKS_0_AND_1),)
    assert not video(cache, TRACKS_0_AND_1)


def test_message_that_renews_one_track_of_several_comes_after_the_other() -> None:
    cache = HeaderCache()
    video(cache, TRACKS_0_AND_1)
    assert video(cache, TRACK_1_ONLY) is Change.CHANGED
    assert cache.snapshot() == ((VIDEO, TRACKS_0_AND_1), (VIDEO, TRACK_1_ONLY))
    assert video(cache, TRACKS_0_AND_1) is Change.CHANGED
    assert cache.snapshot() == ((VIDEO, TRACKS_0_AND_1),)


# --- configurations -------------------------------------------------------------------------------


def test_two_tracks_that_become_one_leave_one_header() -> None:
    cache = HeaderCache()
    audio(cache, AAC)
    audio(cache, AAC_TRACK_1)
    audio(cache, MULTICHANNEL)
    video(cache, AVC)
    cache.note_frames()
    assert audio(cache, AAC + b"!") is Change.CHANGED
    assert cache.snapshot() == ((AUDIO, AAC + b"!"), (VIDEO, AVC))
    assert cache.held_bytes == len(AAC + b"!") + len(AVC)


def test_message_of_two_tracks_goes_when_one_is_configured_anew() -> None:
    cache = HeaderCache()
    video(cache, TRACKS_0_AND_1)
    cache.note_frames()
    assert video(cache, b"\x90hvc1alone") is Change.RESTART
    assert cache.snapshot() == ((VIDEO, b"\x90hvc1alone"),)
    assert cache.held_bytes == len(b"\x90hvc1alone")


@pytest.mark.parametrize("with_repeat", [True, False])
def test_tracks_sent_together_are_one_configuration(with_repeat: bool) -> None:
    cache = HeaderCache()
    audio(cache, AAC)
    audio(cache, AAC_TRACK_1)
    cache.note_frames()
    before = [AAC_TRACK_1 if with_repeat else AAC_TRACK_1 + b"!", AAC + b"!"]
    for payload in before:
        audio(cache, payload)
    assert {payload for _, payload in cache.snapshot()} == set(before)
    cache.note_frames()
    for payload in (AAC, AAC_TRACK_1):
        audio(cache, payload)
    assert cache.snapshot() == ((AUDIO, AAC), (AUDIO, AAC_TRACK_1))


def test_another_track_or_a_repeat_is_no_new_configuration() -> None:
    cache = HeaderCache()
    for payload in (AAC, AAC_TRACK_1):
        audio(cache, payload)
    for payload in (AAC_TRACK_1 + b"!", AAC, b"\x94mp4a\0\2"):
        cache.note_frames()
        audio(cache, payload)
    assert {payload for _, payload in cache.snapshot()} == {AAC, AAC_TRACK_1 + b"!", b"\x94mp4a\0\2"}


def test_end_of_a_track_removes_its_headers_only() -> None:
    cache = HeaderCache()
    video(cache, b"\x90hvc1config")
    video(cache, HEVC_METADATA)
    video(cache, AVC_TRACK_1)
    assert video(cache, HEVC_END) is Change.CHANGED
    assert cache.snapshot() == ((VIDEO, AVC_TRACK_1),)
    assert video(cache, HEVC_END) is Change.UNCHANGED
    assert cache.remove(VIDEO, TRACK_1_END) is Change.CHANGED
    assert cache.snapshot() == ()


def test_legacy_end_of_sequence_keeps_the_header() -> None:
    cache = HeaderCache()
    video(cache, AVC)
    assert video(cache, bytes.fromhex("1702000000")) is Change.UNCHANGED
    assert cache.snapshot() == ((VIDEO, AVC),)


@pytest.mark.parametrize(("again", "change"), [(b"one", Change.CHANGED), (b"two", Change.RESTART)])
def test_config_after_an_end_is_compared_with_the_one_before_it(again: bytes, change: Change) -> None:
    cache = HeaderCache()
    video(cache, b"\x90hvc1one")
    video(cache, HEVC_END)
    assert video(cache, b"\x90hvc1" + again) is change


def test_headers_are_kept_up_to_the_limit() -> None:
    cache = HeaderCache(limit_bytes=len(AVC) + len(AAC))
    video(cache, AVC)
    audio(cache, AAC)
    assert len(cache.snapshot()) == 2
    assert audio(cache, AAC + b"x") is Change.UNCHANGED
    assert video(cache, AVC_TRACK_1) is Change.UNCHANGED
    assert video(cache, OTHER_AVC) is Change.RESTART  # shorter, in the place of the first
    assert cache.snapshot() == ((AUDIO, AAC), (VIDEO, OTHER_AVC))


def test_limit_counts_a_message_of_several_tracks_once() -> None:
    cache = HeaderCache(limit_bytes=len(TRACKS_0_AND_1) + len(AAC))
    video(cache, TRACKS_0_AND_1)
    assert audio(cache, AAC) is Change.CHANGED


def test_header_is_kept_up_to_64_kib() -> None:
    cache = HeaderCache()
    largest = AVC + bytes(MAX_HEADER_BYTES - len(AVC))
    assert not video(cache, largest + b"x")
    assert video(cache, largest)
    assert cache.held_bytes == MAX_HEADER_BYTES == 65536


def test_headers_of_a_stream_are_kept_up_to_256_kib() -> None:
    cache = HeaderCache()
    for track in range(4):
        assert video(cache, bytes.fromhex("960068766331") + bytes((track,)) + bytes(MAX_HEADER_BYTES - 7))
    assert cache.held_bytes == MAX_CACHE_BYTES == 262144
    assert not audio(cache, AAC)
    assert video(cache, bytes.fromhex("96006876633100"))
    assert audio(cache, AAC)


def one_track(track: int) -> bytes:
    return b"\x96\x00hvc1" + bytes((track,)) + b"config"


def many_tracks(count: int, value: int = 0) -> bytes:
    return b"\x96\x10hvc1" + b"".join(bytes((track, 0, 0, 1, value)) for track in range(count))


def test_stream_has_32_tracks() -> None:
    cache = HeaderCache()
    for track in range(MAX_STREAM_TRACKS - 1):
        assert video(cache, one_track(track))
    assert audio(cache, AAC)
    assert not video(cache, one_track(200))
    assert not audio(cache, AAC_TRACK_1)
    assert video(cache, one_track(0) + b"new")
    assert video(cache, b"\x84hvc1colorInfo")  # of a track that is known
    assert len(cache.snapshot()) == 33
    assert video(cache, b"\x96\x02hvc1\x05")
    assert video(cache, one_track(200))


def test_message_of_more_than_32_tracks_is_a_frame() -> None:
    cache = HeaderCache()
    assert classify_video(many_tracks(MAX_STREAM_TRACKS)) == HEADER
    assert classify_video(many_tracks(MAX_STREAM_TRACKS + 1)) == FRAME
    assert video(cache, many_tracks(MAX_STREAM_TRACKS))
    assert not video(cache, many_tracks(256))
    assert not cache.update(VIDEO, many_tracks(256), HEADER)
    assert cache.snapshot() == ((VIDEO, many_tracks(MAX_STREAM_TRACKS)),)


def test_track_named_twice_in_a_message_is_one() -> None:
    cache = HeaderCache()
    twice = b"\x96\x10hvc1" + b"\x00\x00\x00\x01a" * 2
    assert video(cache, twice)
    assert video(cache, AVC) is Change.RESTART
    assert (cache.snapshot(), cache.held_bytes) == (((VIDEO, AVC),), len(AVC))


def test_cache_survives_a_pickle() -> None:
    cache = HeaderCache()
    video(cache, AVC)
    audio(cache, AAC)
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.snapshot() == cache.snapshot()
    assert video(copy, OTHER_AVC) is Change.RESTART


def test_cache_goes_on_from_its_value() -> None:
    cache = HeaderCache()
    video(cache, many_tracks(3))
    audio(cache, AAC)
    audio(cache, AAC_TRACK_1)
    cache.note_frames()
    copy = HeaderCache.from_value(pickle.loads(pickle.dumps(cache.to_value())))
    assert copy.to_value() == cache.to_value()
    assert copy.held_bytes == cache.held_bytes
    assert copy.default_video_track == cache.default_video_track
    for one in (cache, copy):
        assert audio(one, AAC + b"!") is Change.CHANGED
        assert video(one, AVC) is Change.RESTART
    assert copy.snapshot() == cache.snapshot()
    assert copy.to_value() == cache.to_value()
    assert copy.held_bytes == cache.held_bytes


MESSAGES = st.sampled_from(
    [(VIDEO, p) for p in (AVC, OTHER_AVC, AVC_TRACK_1, HEVC_METADATA, TRACKS_0_AND_1, TRACK_1_ONLY)]
    + [(VIDEO, HEVC_END), (VIDEO, TRACK_1_END), (AUDIO, AAC), (AUDIO, AAC_TRACK_1), (AUDIO, MULTICHANNEL)]
)


@given(st.lists(MESSAGES, max_size=20))
def test_snapshot_changes_exactly_when_update_says_so(messages: list[tuple[int, bytes]]) -> None:
    cache = HeaderCache()
    for type_id, payload in messages:
        before = cache.snapshot()
        changed = (video if type_id == VIDEO else audio)(cache, payload)
        after = cache.snapshot()
        assert changed or after is before
        assert len(set(after)) == len(after)
        assert all(message in messages for message in after)
        assert cache.held_bytes == sum(len(payload) for _, payload in after)


@given(st.sampled_from([AUDIO, VIDEO]), st.binary(max_size=30), st.sampled_from([0, FRAME, HEADER, 8]))
def test_any_bytes_with_any_flags_raise_nothing(type_id: int, payload: bytes, flags: int) -> None:
    cache = HeaderCache()
    cache.update(type_id, payload, flags)
    assert len(cache.snapshot()) <= 1
