from __future__ import annotations

import pytest

from rtmpsrv.live import channel as module
from rtmpsrv.live import fanout
from rtmpsrv.live.channel import (
    DEAR_FLUSH_S,
    ENDLESS_GOP_S,
    FULL_REST_FACTOR,
    LEEWAY_S,
    MAX_REST_S,
    MAX_STORED_DATA,
    MAX_WAIT_S,
    REST_FACTOR,
)
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from rtmpsrv.protocol import amf0
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
    AVC_2,
    CHUNK_SIZE,
    HEADERS,
    META,
    FakeSink,
    Message,
    Stage,
    data,
    framed,
    inter,
    key,
    payloads,
    sound,
    tone,
    video,
)

STARTED = ["StreamBegin", "Play.Reset", "Play.Start"]
UNPUBLISHED = ["Play.UnpublishNotify", "StreamEOF"]
PLAIN_META = amf0.encode("onMetaData", {"width": 640.0, "height": 360.0})


def joined_frames(stage: Stage, cache: str = "") -> list[bytes]:
    """What a player that joins now gets at once."""
    sink = stage.join(cache=cache)
    frames = sink.frames()
    stage.channel.leave(stage.player(sink))
    return frames


# --- following ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_followers_get_exactly_the_bytes_of_the_log(can_sendfile: bool, count: int) -> None:
    stage = Stage()
    sinks = stage.followers(count, can_sendfile=can_sendfile)
    stage.publish(AVC)
    for sink in sinks:
        sink.clear()
    sent = [key("0", 0), tone("1", 0xFFFFFF), inter(bytes(500), 0xFFFFFFFF), tone("", 3), inter("4", 4)]
    stage.publish(*sent)
    for sink in sinks:
        assert bytes(sink.received) == framed(*sent)


def test_few_followers_and_small_flushes_are_sent_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "SENDFILE_FROM", 4)
    monkeypatch.setattr(fanout, "SENDFILE_BYTES", 100)
    stage = Stage()
    sinks = stage.followers(3)
    stage.publish(key(bytes(100)))
    assert [sink.sendfiles for sink in sinks] == [0, 0, 0]
    sinks += stage.followers(1)
    before = [sink.sendfiles for sink in sinks]
    stage.publish(inter("small"))
    assert [sink.sendfiles for sink in sinks] == before
    stage.publish(inter(bytes(100)))
    assert [sink.sendfiles for sink in sinks] == [count + 1 for count in before]


def test_a_full_socket_delays_nobody_else(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(AVC, key("k"))
    stuck, fine = stage.join(can_sendfile=can_sendfile, room=0), stage.join(can_sendfile=can_sendfile)
    stage.publish(*(inter(f"{number}") for number in range(50)))
    assert len(fine.frames()) == 51
    assert stuck.received == b""


def test_player_that_left_gets_nothing_more() -> None:
    stage = Stage()
    sinks = [stage.join(), stage.join(can_sendfile=False), stage.join(msid=2), stage.join(room=0)]
    stage.publish(AVC, key("k"))
    for sink in sinks:
        stage.channel.leave(stage.player(sink))
        stage.channel.leave(stage.player(sink))
        sink.clear()
    stage.publish(inter("i"))
    stage.channel.stop()
    assert stage.channel.players == set()
    sinks[3].open()
    assert [player_sink.media() for player_sink in sinks] == [[]] * 4
    assert b"".join(sink.received for sink in sinks[:3]) == b""


# --- joining --------------------------------------------------------------------------------------


@pytest.mark.parametrize("msid", [1, 5])
def test_joiner_is_started_in_the_order_of_the_specification(can_sendfile: bool, msid: int) -> None:
    stage = Stage()
    stage.publish(AVC, META, AAC, key("old", 100), tone("old", 110), key("k", 120), tone("a", 130))
    sink = stage.join(can_sendfile=can_sendfile, msid=msid)
    assert sink.told() == STARTED
    expected = [
        (4, 0, 0), (20, 0, msid), (20, 0, msid), (18, 0, 0),  # StreamBegin, Reset, Start, sample access
        (18, 0, msid), (8, 0, msid), (9, 0, msid),  # metadata, audio header, video header
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
    assert sink.frames() == []
    stage.publish(inter("2"), key("3"), inter("4"), tone("5"))
    assert sink.frames() == payloads(key("3"), inter("4"), tone("5"))


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
    other.cost_s = 1.0
    before = [inter("1"), inter("2")]
    for message in before:
        stage.publish(message)
        stage.clock.advance(1)
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
    assert sink.frames() == payloads(key("2"), tone("3"), inter("4"))
    assert stage.player(sink).following


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
    assert stage.registry.budget.used_bytes < 2 << 20


def test_stream_mode_keeps_everything_for_who_clears_the_cache() -> None:
    stage = Stage(keep_stream=True)
    everything = [key("0"), inter("1"), key("2"), inter("3"), key("4"), tone("5")]
    stage.publish(*HEADERS, *everything)
    assert joined_frames(stage) == payloads(key("4"), tone("5"))
    assert joined_frames(stage, "clear") == payloads(*everything)
    assert joined_frames(stage, "clear") == payloads(key("4"), tone("5"))
    stage.publish(key("6"), key("7"))
    assert joined_frames(stage, "clear") == payloads(key("7"))


def test_clear_outside_stream_mode_is_an_ordinary_join() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), key("1"), tone("2"))
    assert joined_frames(stage, "clear") == joined_frames(stage) == payloads(key("1"), tone("2"))


def test_stream_mode_drops_whole_gops_over_its_limit() -> None:
    stage = Stage(keep_stream=True, cache_bytes=5000)
    for number in range(10):
        stage.publish(key(b"%02d" % number + bytes(1000)))
    frames = joined_frames(stage, "clear")
    assert 3 <= len(frames) <= 5
    assert frames[-1] == key(b"09" + bytes(1000))[3]
    assert stage.registry.budget.used_bytes <= 5000


@pytest.mark.parametrize("keep_stream", [False, True])
def test_gop_over_the_limit_is_not_cached(keep_stream: bool) -> None:
    stage = Stage(cache_bytes=5000, keep_stream=keep_stream)
    stage.publish(*HEADERS, key("0"))
    for _ in range(40):
        stage.publish(inter(bytes(100_000)))
        assert stage.registry.budget.used_bytes <= module.UNCACHED_SEGMENT_BYTES + 200_000
    sink = stage.join()
    assert sink.frames() == []
    stage.publish(inter("1"), key("2"))
    assert sink.frames() == payloads(key("2"))
    assert joined_frames(stage) == payloads(key("2"))


def test_cache_is_exactly_as_long_as_allowed() -> None:
    sizes = [len(key("0")[3]), len(inter("1")[3])]
    limit = sum(sizes) + 2 * module.MESSAGE_OVERHEAD
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
    assert patient.frames() == []
    stage.clock.advance(2)
    stage.publish(inter("3"))
    assert stage.join().frames() == []
    stage.publish(tone("4"), inter("5"))
    late = stage.join()
    stage.publish(inter("6"), tone("7"))
    assert late.frames() == payloads(inter("6"), tone("7"))
    assert patient.frames() == payloads(tone("4"), inter("5"), inter("6"), tone("7"))


def test_first_keyframe_is_awaited_from_the_begin_of_the_stream_on() -> None:
    stage = Stage()
    stage.clock.advance(2 * ENDLESS_GOP_S)
    stage.channel.stop()
    stage.channel.start("key")
    stage.publish(AVC, inter("1"))
    sink = stage.join()
    stage.publish(inter("2"), key("3"))
    assert sink.frames() == payloads(key("3"))


# --- data -----------------------------------------------------------------------------------------


def test_metadata_reaches_players_at_timestamp_0_and_joiners_in_its_latest_form() -> None:
    stage = Stage()
    sink = stage.join()
    stage.publish(data(META[3], 500), key("0"), data(amf0.encode("onMetaData", {"width": 1.0}), 900))
    assert [(kind, time) for kind, time, _ in sink.media()] == [(18, 0), (9, 0), (18, 0)]
    assert stage.join(cache="no").media() == [(18, 0, amf0.encode("onMetaData", {"width": 1.0}))]


def test_cleared_metadata_is_forgotten() -> None:
    stage = Stage()
    stage.publish(META, data(amf0.encode("@clearDataFrame", "onMetaData")))
    assert stage.join().media() == []


def test_other_data_is_relayed_and_not_kept() -> None:
    stage = Stage()
    sink = stage.join()
    text = amf0.encode("onTextData", {"text": "t"})
    stage.publish(key("0"), data(text, 70), (15, 71, 1, b"\0" + text, 4))
    assert sink.media()[1:] == [(18, 70, text), (18, 71, text)]
    assert stage.join(cache="no").media() == []


def test_kept_data_messages_are_bounded() -> None:
    stage = Stage()
    for number in range(2 * MAX_STORED_DATA):
        stage.publish(data(amf0.encode("@setDataFrame", f"name{number}", {"n": 1.0})))
    assert len(stage.join(cache="no").media()) == MAX_STORED_DATA
    stage.publish(data(amf0.encode("@setDataFrame", "name0", {"n": 2.0})))
    assert stage.join(cache="no").media()[0] == (18, 0, amf0.encode("name0", {"n": 2.0}))


# --- publishers come and go -----------------------------------------------------------------------


def test_waiting_player_is_told_nothing_until_it_is_started() -> None:
    stage = Stage(live=False)
    sink = stage.join(key="key")
    assert sink.received == b""
    stage.channel.start("key")
    assert sink.told() == STARTED
    stage.publish(AVC, key("0"))
    assert sink.frames() == payloads(key("0"))


def test_waiting_player_with_another_key_is_refused() -> None:
    stage = Stage(live=False)
    good, bad = stage.join(key="schlüssel\udcff"), stage.join(key="other")
    stage.channel.start("schlüssel\udcff")
    assert good.told() == STARTED
    assert bad.received == b""
    assert bad.refusals == [("NetStream.Play.BadName", "Invalid stream key provided")]
    assert stage.channel.players == {good.player}


def test_keys_are_compared_only_where_there_are_any() -> None:
    stage = Stage(live=False)
    assert stage.channel.accepts_key("any")
    stage.channel.start("key")
    assert stage.channel.accepts_key("key")
    assert not stage.channel.accepts_key("any")
    assert stage.join(key=None).told() == STARTED
    stage.channel.stop()
    stage.channel.start()
    assert stage.join(key="any").told() == STARTED


def test_players_are_told_of_the_end_and_wait(can_sendfile: bool) -> None:
    stage = Stage()
    sinks = [
        stage.join(can_sendfile=can_sendfile),
        stage.join(can_sendfile=can_sendfile, msid=3),
        stage.join(can_sendfile=can_sendfile),
    ]
    stage.publish(*HEADERS, key("0"))
    stage.channel.pause(stage.player(sinks[2]))
    for sink in sinks:
        sink.clear()
    stage.channel.stop()
    stage.channel.stop()
    assert [sink.told() for sink in sinks] == [UNPUBLISHED] * 3
    assert all(stage.player(sink).waiting for sink in sinks)
    assert not stage.channel.live


def test_rest_of_the_log_is_sent_before_the_end() -> None:
    stage = Stage(merge_messages=100)
    sink = stage.join()
    stage.publish(AVC, key("0"))
    stage.clock.advance(1)
    sink.cost_s = 1.0
    stage.publish(inter("1"))
    stage.publish(inter("2"))
    stage.channel.stop()
    assert sink.frames() == payloads(key("0"), inter("1"), inter("2"))
    assert sink.told() == STARTED + UNPUBLISHED


def test_nothing_is_relayed_off_the_air() -> None:
    stage = Stage()
    sink = stage.join()
    stage.channel.stop()
    sink.clear()
    stage.publish(key("0"))
    assert sink.received == b""
    assert stage.join().received == b""


def test_laggard_reads_the_old_log_to_its_end_before_it_is_told(can_sendfile: bool) -> None:
    stage = Stage()
    sink = stage.join(can_sendfile=can_sendfile)
    stage.publish(*HEADERS)
    sink.clear()
    sink.room = 30
    sent = [key("0"), inter("1"), key("2"), tone("3")]
    stage.publish(*sent)
    stage.channel.stop()
    assert len(sink.received) == 30
    sink.open(50)
    sink.open()
    assert sink.frames() == payloads(*sent)
    assert sink.told() == UNPUBLISHED
    assert stage.player(sink).waiting


def test_laggard_in_the_old_log_is_started_anew_by_the_next_publisher(can_sendfile: bool) -> None:
    stage = Stage()
    sink = stage.join(can_sendfile=can_sendfile)
    stage.publish(AVC)
    sink.clear()
    sink.room = 30
    old = [key("0"), inter("1"), key("2"), tone("3")]
    stage.publish(*old)
    stage.channel.stop()
    stage.channel.start("key")
    new = [key("4"), inter("5")]
    stage.publish(AAC_2, AVC_2, *new)
    sink.open(50)
    sink.open()
    assert sink.frames() == payloads(*old, *new)
    assert sink.told() == [*UNPUBLISHED, *STARTED]
    stage.publish(inter("6"))
    assert sink.frames()[-1] == inter("6")[3]
    assert stage.player(sink).following


def test_laggard_in_the_old_log_with_another_key_is_refused_at_its_end() -> None:
    stage = Stage()
    sink = stage.join(key="key")
    stage.publish(AVC)
    sink.room = 0
    stage.publish(key("0"))
    stage.channel.stop()
    stage.channel.start("other")
    assert sink.refusals == []
    sink.open()
    assert sink.told()[-2:] == UNPUBLISHED
    assert sink.refusals == [("NetStream.Play.BadName", "Invalid stream key provided")]


def test_new_publisher_inherits_nothing() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    stage.channel.stop()
    stage.channel.start("key")
    assert stage.join().media() == []
    stage.publish(tone("1"))
    assert joined_frames(stage) == payloads(tone("1"))
    assert stage.channel.publication == 2


def test_ended_publication_gives_its_memory_back() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key(bytes(5000)))
    stage.channel.stop()
    stage.channel.start()
    assert stage.registry.budget.used_bytes == 0


def test_second_publisher_at_a_time_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="one publisher"):
        Stage().channel.start()


# --- merging --------------------------------------------------------------------------------------


def merging(sink_cost_s: float, merge_messages: int = 1000) -> tuple[Stage, FakeSink]:
    """A channel whose last flushes took `sink_cost_s` and are just over; its follower forgot about them."""
    stage = Stage(merge_messages=merge_messages)
    sink = stage.join()
    stage.publish(AVC)
    stage.clock.advance(1)
    sink.cost_s = sink_cost_s
    stage.publish(key("0"))
    stage.clock.advance(1)
    stage.publish(key("0"))
    sink.cost_s = 0.0
    sink.clear()
    return stage, sink


def test_cheap_flush_makes_nobody_wait() -> None:
    stage, sink = merging(0.0)
    stage.publish(inter("1"))
    assert sink.frames() == payloads(inter("1"))
    assert stage.clock.timers == []


@pytest.mark.parametrize("took_s", [0.0005, 0.001])
def test_next_flush_rests_in_proportion_to_the_last(took_s: float) -> None:
    stage, sink = merging(took_s)
    stage.publish(inter("1"), inter("2"))
    stage.clock.advance(took_s * REST_FACTOR - 0.0001)
    assert sink.frames() == []
    sends = sink.sends
    stage.clock.advance(0.0002)
    assert sink.frames() == payloads(inter("1"), inter("2"))
    assert sink.sends == sends + 1


def test_message_that_comes_after_the_rest_goes_at_once() -> None:
    stage, sink = merging(0.001)
    stage.clock.advance(0.001 * REST_FACTOR)
    stage.publish(inter("1"))
    assert sink.frames() == payloads(inter("1"))
    assert stage.clock.timers == []


def test_the_rest_is_shorter_than_a_frame_while_flushes_are_not_dear() -> None:
    stage, sink = merging(DEAR_FLUSH_S * 0.99)
    stage.publish(inter("1"))
    stage.clock.advance(MAX_REST_S - 0.0001)
    assert sink.frames() == []
    stage.clock.advance(0.0002)
    assert sink.frames() == payloads(inter("1"))


def test_keyframe_that_took_long_makes_the_next_flush_wait_no_longer() -> None:
    stage, sink = merging(0.001)
    stage.clock.advance(1)
    sink.cost_s = 0.02
    stage.publish(key("dear"))
    sink.cost_s = 0.0
    stage.clock.advance(0.001 * REST_FACTOR)
    stage.publish(inter("1"))
    assert sink.frames() == payloads(key("dear"), inter("1"))


def test_what_waits_goes_before_a_keyframe_and_that_soon_after() -> None:
    stage, sink = merging(0.004)
    stage.publish(inter("1"))
    assert sink.frames() == []
    sink.cost_s = 0.004
    stage.batch([tone("2"), key("3")])
    assert sink.frames() == payloads(inter("1"), tone("2"))
    stage.clock.advance(0.004 * FULL_REST_FACTOR + 0.0001)
    assert sink.frames() == payloads(inter("1"), tone("2"), key("3"))


def test_no_message_waits_longer_than_the_most() -> None:
    stage, sink = merging(10.0)
    stage.clock.advance(1)
    stage.publish(inter("1"))
    stage.clock.advance(0.03)
    stage.publish(inter("2"))
    assert sink.frames() == []
    stage.clock.advance(MAX_WAIT_S + LEEWAY_S - 0.0301)
    assert sink.frames() == []
    stage.clock.advance(0.0002)
    assert sink.frames() == payloads(inter("1"), inter("2"))


def test_a_message_that_comes_within_the_leeway_goes_with_the_others() -> None:
    stage, sink = merging(10.0)
    stage.publish(inter("1"))
    stage.clock.advance(MAX_WAIT_S + LEEWAY_S / 2)
    assert sink.frames() == []
    stage.publish(inter("2"))
    assert sink.frames() == payloads(inter("1"), inter("2"))
    assert stage.clock.timers == []


def test_so_many_messages_are_merged_and_no_more() -> None:
    stage, sink = merging(0.004, merge_messages=3)
    stage.publish(inter("1"), inter("2"))
    stage.clock.advance(0.004 * FULL_REST_FACTOR)
    assert sink.frames() == []
    stage.publish(inter("3"))
    assert sink.frames() == payloads(inter("1"), inter("2"), inter("3"))


def test_many_messages_are_merged_further_while_flushes_are_dear() -> None:
    stage, sink = merging(0.004, merge_messages=3)
    stage.publish(inter("1"), inter("2"), inter("3"), inter("4"))
    assert sink.frames() == []
    stage.clock.advance(0.004 * FULL_REST_FACTOR + 0.0001)
    assert sink.frames() == payloads(inter("1"), inter("2"), inter("3"), inter("4"))


def test_messages_of_one_read_are_flushed_together() -> None:
    stage = Stage()
    sink = stage.join()
    sends = sink.sends
    stage.batch([AVC, tone("0"), tone("1")])
    stage.batch([])
    assert len(sink.frames()) == 2
    assert sink.sends <= sends + 2  # the header begins a segment of its own


# --- choosing what to receive -----------------------------------------------------------------------


def test_a_header_that_changed_while_its_kind_was_off_is_sent_when_it_is_on_again() -> None:
    stage = Stage()
    stage.publish(AAC, AVC, key("0"))
    sink = stage.join()
    player = stage.player(sink)
    stage.channel.receive(player, AUDIO | DATA)
    stage.publish(AVC_2, key("1"))
    sink.clear()
    stage.channel.receive(player, AUDIO | VIDEO | DATA)
    assert [p for _, _, p in sink.media()] == payloads(AVC_2)
    stage.publish(key("2"))
    assert sink.frames() == payloads(key("2"))


def test_choosing_while_paused_or_waiting_sends_nothing() -> None:
    stage = Stage(live=False)
    sink = stage.join(wants=DATA)
    player = stage.player(sink)
    stage.channel.receive(player, AUDIO | VIDEO | DATA)
    assert sink.messages() == []
    stage.channel.receive(player, DATA)
    stage.channel.start("key")
    stage.publish(AVC, key("0"))
    stage.channel.pause(player)
    sink.clear()
    stage.channel.receive(player, AUDIO | VIDEO | DATA)
    assert sink.media() == []


# --- kinds of messages ----------------------------------------------------------------------------


def test_keyframe_of_the_lowest_track_starts_a_gop_where_there_is_no_track_0() -> None:
    def multitrack(frame: int, packet_type: int, track: int, content: bytes) -> Message:
        first = 0x80 | frame << 4 | 6  # multitrack, one track
        return video(bytes((first, packet_type)) + b"avc1" + bytes((track,)) + content)

    stage = Stage()
    stage.publish(multitrack(1, 0, 1, b"config"), multitrack(1, 1, 1, b"\0\0\0key"))
    stage.publish(multitrack(2, 1, 1, b"\0\0\0int"), multitrack(1, 1, 1, b"\0\0\0new"))
    assert joined_frames(stage)[-1:] == [multitrack(1, 1, 1, b"\0\0\0new")[3]]
    assert len(joined_frames(stage)) == 2  # the config and the newest keyframe


def test_empty_messages_are_relayed() -> None:
    stage = Stage()
    sink = stage.join()
    stage.publish(sound(b"", 5), video(b"", 6))
    assert sink.media() == [(8, 5, b""), (9, 6, b"")]


def test_chunk_size_is_the_servers() -> None:
    stage = Stage()
    sink = stage.join()
    sink.clear()
    stage.publish(key(bytes(2 * CHUNK_SIZE)))
    assert sink.received.count(b"\xc5") == 2
