"""Channels that move to another registry with their players: nobody notices, and nothing is left behind."""

from __future__ import annotations

import os
import pickle

import pytest

from rtmpsrv.errors import CannotMove
from rtmpsrv.live import log as log_module
from rtmpsrv.live.news import News
from rtmpsrv.live.output import RETURN_S
from rtmpsrv.live.segment import AUDIO, DATA
from tests.unit.live.fakes import FakeSink, Message
from tests.unit.live.stage import (
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
    many,
    payloads,
    playing,
    tone,
)

STREAM: list[Message] = [
    *HEADERS, key("0"), inter("1", 40), tone("2", 50), inter(bytes(900), 80), tone("3", 90), key("4", 120),
    AVC, AAC_2, inter("5", 160), data(b"\2\0\4text", 170), AVC_2, key("6", 200), tone("7", 210),
    inter(bytes(700), 240), META, inter("8", 280), tone("9", 290),
]  # fmt: skip
Heard = dict[str, tuple[bytes, list[str]]]


def audience(stage: Stage) -> dict[str, FakeSink]:
    """Players of all kinds, who wait for the publisher."""
    return {
        "follower": stage.join(),
        "another": stage.join(key="key"),
        "tls": stage.join(can_sendfile=False),
        "laggard": stage.join(room=0),
        "slow": stage.join(room=0),
        "filtered": stage.join(wants=AUDIO | DATA),
        "msid 2": stage.join(msid=2),
        "paused": stage.join(),
        "returned": stage.join(),
    }


def talk(stage: Stage, sinks: dict[str, FakeSink], number: int) -> None:
    """What players ask for before a message."""
    if number == 6:
        stage.pause(stage.player(sinks["paused"]))
        stage.receive(stage.player(sinks["returned"]), DATA)
    if number == 11:
        stage.unpause(stage.player(sinks["paused"]))
        stage.receive(stage.player(sinks["returned"]), AUDIO | DATA)


def run(split: int | None, *, splits: int = 1) -> Heard:
    """Play the stream, moved before a message, or never; return what each player heard."""
    stage = Stage(live=False)
    sinks = audience(stage)
    stage.start("key")
    for number, message in enumerate(STREAM):
        if number == split:
            for _ in range(splits):
                stage = stage.hand_over()
        talk(stage, sinks, number)
        stage.publish(message)
        sinks["slow"].open(97)
        if number % 5 == 2:
            sinks[f"joined {number}"] = stage.join()
    if split == len(STREAM):
        stage = stage.hand_over()
    stage.channel.stop()
    stage.start("key")
    stage.publish(AVC_2, key("next"))
    for sink in sinks.values():
        sink.open()
    stage.publish(inter("last"))
    assert stage.news() == []
    return {name: (bytes(sink.received), sink.told()) for name, sink in sinks.items()}


WHOLE = run(None)


@pytest.mark.parametrize("lane", ["file", "copies"])
@pytest.mark.parametrize("split", range(len(STREAM) + 1))
def test_all_kinds_of_players_hear_what_they_would_have_heard(
    split: int, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtmpsrv.live.lane.SENDFILE_FROM", 1 if lane == "file" else 1 << 30)
    assert run(split) == WHOLE


@pytest.mark.parametrize("split", range(0, len(STREAM), 3))
def test_so_they_do_across_segments_and_moves(split: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "SEGMENT_BYTES", 100)
    assert run(split, splits=3) == WHOLE


def test_followers_follow_and_walkers_walk() -> None:
    stage = Stage()
    follower, walker = stage.join(), stage.join(msid=2)
    stage.publish(*HEADERS, key("0"))
    stage = stage.hand_over()
    assert stage.follows(follower)
    assert not stage.follows(walker)
    assert stage.player(walker) in stage.output().audience.walkers


@pytest.mark.parametrize("descriptors", [0, 1])
def test_segments_without_a_descriptor_travel_as_bytes(descriptors: int, small_segments: None) -> None:
    stage = Stage(keep_stream=True)
    stage.registry.budget.limit_descriptors(2 * descriptors)
    sink = playing(stage, AVC, key("k"))
    sink.room = 1500
    stage.publish(*many(5))
    fds: list[int] = []
    stage.channel.snapshot(fds)
    assert len(fds) == descriptors
    stage = stage.hand_over()
    sink.open()
    stage.publish(inter("after"))
    assert sink.frames() == payloads(*many(5), inter("after"))
    assert stage.join().frames() == payloads(key("k"), *many(5), inter("after"))


# --- what a channel is beside its players -------------------------------------------------------------


def test_joiners_are_told_and_sent_the_same() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0", 40), inter("1", 80))
    before = stage.join()
    stage = stage.hand_over()
    assert stage.join().received == before.received
    stage.publish(AAC_2, AVC_2, inter("2", 120))
    assert AVC_2[3] in [payload for _, _, payload in stage.join().media()]


def test_the_key_travels() -> None:
    stage = Stage().hand_over()
    assert not stage.channel.contents.accepts_key("another")
    assert stage.channel.contents.accepts_key("key")


def test_what_was_waiting_to_be_sent_is_sent_first_and_its_timer_ends() -> None:
    stage = Stage(merge_messages=8)
    sink = stage.join()
    sink.cost_s = 0.001
    stage.publish(*HEADERS, key("0"))
    stage.publish(inter("1"))
    stage.publish(inter("2"))
    assert stage.clock.timers
    stage = stage.hand_over()
    assert sink.frames() == payloads(key("0"), inter("1"), inter("2"))
    assert stage.clock.timers == []
    stage.publish(inter("3"))
    assert len(stage.clock.timers) == 1, "what flushes cost is known"


def test_an_endless_gop_is_still_one() -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    for number in range(1, 30):
        stage.clock.advance(1)
        stage.publish(inter(f"{number}"))
    assert not stage.channel.keyframe_to_come()
    stage = stage.hand_over()
    stage.publish(inter("next"))
    assert not stage.channel.keyframe_to_come()


def test_a_publication_without_messages_goes_on() -> None:
    stage = Stage().hand_over()
    stage.publish(AVC, key("0"))
    assert stage.join().frames() == payloads(key("0"))


def test_a_publication_without_players_goes_on() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    stage = stage.hand_over()
    stage.publish(inter("1"))
    assert stage.join().frames() == payloads(key("0"), inter("1"))


def test_a_channel_where_all_wait_keeps_its_number_and_its_players() -> None:
    stage = Stage()
    sink = stage.join(key="key")
    stage.channel.stop()
    stage = stage.hand_over()
    assert not stage.channel.live
    assert (stage.channel.publication, sink.told()) == (1, STARTED + UNPUBLISHED)
    stage.start("key")
    stage.publish(AVC, key("0"))
    assert stage.channel.publication == 2
    assert sink.frames() == payloads(key("0"))


def test_who_reads_an_ended_publication_reads_it_to_its_end() -> None:
    stage = Stage()
    laggards = [playing(stage, AVC, room=0), playing(stage, room=0)]
    stage.publish(key("0"), inter("1"))
    stage.channel.stop()
    stage.start("key")
    stage.publish(AVC_2, key("new"))
    stage = stage.hand_over()
    assert stage.channel.describe()["ended_outputs"] == 1
    for sink in laggards:  # the first that is through does not take the log from the other
        sink.open()
        assert sink.frames() == payloads(key("0"), inter("1"), key("new"))
        assert sink.told()[-5:] == UNPUBLISHED + STARTED
    stage.clock.advance(RETURN_S)
    assert stage.channel.describe()["ended_outputs"] == 0


# --- players come after their channel -----------------------------------------------------------------


def parted(stage: Stage) -> tuple[Stage, list[tuple[FakeSink, bytes]]]:
    """The channel in another process, and its players on their way."""
    fds: list[int] = []
    value = pickle.loads(pickle.dumps(stage.channel.snapshot(fds)))
    copies = [os.dup(fd) for fd in fds]
    frozen = [(sink, stage.freeze(sink)) for sink in stage.seated()]
    other = stage.beside()
    other.channel = other.registry.adopt("channel", value, copies)
    stage.registry.abandon("channel")
    return other, frozen


@pytest.mark.parametrize("ends", [False, True])
def test_nothing_is_let_go_of_before_they_are_there(ends: bool, small_segments: None) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    stage.publish(*many(4))
    stage, frozen = parted(stage)
    stage.clock.advance(RETURN_S - 0.1)
    stage.publish(key("newest"), *many(3))
    if ends:
        stage.channel.stop()
    stage.take_in(*frozen[0])
    sink.open()
    assert sink.frames() == payloads(*many(4), key("newest"), *many(3))


def test_a_channel_that_stays_after_all_has_kept_everything(small_segments: None) -> None:
    stage = Stage()
    sinks = [playing(stage, AVC, key("k")), playing(stage)]
    for sink in sinks:
        sink.room = 0
    stage.publish(*many(4))
    stage.channel.snapshot([])
    frozen = [(sink, stage.freeze(sink)) for sink in sinks]
    stage.publish(key("newest"), *many(3))
    for sink, state in frozen:
        stage.take_in(sink, state)
        sink.open()
        assert sink.frames() == payloads(*many(4), key("newest"), *many(3))
    assert stage.clock.timers == []
    stage.publish(key("last"))
    assert stage.output().log.begin > 0


def test_what_waits_to_be_sent_is_sent_in_time_all_the_same() -> None:
    stage = Stage(merge_messages=8)
    sink = stage.join()
    sink.cost_s = 0.001
    stage.publish(AVC, key("0"), inter("1"))
    for _ in range(2):
        stage.channel.snapshot([])
    assert len(stage.clock.timers) == 1
    stage.publish(inter("2"))
    stage.clock.advance(1)
    assert sink.frames() == payloads(key("0"), inter("1"), inter("2"))


def test_who_does_not_come_holds_nothing(small_segments: None) -> None:
    stage = Stage()
    playing(stage, AVC, key("k"), *many(4), room=0)
    stage, _ = parted(stage)
    stage.publish(key("newest"), inter("1"))
    assert stage.output().log.begin == 0
    stage.clock.advance(RETURN_S)
    assert stage.output().log.begin > 0


def test_all_that_were_expected_are_there(small_segments: None) -> None:
    stage = Stage()
    sinks = [playing(stage, AVC, key("k"), *many(4), room=0), playing(stage, room=0)]
    stage, frozen = parted(stage)
    stage.publish(key("newest"), inter("1"))
    for one in frozen:
        assert stage.clock.timers
        stage.take_in(*one)
    assert stage.clock.timers == []
    for sink in sinks:
        sink.open()
    stage.publish(key("last"))
    assert stage.output().log.begin > 0


def test_who_was_frozen_before_its_channel_was_looked_at_is_waited_for(small_segments: None) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    stage.publish(*many(4))
    frozen = stage.freeze(sink)
    stage, _ = parted(stage)
    stage.publish(key("newest"), inter("1"))
    stage.take_in(sink, frozen)
    sink.open()
    assert sink.frames() == payloads(*many(4), key("newest"), inter("1"))
    stage.channel.stop()
    assert stage.clock.timers == []


def test_nor_where_the_process_holds_too_much(small_segments: None) -> None:
    stage = Stage(total_bytes=6000)
    playing(stage, AVC, key("k"), *many(4), room=0)
    stage, _ = parted(stage)
    stage.publish(key("newest"), *many(5))
    assert stage.used_bytes() <= 6000


def test_what_the_last_reader_read_who_has_moved_is_not_kept_for_others_that_wait() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"), room=0)
    stage.publish(inter("1"))
    stage.channel.stop()
    stage.join()
    stage.freeze(sink)
    stage.clock.advance(RETURN_S)
    assert stage.channel.describe()["ended_outputs"] == 0
    assert stage.used_bytes() == 0


def test_who_never_comes_to_an_ended_publication_is_not_waited_for() -> None:
    stage = Stage()
    playing(stage, AVC, key("k"), room=0)
    stage.publish(inter("1"))
    stage.channel.stop()
    stage, _ = parted(stage)
    stage.clock.advance(RETURN_S)
    assert stage.channel.describe()["ended_outputs"] == 0
    assert stage.used_bytes() == 0


def test_a_channel_that_moves_on_before_they_came_holds_nothing_behind() -> None:
    stage = Stage()
    stage.publish(AVC, key("k"))
    stage = stage.hand_over().hand_over()
    assert len(stage.clock.timers) == 1


# --- a name that is known there -----------------------------------------------------------------------


def test_who_waits_there_is_started_or_refused() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    other = stage.beside()
    good, bad = other.join(key="key"), other.join(key="another")
    stage = stage.hand_over(other)
    assert (good.told(), good.frames()) == (STARTED, payloads(key("0")))
    assert stage.news() == [(News.REFUSED, bad)]
    stage.publish(inter("1"))
    assert good.frames() == payloads(key("0"), inter("1"))


def test_who_reads_an_ended_publication_of_the_same_number_there_is_told_its_end() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    other = stage.beside()
    other.start("key")
    laggard, third = playing(other, AVC, key("k")), playing(other)
    laggard.room = 0
    other.publish(inter("1"))
    other.channel.stop()
    assert other.channel.publication == 1
    stage.hand_over(other)
    laggard.open()
    assert laggard.told() == UNPUBLISHED + STARTED
    assert laggard.frames() == payloads(key("0"))
    assert third.told() == UNPUBLISHED + STARTED


def test_the_next_publication_has_a_number_of_its_own() -> None:
    stage, other = Stage(), Stage()
    laggards = []
    for number in range(3):
        if number:
            other.start("key")
        laggards.append(playing(other, AVC, key("k"), room=0))
        other.publish(inter(f"{number}"))
        other.channel.stop()
    stage.channel.stop()
    stage = stage.hand_over(other)
    assert stage.channel.publication == 1
    stage.start("key")
    assert stage.channel.publication == 4


def test_a_channel_that_is_on_the_air_there_stays() -> None:
    stage, other = Stage(), Stage()
    stage.publish(*HEADERS, key("0"))
    sink = other.join()
    fds: list[int] = []
    value = stage.channel.snapshot(fds)
    with pytest.raises(CannotMove, match="publishes channel here"):
        other.registry.adopt("channel", value, fds)
    other.publish(AVC, key("1"))
    stage.publish(inter("2"))
    assert sink.frames() == payloads(key("1"))
    assert stage.join().frames() == payloads(key("0"), inter("2"))


def test_a_channel_with_other_chunks_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    value = {**stage.channel.snapshot([]), "chunk_size": 4096}
    other = Stage(live=False)
    other.registry.release("channel")
    with pytest.raises(CannotMove, match="chunks of 4096 bytes, here 64"):
        other.registry.adopt("channel", value, [])
    assert len(other.registry) == 0


def test_an_unknown_channel_is_abandoned_without_ado() -> None:
    stage = Stage(live=False)
    stage.registry.abandon("another")
    assert len(stage.registry) == 1


def test_an_abandoned_channel_says_nothing_and_its_number_is_not_used_again() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("0"))
    sink.clear()
    stage.freeze(sink)
    stage.registry.abandon("channel")
    assert sink.received == b""
    assert stage.registry.find("channel") is None
    assert stage.registry.open("channel").publication == 1


# --- the value ----------------------------------------------------------------------------------------

PLAIN = (dict, list, tuple, str, bytes, int, float, bool, type(None))


def test_values_are_plain() -> None:
    stage = Stage()
    stage.join(room=0)
    stage.publish(*STREAM)
    stage.channel.stop()
    stage.start("key")
    stage.publish(*STREAM)

    def look(value: object) -> None:
        assert type(value) in PLAIN, value
        if isinstance(value, dict):
            for name, one in value.items():
                look(name)
                look(one)
        elif isinstance(value, list | tuple):
            for one in value:
                look(one)

    look(stage.channel.snapshot([]))
