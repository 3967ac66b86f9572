"""Where joiners start, and what is kept for them."""

from __future__ import annotations

import pytest

from rtmpsrv.live.header_history import MAX_HEADER_CHANGES
from rtmpsrv.live.joints import ENDLESS_GOP_S
from rtmpsrv.live.log import MESSAGE_OVERHEAD, SEGMENT_BYTES
from rtmpsrv.protocol import amf0
from tests.client import AAC_HEADER
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
    AVC_2,
    HEADERS,
    META,
    STARTED,
    Stage,
    data,
    inter,
    joined_frames,
    key,
    payloads,
    sound,
    tone,
    video,
)

PLAIN_META = amf0.encode("onMetaData", {"width": 640.0, "height": 360.0})


# --- joining --------------------------------------------------------------------------------------


@pytest.mark.parametrize("msid", [1, 5])
def test_joiner_is_started_in_the_order_of_the_specification(can_sendfile: bool, msid: int) -> None:
    stage = Stage()
    stage.publish(AVC, META, AAC, key("old", 100), tone("old", 110), key("k", 120), tone("a", 130))
    sink = stage.join(can_sendfile=can_sendfile, msid=msid)
    assert sink.told() == STARTED
    expected = [
        (4, 0, 0), (20, 0, msid), (20, 0, msid), (18, 0, 0),  # StreamBegin, Reset, Start, sample access
        (18, 0, msid), (8, 120, msid), (9, 120, msid),  # metadata, audio header, video header
        (9, 120, msid), (8, 130, msid),
    ]  # fmt: skip
    assert [message[:3] for message in sink.messages()] == expected
    assert [payload for _, _, payload in sink.media()] == [
        PLAIN_META, AAC[3], AVC[3], key("k")[3], tone("a")[3]
    ]  # fmt: skip


def test_joiner_of_a_stream_without_headers_gets_none() -> None:
    stage = Stage()
    mp3 = sound(b"\x2f" + bytes(20))
    stage.publish(mp3)
    sink = stage.join()
    assert [message[0] for message in sink.messages()] == [4, 20, 20, 18, 8]


def test_joiner_gets_the_latest_headers() -> None:
    stage = Stage()
    stage.publish(AVC, AAC, key("0"), AAC_2, key("1"))
    assert [p for _, _, p in stage.join().media()] == payloads(AAC_2, AVC, key("1"))


def test_header_inside_the_gop_reaches_joiners_in_its_place() -> None:
    stage = Stage()
    stage.publish(AVC, AAC, key("0"), AAC_2, tone("1"))
    assert [p for _, _, p in stage.join().media()] == payloads(AAC, AVC, key("0"), AAC_2, tone("1"))


def test_new_video_configuration_begins_the_cache_anew() -> None:
    stage = Stage()
    stage.publish(AVC, AAC, key("0"), inter("0"), AVC_2)
    sink = stage.join()
    assert [p for _, _, p in sink.media()] == payloads(AAC, AVC_2)
    stage.publish(key("1"))
    assert sink.frames() == payloads(key("1"))


def test_joiner_never_starts_between_keyframes_even_when_the_publisher_did() -> None:
    stage = Stage()
    stage.publish(*HEADERS, inter("0"), tone("0"), inter("1"))
    sink = stage.join()
    assert sink.frames() == payloads(tone("0"))  # audio does not wait
    stage.publish(inter("2"), tone("2"), key("3"), inter("4"), tone("5"))
    assert sink.frames() == payloads(tone("0"), tone("2"), key("3"), inter("4"), tone("5"))


def test_audio_ahead_of_the_first_video_frame_is_not_held_back() -> None:
    stage = Stage()
    stage.publish(*HEADERS, tone("0"), tone("1"))
    sink = stage.join()
    stage.publish(tone("2"), key("3"))
    assert sink.frames() == payloads(tone("0"), tone("1"), tone("2"), key("3"))


def test_joiner_behind_messages_that_wait_for_their_flush_gets_them_once() -> None:
    stage = Stage(merge_messages=100)
    other = stage.join()
    stage.publish(AVC, key("0"))
    stage.clock.advance(1)
    other.cost_s = 0.02
    before = [inter("1"), inter("2")]
    for message in before:
        stage.publish(message)
    other.cost_s = 0.0
    waiting = [key("3"), inter("4")]
    stage.batch(waiting)
    assert other.frames() == payloads(key("0"), *before)
    sink = stage.join()
    assert sink.told() == STARTED
    stage.clock.advance(1)
    assert sink.frames() == payloads(*waiting)
    assert other.frames() == payloads(key("0"), *before, *waiting)


def test_joiner_of_an_empty_segment_waits_for_what_comes() -> None:
    stage = Stage()
    stage.publish(AAC, tone("0"))
    stage.clock.advance(3)
    stage.publish(tone("1"))
    clear = data(amf0.encode("@clearDataFrame", "onMetaData"))
    stage.clock.advance(3)
    stage.publish(clear)
    sink = stage.join()
    assert sink.told() == STARTED
    stage.publish(tone("2"))
    assert sink.frames()[-1:] == payloads(tone("2"))


# --- cache choices --------------------------------------------------------------------------------


def test_cache_no_starts_at_the_next_keyframe(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("0"))
    sink = stage.join(can_sendfile=can_sendfile, cache="no")
    assert [p for _, _, p in sink.media()] == [PLAIN_META, AAC[3], AVC[3]]
    stage.publish(inter("1"), tone("1"), key("2"), tone("3"), inter("4"))
    assert sink.frames() == payloads(tone("1"), key("2"), tone("3"), inter("4"))
    assert stage.follows(sink)


def test_cache_no_of_audio_starts_at_once() -> None:
    stage = Stage()
    stage.publish(AAC, tone("0"))
    sink = stage.join(cache="no")
    stage.publish(tone("1"))
    assert sink.frames() == payloads(tone("1"))


def test_without_a_cache_every_joiner_starts_at_the_next_keyframe() -> None:
    stage = Stage(cache_bytes=0)
    stage.publish(*HEADERS, key("0"), inter("0"))
    sink = stage.join()
    assert [p for _, _, p in sink.media()] == [PLAIN_META, AAC[3], AVC[3]]
    stage.publish(inter("1"), key("2"), tone("3"))
    assert sink.frames() == payloads(key("2"), tone("3"))


def test_without_a_cache_nothing_is_kept() -> None:
    stage = Stage(cache_bytes=0)
    stage.publish(*HEADERS, key("0"))
    for _ in range(40):
        stage.publish(inter(bytes(100_000)))
    assert stage.used_bytes() < 2 << 20


def test_stream_mode_keeps_everything_for_who_clears_the_cache() -> None:
    stage = Stage(keep_stream=True)
    everything = [key("0"), inter("1"), key("2"), inter("3"), key("4"), tone("5")]
    stage.publish(*HEADERS, *everything)
    assert joined_frames(stage) == payloads(key("4"), tone("5"))
    assert joined_frames(stage, "clear") == payloads(*everything)
    assert joined_frames(stage, "clear") == payloads(key("4"), tone("5"))
    stage.publish(key("6"), key("7"))
    assert joined_frames(stage, "clear") == payloads(key("7"))


def test_audio_ahead_of_the_first_keyframe_is_part_of_the_whole_stream() -> None:
    stage = Stage(keep_stream=True)
    everything = [tone("0"), tone("1"), key("2"), inter("3")]
    stage.publish(*HEADERS, *everything)
    assert joined_frames(stage, "clear") == payloads(*everything)


def test_clear_outside_stream_mode_is_an_ordinary_join() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), key("1"), tone("2"))
    assert joined_frames(stage, "clear") == joined_frames(stage) == payloads(key("1"), tone("2"))


def test_stream_mode_drops_whole_gops_over_its_limit(small_segments: None) -> None:
    stage = Stage(keep_stream=True, cache_bytes=5000)
    for number in range(10):
        stage.publish(key(b"%02d" % number + bytes(1000)))
    frames = joined_frames(stage, "clear")
    assert 3 <= len(frames) <= 5
    assert frames[-1] == key(b"09" + bytes(1000))[3]
    assert stage.used_bytes() <= 5000 + 1200  # the newest segment is judged when it is full


@pytest.mark.parametrize("keep_stream", [False, True])
def test_gop_over_the_limit_is_not_cached(keep_stream: bool) -> None:
    stage = Stage(cache_bytes=5000, keep_stream=keep_stream)
    stage.publish(*HEADERS, key("0"))
    for _ in range(40):
        stage.publish(inter(bytes(100_000)))
        assert stage.used_bytes() <= SEGMENT_BYTES + 200_000
    sink = stage.join()
    assert sink.frames() == []
    stage.publish(inter("1"), key("2"))
    assert sink.frames() == payloads(key("2"))
    assert joined_frames(stage) == payloads(key("2"))


def test_cache_is_exactly_as_long_as_allowed() -> None:
    sizes = [len(key("0")[3]), len(inter("1")[3])]
    limit = sum(sizes) + 2 * MESSAGE_OVERHEAD
    for spare, expected in ((0, 2), (-1, 0)):
        stage = Stage(cache_bytes=limit + spare)
        stage.publish(key("0"), inter("1"))
        assert len(joined_frames(stage)) == expected


def test_stream_mode_of_audio_alone_keeps_everything() -> None:
    stage = Stage(keep_stream=True)
    stage.publish(AAC)
    sent = [tone(f"{number}") for number in range(50)]
    for message in sent:
        stage.publish(message)
        stage.clock.advance(0.2)
    assert joined_frames(stage, "clear") == payloads(*sent)
    assert len(joined_frames(stage)) <= 12


def test_headers_of_a_beginning_that_nobody_remembers_are_the_oldest_that_are() -> None:
    stage = Stage(keep_stream=True)
    stage.publish(AVC, key("0"))
    changes = [sound(AAC_HEADER + b"%d" % number) for number in range(MAX_HEADER_CHANGES + 1)]
    stage.publish(*changes)
    sink = stage.join(cache="clear")
    assert [p for _, _, p in sink.media()] == payloads(changes[1], AVC, key("0"), *changes)


# --- audio only -----------------------------------------------------------------------------------


def test_audio_alone_can_be_joined_a_little_back() -> None:
    stage = Stage()
    stage.publish(AAC)
    for number in range(100):
        stage.publish(tone(f"{number}", number * 100))
        stage.clock.advance(0.1)
    frames = joined_frames(stage)
    assert 1 <= len(frames) <= 22
    assert frames[-1] == tone("99")[3]


def test_laggard_of_audio_alone_jumps_too() -> None:
    stage = Stage(lag_s=3.0)
    stage.publish(AAC, tone("first"))
    sink = stage.join()
    sink.clear()
    sink.room = 0
    for number in range(100):
        stage.publish(tone(f"{number}"))
        stage.clock.advance(0.1)
    sink.open()
    assert len(sink.frames()) < 25
    assert sink.frames()[-1] == tone("99")[3]


def test_first_header_of_a_stream_of_audio_starts_its_cache() -> None:
    stage = Stage()
    stage.publish(AAC, tone("0"), tone("1"))
    sink = stage.join()
    assert [p for _, _, p in sink.media()] == payloads(AAC, tone("0"), tone("1"))


def test_end_of_sequence_is_relayed_and_reaches_no_joiner() -> None:
    stage = Stage()
    sink = stage.join()
    end = video(b"\x17\x02\0\0\0")
    stage.publish(AVC, key("0"), end)
    assert [p for _, _, p in sink.media()] == payloads(AVC, key("0"), end)
    stage.publish(key("1"))
    assert [p for _, _, p in stage.join().media()] == payloads(AVC, key("1"))


# --- an endless GOP -------------------------------------------------------------------------------


def test_joiner_of_an_endless_gop_starts_anywhere() -> None:
    stage = Stage(cache_bytes=0)
    stage.publish(AVC, key("only"))
    stage.clock.advance(ENDLESS_GOP_S - 1)
    stage.publish(inter("early"))
    patient = stage.join()
    stage.publish(inter("1"), tone("2"))
    assert patient.frames() == payloads(tone("2"))
    stage.clock.advance(2)
    stage.publish(inter("3"))
    assert stage.join().frames() == []
    stage.publish(tone("4"), inter("5"))
    late = stage.join()
    stage.publish(inter("6"), tone("7"))
    assert late.frames() == payloads(inter("6"), tone("7"))
    assert patient.frames() == payloads(tone("2"), tone("4"), inter("5"), inter("6"), tone("7"))


def test_first_keyframe_is_awaited_from_the_begin_of_the_stream_on() -> None:
    stage = Stage()
    stage.clock.advance(2 * ENDLESS_GOP_S)
    stage.channel.stop()
    stage.start("key")
    stage.publish(AVC, inter("1"))
    sink = stage.join()
    stage.publish(inter("2"), key("3"))
    assert sink.frames() == payloads(key("3"))
