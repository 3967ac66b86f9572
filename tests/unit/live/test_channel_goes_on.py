"""One publisher goes on for another: players stay, and are told nothing of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rtmpsrv.live import log as log_module
from rtmpsrv.live.joints import FIRST_KEYFRAME_S
from rtmpsrv.live.news import News
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from rtmpsrv.live.splice import LEAD_MS, SETTLING_S
from rtmpsrv.media import classify
from tests.unit.live.fakes import FakeSink, Message
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
    AVC_2,
    HEADERS,
    META,
    STARTED,
    UNPUBLISHED,
    Stage,
    data,
    inter,
    key,
    payloads,
    playing,
    tone,
    video,
)

WRAP = 1 << 32
OLD = (*HEADERS, key("old 0", 1000), inter("old 1", 1040), tone("old 2", 1050))
NEW = (META, AAC, AVC, key("new 0", 0), tone("new 1", 10), inter("new 2", 40))


def relayed(gap_s: float = 2.0, *, kinds: bool = True, **options: object) -> tuple[Stage, FakeSink]:
    """A stage whose publisher is gone and replaced, and a follower that was sent all before."""
    stage = Stage(**options)  # type: ignore[arg-type]
    sink = playing(stage, *OLD)
    stage.channel.suspend(10)
    stage.clock.advance(gap_s)
    stage.channel.go_on("key")
    return stage, sink


def times(sink: FakeSink) -> list[int]:
    return [at for kind, at, _ in sink.media() if kind != 18]


def headers(sink: FakeSink) -> list[bytes]:
    return [payload for kind, _, payload in sink.media() if kind != 18 and payload[1:2] == b"\0"]


# --- players stay ---------------------------------------------------------------------------------


def test_players_hear_one_stream() -> None:
    stage, sink = relayed()
    stage.publish(*NEW)
    assert sink.told() == []
    assert sink.frames() == payloads(*NEW[3:])
    assert headers(sink) == []
    assert times(sink) == [3050, 3060, 3090]
    assert stage.follows(sink)
    assert stage.channel.publication == 1


def test_time_does_not_step_back_when_it_wraps() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("0", WRAP - 100), tone("1", WRAP - 30))
    stage.channel.suspend(10)
    stage.clock.advance(0.1)
    stage.channel.go_on("key")
    stage.publish(AVC, tone("2", 5000), key("3", 4990), inter("4", 5040))
    assert times(sink) == [70, 60, 110]


def test_composition_times_are_what_they_were() -> None:
    stage, sink = relayed()
    b_frame = video(b"\x27\1\0\0\x50bframe", 40)
    stage.publish(AVC, key("0", 0), b_frame)
    assert sink.frames()[-1] == b_frame[3]


def test_headers_go_where_they_differ() -> None:
    stage, sink = relayed()
    stage.publish(META, AAC, AVC_2, key("new", 0))
    assert headers(sink) == payloads(AVC_2)
    joiner = stage.join()
    assert headers(joiner) == payloads(AAC, AVC_2)
    stage.publish(AVC_2)
    assert headers(sink) == payloads(AVC_2, AVC_2), "what a publisher repeats later goes to all, as ever"


def test_a_laggard_that_jumps_over_the_joint_is_told_what_differs() -> None:
    stage = Stage(lag_bytes=200)
    sink = playing(stage, *OLD)
    sink.room = 10
    stage.publish(inter(bytes(90), 1080))
    stage.channel.suspend(10)
    stage.channel.go_on("key")
    stage.publish(AAC, AVC_2, inter("lost"), key("new 0", 0), inter(bytes(900), 40), key("new 1", 80))
    sink.open()
    assert headers(sink) == payloads(AVC_2)
    assert sink.frames()[-1] == key("new 1")[3]


def test_what_is_no_media_is_relayed_as_it_comes() -> None:
    stage, sink = relayed()
    command = video(b"\x57\0", 0)
    stage.publish(command, AVC, key("0", 0))
    assert sink.frames()[0] == command[3]
    assert times(sink) == [1051, 1050 + 2000]


def test_metadata_is_that_of_the_new_publisher() -> None:
    stage, _ = relayed()
    stage.publish(AVC, key("0", 0))
    assert [kind for kind, _, _ in stage.join().media()] == [9, 9]
    stage.publish(META)
    assert [kind for kind, _, _ in stage.join().media()] == [18, 9, 9, 18]


def test_video_waits_for_the_new_publishers_keyframe_and_audio_does_not() -> None:
    stage, sink = relayed()
    stage.publish(inter("a", 0), AAC, tone("b", 10), AVC, inter("c", 40), key("d", 80), inter("e", 120))
    assert sink.frames() == payloads(tone("b"), key("d"), inter("e"))


def test_video_without_keyframes_is_relayed_after_a_while() -> None:
    stage, sink = relayed()
    stage.publish(AVC, inter("a", 0))
    stage.clock.advance(FIRST_KEYFRAME_S)
    stage.publish(inter("b", 3000))
    assert sink.frames() == payloads(inter("b"))
    assert times(sink) == [1050 + 2000 + 3000]


def test_keyframes_without_a_flag_are_known() -> None:
    stage, sink = relayed()
    unflagged = video(b"\x27\1\0\0\0" + b"\0\0\0\2\x65\x88", 0)
    stage.publish(AVC, unflagged, inter("b", 40))
    assert sink.frames() == payloads(unflagged, inter("b"))


def test_keyframe_of_another_track_is_none() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    stage.channel.suspend(10)
    stage.channel.go_on()
    second_track = video(b"\x96\1avc1\1" + bytes(9), 0)  # a keyframe of track 1 in a multitrack message
    assert classify.classify_video(second_track[3]) & classify.TRACK_KEYFRAME
    stage.publish(AVC, second_track, key("0", 20))
    assert sink.frames() == payloads(key("0"))


def test_audio_alone_goes_on() -> None:
    stage = Stage()
    sink = playing(stage, AAC, tone("old", 500))
    stage.channel.suspend(10)
    stage.clock.advance(1)
    stage.channel.go_on()
    stage.publish(data(b"\2\0\4text", 7), AAC, tone("a", 0), tone("b", 20))
    stage.clock.advance(SETTLING_S)
    stage.publish(AAC, tone("c", 5020))
    assert sink.frames() == payloads(tone("a"), tone("b"), tone("c"))
    assert headers(sink) == payloads(AAC), "by then it is settled"
    assert sink.media()[0][:2] == (18, 501)


def test_header_that_comes_after_the_first_frames_is_known_to_joiners() -> None:
    stage, sink = relayed()
    stage.publish(AAC, tone("a", 0), tone("b", 20), AVC, key("c", 40))
    assert headers(sink) == []
    assert headers(stage.join()) == payloads(AAC, AVC)


@pytest.mark.parametrize("passed_s", [0.0, 0.01])
def test_a_publisher_that_takes_over_at_once_leaves_a_small_gap(passed_s: float) -> None:
    stage, sink = relayed(passed_s)
    stage.publish(AVC, key("0", 0))
    assert times(sink) == [1050 + LEAD_MS]


def test_publishers_may_go_on_again_and_again() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    for number in range(5):
        stage.channel.suspend(10)
        stage.clock.advance(0.5)
        stage.channel.go_on("key")
        stage.publish(META, AAC, AVC)
        if number % 2:
            stage.publish(key(f"{number}", number), inter(f"{number}", number + 40))
    assert headers(sink) == []
    found = times(sink)
    assert all(before < after for before, after in pairwise([1050, *found]))
    assert found == [2050, 2090, 3090, 3130]
    assert headers(stage.join()) == []


def test_time_is_known_after_the_log_has_forgotten_all() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    stage.output().shed()
    assert stage.output().log.tail.size == 0
    stage.channel.suspend(10)
    stage.clock.advance(1)
    stage.channel.go_on()
    stage.publish(AVC, key("0", 0))
    assert times(sink) == [2050]


def test_a_publisher_that_sent_nothing_leaves_times_as_they_are() -> None:
    stage = Stage()
    sink = stage.join()
    stage.channel.suspend(10)
    stage.channel.go_on()
    stage.publish(AVC, key("0", 77))
    assert times(sink) == [0, 77]
    assert sink.told() == STARTED


# --- while nobody publishes -----------------------------------------------------------------------


def test_nobody_publishes_but_players_are_kept() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    stage.channel.suspend(10)
    assert (stage.channel.live, stage.channel.suspended) == (False, True)
    about = stage.channel.describe()
    assert (about["suspended"], about["waits_until"]) == (True, stage.clock.time_s + 10)
    stage.clock.advance(9.9)
    assert sink.received == b""
    stage.channel.go_on()
    assert (stage.channel.live, stage.channel.suspended) == (True, False)
    stage.clock.advance(100)
    assert sink.received == b""
    assert stage.channel.live


def test_what_waited_to_be_flushed_is_sent_first() -> None:
    stage = Stage(merge_messages=100)
    sink = stage.join()
    sink.cost_s = 1.0
    stage.publish(AVC, key("0"), inter("1"), inter("2"))
    stage.channel.suspend(10)
    assert sink.frames() == payloads(key("0"), inter("1"), inter("2"))


def test_when_nobody_comes_players_are_told() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    stage.channel.suspend(10)
    late = stage.join()
    stage.clock.advance(10)
    assert sink.told() == UNPUBLISHED
    assert late.received == b""
    assert not stage.channel.live
    assert not stage.channel.suspended
    stage.start("key")
    assert [one.told()[-3:] for one in (sink, late)] == [STARTED, STARTED]


def test_a_channel_that_nobody_needs_is_forgotten_when_nobody_came() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    stage.channel.suspend(10)
    stage.channel.leave(stage.player(sink))
    stage.registry.release("channel")
    assert len(stage.registry) == 1
    stage.clock.advance(10)
    assert len(stage.registry) == 0
    assert stage.used_bytes() == 0


def test_the_wait_ends_with_the_publication() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    stage.channel.suspend(10)
    stage.channel.stop()
    assert sink.told() == UNPUBLISHED
    stage.start("key")
    stage.clock.advance(10)
    assert stage.channel.live


def test_joiners_wait_for_media_of_the_next_publisher() -> None:
    stage = Stage()
    playing(stage, *OLD)
    stage.channel.suspend(10)
    first = stage.join()
    stage.channel.go_on("key")
    second, stranger = stage.join(key="key"), stage.join(key="other")
    stage.publish(META, AAC, AVC_2)
    assert [one.received for one in (first, second)] == [b"", b""]
    assert stage.news() == []
    stage.publish(inter("before"), key("0", 0), inter("1", 40))
    for sink in (first, second):
        assert sink.told() == STARTED
        assert sink.frames() == payloads(key("0"), inter("1"))
        assert headers(sink) == payloads(AAC, AVC_2)
        assert stage.follows(sink)
    assert stage.news() == [(News.REFUSED, stranger)]
    assert stage.join().frames() == payloads(key("0"), inter("1"))


@pytest.mark.parametrize("cache", ["", "no", "clear"])
def test_nothing_of_the_old_publisher_is_served_to_joiners(cache: str) -> None:
    stage = Stage(keep_stream=True)
    playing(stage, *OLD)
    stage.channel.suspend(10)
    stage.channel.go_on()
    stage.publish(*NEW)
    frames = stage.join(cache=cache).frames()
    assert frames == (payloads(*NEW[3:]) if cache != "no" else [])


def test_players_need_the_new_publishers_key() -> None:
    stage = Stage()
    playing(stage, *OLD)
    stage.channel.suspend(10)
    stage.channel.go_on("another")
    assert not stage.channel.contents.accepts_key("key")
    assert stage.channel.contents.accepts_key("another")


def test_who_chose_meanwhile_gets_what_it_needs() -> None:
    stage = Stage()
    deaf, paused = stage.join(wants=AUDIO | DATA), stage.join()
    stage.publish(*OLD)
    stage.pause(stage.player(paused))
    for sink in (deaf, paused):
        sink.clear()
    stage.channel.suspend(10)
    stage.receive(stage.player(deaf), AUDIO | VIDEO | DATA)
    stage.unpause(stage.player(paused))
    stage.channel.go_on()
    stage.publish(AAC, AVC, key("0", 0), inter("1", 40))
    assert headers(deaf) == payloads(AVC)
    assert headers(paused) == payloads(AAC, AVC)
    for sink in (deaf, paused):
        assert sink.frames() == payloads(key("0"), inter("1"))


def test_who_chooses_between_two_headers_is_told_the_one_that_is_not_repeated() -> None:
    stage = Stage()
    deaf = stage.join(wants=AUDIO | DATA)
    stage.publish(*OLD)
    deaf.clear()
    stage.channel.suspend(10)
    stage.channel.go_on()
    stage.publish(AAC_2)
    stage.receive(stage.player(deaf), AUDIO | VIDEO | DATA)
    stage.publish(AVC, key("0", 0))
    assert headers(deaf) == payloads(AAC_2, AVC)


def test_joiners_begin_with_the_headers_of_the_new_publisher_whatever_came_between() -> None:
    stage, _ = relayed()
    waiting = stage.join()
    stage.publish(AVC_2, data(b"\2\0\4text"), AAC, tone("a", 0))
    assert headers(waiting) == payloads(AAC, AVC_2)


def test_a_laggard_reads_the_old_publisher_to_its_end_and_goes_on() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    sink.room = 30
    old = [inter(bytes(500), 1080), tone("x", 1090)]
    stage.publish(*old)
    stage.channel.suspend(10)
    stage.channel.go_on()
    stage.publish(AAC, AVC, key("new", 0))
    sink.open()
    assert sink.frames() == payloads(*old, key("new"))
    assert stage.follows(sink)


def test_a_player_that_waited_in_an_ended_publication_is_not_started_before_there_is_media() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    sink.room = 0
    stage.publish(inter("x", 1080))
    stage.channel.stop()
    stage.start()
    stage.channel.suspend(10)
    sink.open()
    assert sink.told() == UNPUBLISHED
    stage.channel.go_on()
    stage.publish(AVC, key("0", 0))
    assert sink.told() == UNPUBLISHED + STARTED


def test_memory_of_the_old_publisher_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "SEGMENT_BYTES", 1000)
    stage = Stage()
    stage.publish(AVC, key("0"), *[inter(bytes(900), number) for number in range(20)])
    before = stage.used_bytes()
    stage.channel.suspend(10)
    assert stage.used_bytes() < before / 2
    stage.channel.stop()
    stage.start()
    assert stage.used_bytes() == 0


def test_going_on_for_nobody_is_our_bug() -> None:
    stage = Stage()
    with pytest.raises(AssertionError, match="host asks"):
        stage.channel.go_on()
    stage.channel.stop()
    with pytest.raises(AssertionError, match="something"):
        stage.channel.suspend(10)


# --- several processes ----------------------------------------------------------------------------

STEPS: list[Message | str] = [
    *OLD, "suspend", "join", "go on", META, "join", AAC, inter("held", 0), AVC_2, tone("a", 5), "join",
    inter("held", 7), key("b", 20), inter("c", 60), "suspend", "go on", AVC_2, key("d", 9), "join",
    inter("e", 49),
]  # fmt: skip


def take(step: Message | str, stage: Stage) -> None:
    """Let the publisher's side do something."""
    if step == "suspend":
        stage.channel.suspend(10)
        stage.clock.advance(0.25)
    elif step == "go on":
        stage.channel.go_on("key", (b"claim",))
    elif not isinstance(step, str):
        stage.publish(step)


def heard_by(sinks: list[FakeSink]) -> list[tuple[bytes, list[str]]]:
    return [(bytes(sink.received), sink.told()) for sink in sinks]


def run_moved(split: int | None) -> list[tuple[bytes, list[str]]]:
    stage = Stage()
    sinks = [stage.join(), stage.join(can_sendfile=False), stage.join(msid=2)]
    for number, step in enumerate(STEPS):
        if number == split:
            stage = stage.hand_over()
        take(step, stage)
        if step == "join":
            sinks.append(stage.join(key="key"))
    return heard_by(sinks)


@pytest.mark.parametrize("split", range(len(STEPS)))
def test_players_hear_the_same_when_the_channel_moves(split: int) -> None:
    assert run_moved(split) == run_moved(None)


def test_a_channel_that_moved_loses_its_patience_in_time() -> None:
    stage = Stage()
    sink = playing(stage, *OLD)
    stage.channel.suspend(10)
    stage.clock.advance(4)
    old, stage = stage, stage.hand_over()
    assert stage.channel.suspended
    assert not old.channel.suspended
    stage.clock.advance(5.9)
    assert sink.received == b""
    stage.clock.advance(0.1)
    assert sink.told() == UNPUBLISHED


def test_what_the_publisher_showed_moves_along() -> None:
    stage = Stage()
    stage.channel.stop()
    stage.channel.start("key", (b"one", b"two"))
    assert stage.hand_over().channel.claim == (b"one", b"two")


@pytest.mark.parametrize("again", [None, *range(len(STEPS))])
def test_players_of_a_mirror_hear_the_same(again: int | None) -> None:
    owner = Stage()
    mirrored = Mirrored(owner)
    stage = mirrored.stage
    sinks = [stage.join(), stage.join(can_sendfile=False), stage.join(msid=2)]
    for number, step in enumerate(STEPS):
        if number == again:
            mirrored.tap_again(owner)
        take(step, owner)
        if step == "join":
            sinks.append(stage.join(key="key"))
    assert heard_by(sinks) == run_moved(None)
    assert mirrored.kinds.count("start") == 1


def test_players_of_a_mirror_need_the_new_publishers_key() -> None:
    owner = Stage()
    mirrored = Mirrored(owner)
    owner.publish(*OLD)
    owner.channel.suspend(10)
    owner.channel.go_on("another")
    waiting = mirrored.stage.join(key="key")
    owner.publish(*NEW)
    assert not mirrored.stage.channel.contents.accepts_key("key")
    assert mirrored.stage.news() == [(News.REFUSED, waiting)]


def test_players_of_a_mirror_are_told_when_nobody_comes() -> None:
    owner = Stage()
    mirrored = Mirrored(owner)
    sink = mirrored.stage.join()
    owner.publish(*OLD)
    sink.clear()
    owner.channel.suspend(10)
    late = mirrored.stage.join()
    assert mirrored.stage.channel.contents.preamble.headers == ()
    owner.clock.advance(10)
    assert sink.told() == UNPUBLISHED
    assert late.received == b""
