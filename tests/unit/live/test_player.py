from __future__ import annotations

import errno
import os

import pytest

from rtmpsrv.live.channel import LAG_CHECK_S
from rtmpsrv.live.player import COPY_BYTES, STEP_BYTES
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
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
    tone,
)


def many(count: int, size: int = 1000) -> list[Message]:
    return [inter(b"%05d" % number + bytes(size), number) for number in range(count)]


def playing(stage: Stage, *first: Message, **options: object) -> FakeSink:
    """A player that has been sent `first` and forgot about it."""
    stage.publish(*first)
    sink = stage.join(**options)  # type: ignore[arg-type]  # options of join
    sink.clear()
    return sink


# --- catching up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [0, 5], ids=["alone", "among_many"])
def test_laggard_catches_up_and_follows_again(can_sendfile: bool, others: int) -> None:
    stage = Stage()
    stage.followers(others)
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile, room=None)
    sink.room = 150
    late, after = many(20), many(3)
    stage.publish(*late)
    assert bytes(sink.received) == framed(*late)[:150]
    assert not stage.player(sink).following
    for _ in range(30):
        sink.open(777)
    assert bytes(sink.received) == framed(*late)
    assert stage.player(sink).following
    sink.open()
    stage.publish(*after)
    assert bytes(sink.received) == framed(*late, *after)


def test_joiner_of_a_full_socket_gets_everything_byte_by_byte(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("k"), *many(3, 100))
    whole, slow = stage.join(), stage.join(can_sendfile=can_sendfile, room=0)
    while len(slow.received) < len(whole.received):
        slow.open(1)
    assert slow.received == whole.received
    assert stage.player(slow).following


def test_much_is_sent_in_steps(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(key(bytes(2 * STEP_BYTES + COPY_BYTES)))
    sink = stage.join(can_sendfile=can_sendfile)
    assert len(sink.frames()[0]) == 5 + 2 * STEP_BYTES + COPY_BYTES


def test_short_send_with_room_left_sends_nothing_twice() -> None:
    stage = Stage(merge_messages=1000)
    sinks = stage.followers(5)
    stage.publish(AVC, key("k"))
    stage.clock.advance(1)
    for sink in sinks:
        sink.clear()
    sinks[2].hiccups = 1
    sinks[0].cost_s = 1.0  # the next flush merges
    stage.publish(inter("0"))
    sinks[0].cost_s = 0.0
    sinks[2].hiccups = 1
    rest = [inter("1"), key("2"), inter("3"), key("4")]  # three segments in one flush
    stage.publish(*rest)
    stage.clock.advance(1)
    for sink in sinks:
        assert sink.frames() == payloads(inter("0"), *rest)
        assert stage.player(sink).following


# --- too far behind -------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 150, 500])
def test_laggard_too_many_bytes_behind_jumps_to_the_newest_keyframe(can_sendfile: bool, room: int) -> None:
    stage = Stage(lag_bytes=5000)
    jumps: list[None] = []
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    stage.player(sink).on_skip = lambda: jumps.append(None)
    sink.room = room
    stage.publish(*many(4), key("skipped"), *many(4), key("newest"), inter("after"))
    sink.open()
    assert sink.frames()[-2:] == payloads(key("newest"), inter("after"))
    assert key("skipped")[3] not in sink.frames()
    assert sink.frames()[:-2] == payloads(*many(4))[: len(sink.frames()) - 2]
    assert len(jumps) == 1
    assert stage.player(sink).skipped_messages + len(sink.frames()) == 11


def test_laggard_within_the_limit_loses_nothing() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, key("k"))
    sink.room = 100
    sent = [*many(3, 500), key("next"), *many(3, 500)]
    stage.publish(*sent)
    sink.open()
    assert sink.frames() == payloads(*sent)
    assert stage.player(sink).skipped_messages == 0


def test_laggard_too_many_seconds_behind_jumps_to_the_newest_keyframe() -> None:
    stage = Stage(lag_s=3.0)
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    for second in range(5):
        stage.publish(key(f"k{second}"), inter(f"i{second}"))
        stage.clock.advance(1)
    sink.open()
    assert sink.frames() == payloads(key("k4"), inter("i4"))


def test_player_whose_socket_stays_full_does_not_hold_the_log() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, key("k"))
    sink.room = 10
    for number in range(200):
        stage.publish(key(f"k{number}"), *many(5))
        stage.clock.advance(LAG_CHECK_S)
        assert stage.registry.budget.used_bytes <= 4 * 5200  # twice the limit, and a GOP at each end
    sink.open()
    assert sink.frames()[-6:] == payloads(key("k199"), *many(5))
    assert len(sink.frames()) <= 13


def test_out_of_descriptors_players_are_sent_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    stage = Stage()
    stage.publish(AVC, key("k"))
    sink, slow = stage.join(), stage.join(room=0)
    stage.publish(*many(5))
    slow.open(2000)
    slow.open()
    assert sink.frames() == slow.frames() == payloads(key("k"), *many(5))
    assert sink.sendfiles == slow.sendfiles == 0


def test_lag_counts_from_what_lay_before_a_joiner() -> None:
    stage = Stage(lag_bytes=1000, lag_s=1.0)
    cached = [key("k"), *many(5)]
    stage.publish(AVC, *cached)
    stage.clock.advance(100)
    sink = stage.join(room=2000)
    stage.publish(key("next"))
    sink.open()
    assert sink.frames() == payloads(*cached, key("next"))


def test_headers_that_changed_are_sent_again_before_the_keyframe() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(*many(4), AAC_2, *many(4), key("newest"))
    sink.open()
    assert [payload for _, _, payload in sink.media()] == payloads(AAC_2, key("newest"))
    assert sink.media()[0][1] == 0


def test_headers_that_did_not_change_are_not_sent_again() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(*many(4), AAC, *many(4), key("newest"))
    sink.open()
    assert [payload for _, _, payload in sink.media()] == payloads(key("newest"))


def test_laggard_of_twice_the_limit_waits_where_there_is_no_keyframe() -> None:
    stage = Stage(lag_bytes=4000, cache_bytes=3000)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(*many(4), AAC_2, *many(8))
    sink.open()
    stage.publish(inter("lost"), tone("lost"), key("next"), tone("kept"))
    assert sink.frames() == payloads(key("next"), tone("kept"))
    assert AAC_2[3] in [payload for _, _, payload in sink.media()]


def test_header_inside_what_was_skipped_to_the_end_is_sent() -> None:
    # The end of the log is inside a GOP: its header is not that of the segment's beginning.
    stage = Stage(total_bytes=1 << 20)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(inter("0"), key("1"), AAC_2, inter("2"))
    player = stage.player(sink)
    stage.channel.forget_cache()  # no keyframe to jump to
    stage.publish(AAC, inter("3"))
    assert stage.channel.skip(player, to_the_end=True)
    sink.open()
    stage.publish(key("next"))
    assert sink.frames() == payloads(key("next"))
    assert [p for _, _, p in sink.media() if p in payloads(AAC, AAC_2)][-1:] in ([], [AAC[3]])
    # and once more, where the last header differs from the one it knows
    sink.clear()
    sink.room = 0
    stage.publish(inter("4"))
    stage.channel.forget_cache()
    stage.publish(AAC_2, inter("5"))
    assert stage.channel.skip(player, to_the_end=True)
    sink.open()
    stage.publish(key("last"), tone("t"))
    assert [p for _, _, p in sink.media()] == payloads(AAC_2, key("last"), tone("t"))


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 70, 500, 1200])
def test_reply_to_a_laggard_goes_out_at_the_next_message_boundary(can_sendfile: bool, room: int) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    reply = framed(data(b"\2\0\5reply"), msid=7)
    sink.room = room
    stage.publish(*many(5))
    sink.reply(reply)
    while len(sink.received) < len(framed(*many(5)) + reply):
        sink.open(33)
    kinds = [message[2] for message in sink.messages()]
    assert kinds.index(7) <= 5
    assert sink.frames() == payloads(*many(5))


def test_reply_to_a_laggard_waits_for_the_begun_message_only() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 1500
    stage.publish(*many(5))
    sink.reply(framed(data(b"\2\0\5reply"), msid=7))
    sink.open()
    assert [message[2] for message in sink.messages()] == [1, 1, 7, 1, 1, 1]


# --- only part of the messages --------------------------------------------------------------------


@pytest.mark.parametrize("wants", [AUDIO | DATA, VIDEO | DATA, DATA])
def test_player_gets_only_what_it_wants(can_sendfile: bool, wants: int) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("k"), tone("a"), inter("i"))
    sink = stage.join(can_sendfile=can_sendfile, wants=wants)
    stage.publish(tone("b"), inter("j"), data(b"\2\0\4text"), key("l"), tone("c"))
    expected = [
        (9, VIDEO, key("k")), (8, AUDIO, tone("a")), (9, VIDEO, inter("i")), (8, AUDIO, tone("b")),
        (9, VIDEO, inter("j")), (9, VIDEO, key("l")), (8, AUDIO, tone("c")),
    ]  # fmt: skip
    assert sink.frames() == [message[3] for _, kind, message in expected if kind & wants]
    assert (18, 0, b"\2\0\4text") in sink.media()


def test_video_that_is_switched_on_begins_with_a_keyframe() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("k"))
    stage.channel.receive(stage.player(sink), AUDIO | DATA)
    stage.publish(inter("0"), tone("0"))
    stage.channel.receive(stage.player(sink), AUDIO | VIDEO | DATA)
    stage.publish(inter("1"), key("2"), inter("3"), tone("4"))
    assert sink.frames() == payloads(tone("0"), key("2"), inter("3"), tone("4"))
    assert stage.player(sink).following


def test_player_without_video_does_not_wait_for_a_keyframe() -> None:
    for cache in ("no", ""):
        stage = Stage(cache_bytes=0)
        stage.publish(*HEADERS, key("k"), inter("i"))
        sink = stage.join(cache=cache, wants=AUDIO | DATA)
        stage.publish(tone("a"), inter("j"), tone("b"))
        assert sink.frames() == payloads(tone("a"), tone("b"))


def test_player_that_switches_video_off_stops_waiting_for_a_keyframe() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("k"), inter("i"), cache="no")
    stage.publish(tone("before"))
    stage.channel.receive(stage.player(sink), AUDIO | DATA)
    stage.publish(tone("a"), inter("j"), tone("b"))
    assert sink.frames() == payloads(tone("a"), tone("b"))


def test_laggard_inside_a_message_may_change_what_it_wants(can_sendfile: bool) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    sink.room = 100
    stage.publish(inter(bytes(300)), inter("1"), tone("2"))
    stage.channel.receive(stage.player(sink), AUDIO | DATA)
    sink.open()
    assert sink.frames()[0] == inter(bytes(300))[3]
    assert sink.frames()[-1] == tone("2")[3]


@pytest.mark.parametrize("msid", [0, 2, 0x01020304])
def test_other_message_stream_gets_copies_with_its_id(can_sendfile: bool, msid: int) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("k", 0x1000000))
    sink = stage.join(can_sendfile=can_sendfile, msid=msid)
    other = stage.join()
    stage.publish(inter(bytes(200), 0x1000001), tone("a"))
    streams = {m[2] for m in sink.messages() if m[0] in (8, 9, 18, 20)}
    assert streams == {msid, 0}  # the sample access is on 0
    assert sink.frames() == other.frames() == payloads(key("k"), inter(bytes(200)), tone("a"))
    assert [m[1] for m in sink.messages()] == [m[1] for m in other.messages()]


def test_messages_of_the_log_are_not_changed_by_readdressing() -> None:
    stage = Stage()
    stage.publish(AVC, key("k"))
    stage.join(msid=9)
    sink = stage.join()
    assert {m[2] for m in sink.messages() if m[0] == 9} == {1}


# --- pause ----------------------------------------------------------------------------------------


def test_paused_player_gets_data_only_and_goes_on_at_a_keyframe() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("k"))
    channel, player = stage.channel, stage.player(sink)
    channel.pause(player)
    channel.pause(player)
    assert sink.told() == ["StreamEOF", "Pause.Notify"]
    stage.publish(inter("0"), tone("0"), key("1"), META)
    assert [kind for kind, _, _ in sink.media()] == [18]
    sink.clear()
    channel.resume(player)
    channel.resume(player)
    assert sink.told() == ["StreamBegin", "Unpause.Notify"]
    assert [payload for _, _, payload in sink.media()] == payloads(AAC, AVC)
    assert [message[0] for message in sink.messages()] == [4, 8, 9, 20]
    sink.clear()
    stage.publish(inter("2"), key("3"), tone("4"))
    assert sink.frames() == payloads(key("3"), tone("4"))
    assert player.following


def test_paused_player_gets_no_header_either() -> None:
    stage = Stage(cache_bytes=0)
    sink = playing(stage, *HEADERS, key("k"), inter("i"))  # waits for a keyframe
    stage.channel.pause(stage.player(sink))
    sink.clear()
    stage.publish(AAC_2, inter("0"))
    assert sink.media() == []


def test_waiting_player_may_pause_and_resume() -> None:
    stage = Stage(live=False)
    sink = stage.join()
    stage.channel.pause(stage.player(sink))
    stage.channel.resume(stage.player(sink))
    assert sink.told() == ["StreamEOF", "Pause.Notify", "StreamBegin", "Unpause.Notify"]
    assert sink.media() == []
    stage.channel.start()
    stage.publish(AVC, key("k"))
    assert sink.frames() == payloads(key("k"))
