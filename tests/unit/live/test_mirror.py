"""Players of a mirror hear what players of the owner hear, whatever becomes of either process."""

from __future__ import annotations

import gc
import os

import pytest

from rtmpsrv.live import log as log_module
from rtmpsrv.live.mirror import OutOfStep
from rtmpsrv.live.news import News
from rtmpsrv.live.segment import DATA
from rtmpsrv.protocol import amf0
from tests.unit.live.fakes import FakeSink
from tests.unit.live.mirrored import Mirrored
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
    framed,
    inter,
    key,
    many,
    payloads,
    playing,
    tone,
)
from tests.unit.live.test_channel_moved import STREAM, WHOLE, Heard, audience, talk


class Scene:
    """An owner, a mirror of it, and what may happen to either before a message."""

    def __init__(self) -> None:
        self.owner = Stage(live=False)
        self.mirrored = Mirrored(self.owner)

    def nothing(self) -> None:
        pass

    def owner_moves(self) -> None:
        self.owner = self.owner.hand_over()
        self.mirrored.tap_again(self.owner)

    def mirror_moves(self) -> None:
        self.mirrored.tap.close()
        self.mirrored = Mirrored(self.owner, stage=self.mirrored.stage.hand_over())

    def link_breaks(self) -> None:
        self.mirrored.tap_again(self.owner)

    def messages_are_late(self) -> None:
        self.mirrored.arrives = not self.mirrored.arrives
        self.mirrored.arrive()


def parted_value(stage: Stage) -> tuple[dict[str, object], list[int]]:
    fds: list[int] = []
    value = stage.channel.snapshot(fds)
    return value, [os.dup(fd) for fd in fds]


EVENTS = [
    Scene.nothing, Scene.owner_moves, Scene.mirror_moves, Scene.link_breaks, Scene.messages_are_late,
]  # fmt: skip


def run(event: object, split: int) -> Heard:
    scene = Scene()
    sinks = audience(scene.mirrored.stage)
    scene.owner.start("key")
    for number, message in enumerate(STREAM):
        if number == split:
            event(scene)  # type: ignore[operator]
        scene.mirrored.arrive()
        talk(scene.mirrored.stage, sinks, number)
        scene.owner.publish(message)
        scene.mirrored.arrive()
        sinks["slow"].open(97)
        if number % 5 == 2:
            sinks[f"joined {number}"] = scene.mirrored.stage.join()
    if split == len(STREAM):
        event(scene)  # type: ignore[operator]
    scene.owner.channel.stop()
    scene.owner.start("key")
    scene.owner.publish(AVC_2, key("next"))
    scene.mirrored.arrive()
    for sink in sinks.values():
        sink.open()
    scene.owner.publish(inter("last"))
    scene.mirrored.arrive()
    assert scene.mirrored.stage.news() == []
    return {name: (bytes(sink.received), sink.told()) for name, sink in sinks.items()}


@pytest.mark.parametrize("lane", ["file", "copies"])
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("split", range(len(STREAM) + 1))
def test_all_kinds_of_players_hear_what_those_of_the_owner_hear(
    split: int, event: object, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtmpsrv.live.lane.SENDFILE_FROM", 1 if lane == "file" else 1 << 30)
    if split % 2:
        monkeypatch.setattr(log_module, "SEGMENT_BYTES", 100)
    assert run(event, split) == WHOLE


@pytest.mark.parametrize("split", range(0, len(STREAM), 4))
def test_a_process_whose_channels_moved_serves_the_players_that_stay(split: int) -> None:
    stage = Stage()
    tls, moved = stage.join(can_sendfile=False), stage.join()
    follower = stage.join()
    stage.publish(*STREAM[:split])
    other = stage.beside()
    value, copies = parted_value(stage)
    frozen = stage.freeze(moved)
    other.channel = other.registry.adopt("channel", value, copies)
    third = Mirrored(stage)
    mirrored = Mirrored(other, stage=stage)
    assert mirrored.kinds == ["flush"]
    assert third.kinds == ["start", "moved"]
    other.take_in(moved, frozen)
    other.publish(*STREAM[split:])
    assert tls.received == follower.received == moved.received
    late = stage.join()
    assert late.received == other.join().received
    other.channel.stop()
    for sink in (tls, moved, follower, late):
        assert sink.told()[-2:] == UNPUBLISHED


def test_mirror_is_told_where_its_owner_has_moved_and_waits_for_another_tap() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    sink = mirrored.stage.join()
    stage.publish(AVC, key("0"))
    successor = stage.hand_over()
    assert mirrored.kinds[-1] == "moved"
    assert mirrored.tap.lost
    successor.publish(inter("1"))
    mirrored.tap_again(successor)
    successor.publish(inter("2"))
    assert sink.told() == STARTED
    assert sink.frames() == payloads(key("0"), inter("1"), inter("2"))


# --- what is the mirror's own -------------------------------------------------------------------------


def test_what_a_mirror_has_not_seen_of_a_channel_that_moves_is_kept_for_it(small_segments: None) -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    moved, stays = playing(stage, AVC, key("k")), mirrored.stage.join()
    stays.clear()
    stage = stage.hand_over()
    assert stage.seated() == [moved]
    stage.publish(*many(4), key("newest"), *many(3))
    mirrored.tap_again(stage)
    assert mirrored.kinds[-1] == "flush"
    assert stays.told() == []
    assert stays.frames() == payloads(*many(4), key("newest"), *many(3))
    assert stage.output().log.begin > 0, "nobody else is to come"


def test_no_mirror_comes_for_a_publication_that_is_over() -> None:
    stage = Stage()
    laggard = playing(stage, AVC, key("k"), room=0)
    stage.publish(inter("last"))
    stage.channel.stop()
    Mirrored(stage)
    stage = stage.hand_over()
    laggard.open()
    assert laggard.frames() == payloads(key("k"), inter("last"))
    assert stage.channel.describe()["ended_outputs"] == 0


def test_mirror_waits_for_no_mirrors_to_come() -> None:
    stage = Stage(live=False)
    mirrored = Mirrored(stage)
    stage.start("key")
    stage.publish(AVC, key("0"))
    stage.channel.stop()
    assert mirrored.stage.channel.describe()["ended_outputs"] == 0


def test_mirror_sends_from_the_memory_of_the_owner() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    mirrored.stage.join()
    stage.publish(AVC, key("0"))
    mine, theirs = stage.output().log.tail.file(), mirrored.stage.output().log.tail.file()
    assert mine != theirs
    assert os.path.sameopenfile(mine, theirs)


def test_laggards_of_a_mirror_hold_what_the_owner_has_let_go_of(small_segments: None) -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    sink = mirrored.stage.join()
    stage.publish(AVC, key("0"))
    sink.clear()
    sink.room = 0
    stage.publish(*many(4), key("1"), inter("2"))
    begin = stage.output().log.begin
    assert begin > mirrored.stage.output().log.begin
    stage.channel.stop()
    stage.registry.release("channel")
    sink.open()
    assert sink.frames() == payloads(*many(4), key("1"), inter("2"))
    assert mirrored.stage.used_bytes() == 0


def test_mirror_lets_go_of_what_its_players_were_sent(small_segments: None) -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    mirrored.stage.join()
    mirrored.stage.clock.advance(10)
    for number in range(20):
        stage.publish(AVC, key(f"{number}"), *many(2))
        assert mirrored.stage.output().log.begin == stage.output().log.begin
    assert mirrored.stage.used_bytes() == stage.used_bytes()
    budget = mirrored.stage.registry.budget.describe()
    assert budget["descriptors"] == stage.registry.budget.describe()["descriptors"] < 5


def test_mirror_that_holds_too_much_keeps_less_than_its_owner(small_segments: None) -> None:
    stage = Stage(keep_stream=True, lag_bytes=1 << 20)
    small = Stage(live=False, total_bytes=5000, clock=stage.clock, keep_stream=True)
    mirrored = Mirrored(stage, stage=small)
    lagging = small.join(room=0)
    stage.clock.advance(10)
    stage.publish(AVC, key("0"), *many(10), key("1"), *many(10), inter("2"))
    assert small.used_bytes() <= 5000 < stage.used_bytes()
    assert stage.join().frames()[0] == key("1")[3]
    joined = mirrored.stage.join()
    stage.publish(inter("3"), key("4"))
    assert joined.frames()[-1] == key("4")[3]
    lagging.open()
    assert lagging.frames()[-1] == key("4")[3]


def test_laggard_of_a_mirror_jumps_to_the_newest_keyframe() -> None:
    stage = Stage(lag_bytes=3000)
    mirrored = Mirrored(stage)
    sink = mirrored.stage.join()
    stage.publish(AVC, key("k"))
    sink.clear()
    sink.room = 0
    stage.publish(*many(5), AAC_2, key("newest"))
    stage.clock.advance(1)
    stage.publish(inter("after"))
    assert mirrored.stage.news() == [(News.JUMPED, sink)]
    sink.open()
    assert sink.frames() == payloads(key("newest"), inter("after"))
    assert AAC_2[3] in [payload for _, _, payload in sink.media()]


def test_joiners_of_a_mirror_are_told_what_is_true() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    for messages in (HEADERS, (key("0", 40),), (inter("1", 80),), (AVC_2, key("2", 120)), (META, AAC_2)):
        stage.publish(*messages)
        assert mirrored.stage.join().received == stage.join().received


def test_joiner_that_clears_is_sent_all_and_the_owner_goes_on(small_segments: None) -> None:
    stage = Stage(keep_stream=True)
    mirrored = Mirrored(stage)
    stage.publish(AVC, key("0"), inter("1"), key("2"))
    assert mirrored.stage.join(cache="clear").frames() == payloads(key("0"), inter("1"), key("2"))
    assert mirrored.stage.join(cache="clear").frames() == payloads(key("2"))
    stage.publish(inter("3"))
    assert mirrored.stage.join(cache="clear").frames() == payloads(key("2"), inter("3"))
    assert stage.join(cache="clear").frames() == payloads(key("0"), inter("1"), key("2"), inter("3"))


def test_who_waits_at_a_mirror_is_started_or_refused() -> None:
    stage = Stage(live=False)
    mirrored = Mirrored(stage)
    good, bad = mirrored.stage.join(key="key"), mirrored.stage.join(key="another")
    stage.start("key")
    assert mirrored.stage.news() == [(News.REFUSED, bad)]
    assert not mirrored.stage.channel.contents.accepts_key("another")
    stage.publish(AVC, key("0"))
    assert (good.told(), good.frames()) == (STARTED, payloads(key("0")))
    stage.channel.stop()
    assert good.told() == STARTED + UNPUBLISHED
    assert not mirrored.stage.channel.live


@pytest.mark.parametrize("descriptors", [0, 1, 2])
def test_owner_without_descriptors_sends_the_bytes(descriptors: int, small_segments: None) -> None:
    stage = Stage()
    stage.registry.budget.limit_descriptors(2 * descriptors)
    mirrored = Mirrored(stage)
    sinks = [mirrored.stage.join(), mirrored.stage.join(can_sendfile=False)]
    stage.publish(AVC, key("0"), *many(4))
    stage.registry.budget.limit_descriptors(100)
    stage.publish(*many(4), inter("last"))
    for sink in sinks:
        assert sink.frames() == payloads(key("0"), *many(4), *many(4), inter("last"))


def test_mirror_that_has_bytes_gets_the_descriptor_where_another_has_it_already() -> None:
    stage = Stage()
    stage.registry.budget.limit_descriptors(0)
    one, two = Mirrored(stage), Mirrored(stage)
    sink = one.stage.join()
    stage.publish(AVC, key("0"))
    two.tap.close()
    stage.publish(inter("1"))
    stage.registry.budget.limit_descriptors(100)
    two.tap_again(stage)
    stage.publish(inter("2"), inter("3"))
    for mirrored in (one, two):
        assert os.path.sameopenfile(mirrored.stage.output().log.tail.file(), stage.output().log.tail.file())
    assert sink.frames() == payloads(key("0"), inter("1"), inter("2"), inter("3"))


def test_mirror_that_was_away_is_told_what_others_were_told_meanwhile() -> None:
    stage = Stage()
    one, _two = Mirrored(stage), Mirrored(stage)
    stage.publish(*HEADERS, key("0"))
    one.tap.close()
    stage.publish(AAC_2, AVC_2, data(amf0.encode("onMetaData", {"width": 7.0})))
    one.tap_again(stage)
    assert one.stage.join().received == stage.join().received


def test_mirror_goes_on_where_something_waits_to_be_sent() -> None:
    stage = Stage(merge_messages=8)
    mirrored = Mirrored(stage)
    sink = mirrored.stage.join()
    stage.join().cost_s = 0.001
    stage.publish(AVC, key("0"), inter("1"), inter("2"))
    mirrored.tap.close()
    stage.publish(inter("3"))
    assert stage.output().log.unsent
    mirrored.tap_again(stage)
    stage.clock.advance(1)
    stage.publish(inter("4"))
    stage.clock.advance(1)
    assert sink.frames() == payloads(key("0"), *[inter(f"{number}") for number in range(1, 5)])


def test_mirror_says_what_a_flush_costs_it() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    mirrored.stage.join().cost_s = 0.25
    stage.publish(AVC, key("0"), inter("1"))
    assert mirrored.mirror.cost_s == pytest.approx(0.25)
    stage.channel.stop()
    assert mirrored.mirror.cost_s == 0.0


# --- owners that go -----------------------------------------------------------------------------------


def test_players_of_an_owner_that_died_are_told_the_end_and_wait_for_the_next() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    sink, laggard = mirrored.stage.join(key="key"), mirrored.stage.join(key="key")
    stage.publish(AVC, key("0"))
    laggard.room = 10
    stage.publish(inter("1"))
    assert mirrored.mirror.lost() == []
    assert sink.told() == STARTED + UNPUBLISHED
    assert mirrored.mirror.place == (0, 0)
    successor = stage.beside()
    successor.start("key")
    successor.publish(AVC_2, key("2"))
    mirrored.tap_again(successor)
    laggard.open()
    successor.publish(inter("3"))
    for one in (sink, laggard):
        assert one.told() == STARTED + UNPUBLISHED + STARTED
        assert one.frames() == payloads(key("0"), inter("1"), key("2"), inter("3"))
    assert mirrored.mirror.lost() == []
    assert mirrored.mirror.lost() == []
    assert sink.told() == 2 * (STARTED + UNPUBLISHED)


def test_mirror_that_begins_again_tells_its_players_the_end_first(small_segments: None) -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    sink = mirrored.stage.join()
    stage.publish(AVC, key("0"))
    mirrored.tap.close()
    stage.publish(*many(3), key("1"), inter("2"))
    mirrored.tap_again(stage)
    assert sink.told() == STARTED + UNPUBLISHED + STARTED
    assert sink.frames() == payloads(key("0"), key("1"), inter("2"))


# --- players that are ahead ---------------------------------------------------------------------------


def ahead(msid: int = 1) -> tuple[Stage, Mirrored, FakeSink]:
    """A player that came from the owner to its mirror, faster than what it was sent there last."""
    stage = Stage()
    mirrored = Mirrored(stage, arrives=False)
    sink = stage.join(msid=msid)
    stage.publish(AVC, key("0"))
    mirrored.arrive()
    sink.clear()
    stage.publish(inter("1"), inter("2"), inter("3"))
    mirrored.stage.take_in(sink, stage.freeze(sink))
    return stage, mirrored, sink


@pytest.mark.parametrize("msid", [1, 2])
def test_player_that_is_ahead_of_a_mirror_hears_nothing_twice(msid: int) -> None:
    stage, mirrored, sink = ahead(msid=msid)
    for _ in range(3):
        mirrored.arrive(1)
        assert sink.frames() == payloads(inter("1"), inter("2"), inter("3"))
    stage.publish(inter("4"))
    mirrored.arrive()
    assert sink.frames() == payloads(*[inter(f"{number}") for number in range(1, 5)])
    assert mirrored.stage.follows(sink) is (msid == 1)


def test_player_that_is_ahead_may_pause_be_answered_and_move_on() -> None:
    stage, mirrored, sink = ahead()
    mirrored.stage.receive(mirrored.stage.player(sink), DATA)
    mirrored.stage.pause(mirrored.stage.player(sink))
    assert sink.told() == ["StreamEOF", "Pause.Notify"]
    frozen = mirrored.stage.freeze(sink)
    stage.take_in(sink, frozen)
    mirrored.arrive()
    stage.publish(tone("4"))
    assert sink.frames() == payloads(inter("1"), inter("2"), inter("3"))
    assert stage.player(sink).position == stage.output().log.end


def test_player_that_was_ahead_and_left_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    _, mirrored, sink = ahead()
    mirrored.stage.freeze(sink)

    def kick() -> None:
        pytest.fail("its session is gone")

    monkeypatch.setattr(sink, "kick", kick)
    mirrored.arrive()


def test_player_that_is_ahead_of_a_mirror_which_ends_there_is_told_so() -> None:
    _, mirrored, sink = ahead()
    mirrored.arrive(1)
    mirrored.mirror.lost()
    sink.kick()
    assert sink.told() == UNPUBLISHED
    assert sink.received[: len(framed(inter("1")))] == framed(inter("1"))


@pytest.mark.parametrize("goes_on", [True, False])
def test_player_of_a_publication_that_is_on_its_way_waits_for_it(goes_on: bool) -> None:
    stage = Stage()
    mirrored = Mirrored(stage, arrives=False)
    stage.publish(AVC, key("0"))
    mirrored.arrive()
    stage.channel.stop()
    stage.start("key")
    sinks = [stage.join() for _ in range(3)]
    stage.publish(AVC, key("1"))
    sinks[1].room = 100
    stage.publish(inter(bytes(500)))
    for sink in sinks:
        mirrored.stage.take_in(sink, stage.freeze(sink))
    follower, laggard, leaver = sinks
    mirrored.stage.pause(mirrored.stage.player(laggard))
    mirrored.stage.channel.leave(mirrored.stage.player(leaver))
    laggard.open()
    begun = laggard.frames()
    assert begun == follower.frames()[: len(begun)]
    if goes_on:
        mirrored.arrive()
        laggard.open()
        stage.publish(inter("2"))
        mirrored.arrive()
        assert follower.told() == STARTED
        assert follower.frames() == payloads(key("1"), inter(bytes(500)), inter("2"))
        assert laggard.told() == [*STARTED, "StreamEOF", "Pause.Notify"]
    else:
        mirrored.mirror.lost()
        laggard.open()
        assert follower.told() == STARTED + UNPUBLISHED
        assert laggard.told() == [*STARTED, "StreamEOF", "Pause.Notify", *UNPUBLISHED]
    assert laggard.frames() == begun
    assert leaver.frames() == payloads(key("1"), inter(bytes(500)))


def test_player_that_was_told_the_end_is_not_started_again_where_that_is_on_its_way() -> None:
    stage = Stage()
    mirrored = Mirrored(stage, arrives=False)
    sink, newcomer = stage.join(), stage.join()
    stage.publish(AVC, key("0"))
    mirrored.arrive()
    stage.channel.stop()
    mirrored.stage.take_in(sink, stage.freeze(sink))
    assert sink.told() == STARTED + UNPUBLISHED
    mirrored.arrive()
    mirrored.stage.take_in(newcomer, stage.freeze(newcomer))
    stage.start("key")
    stage.publish(AVC, key("1"))
    mirrored.arrive()
    for one in (sink, newcomer):
        assert one.told() == STARTED + UNPUBLISHED + STARTED
        assert one.frames() == payloads(key("0"), key("1"))


def test_player_that_is_ahead_does_not_skip() -> None:
    _, mirrored, sink = ahead()
    mirrored.stage.channel.skip_laggards()
    mirrored.arrive()
    assert sink.frames() == payloads(inter("1"), inter("2"), inter("3"))
    assert mirrored.stage.player(sink).state.jumps == 0


# --- messages that do not fit -------------------------------------------------------------------------


def open_descriptors() -> int:
    gc.collect()  # what other tests have left is not to go meanwhile
    return len(os.listdir("/proc/self/fd"))


def test_gap_is_refused_and_changes_nothing() -> None:
    stage = Stage()
    mirrored = Mirrored(stage, arrives=False)
    sink = mirrored.stage.join()
    stage.publish(AVC, key("0"))
    mirrored.arrive(1)
    sink.clear()
    mirrored.messages.clear()
    stage.publish(inter("1"))
    (gap,) = mirrored.messages
    before = open_descriptors()
    with pytest.raises(OutOfStep, match="messages from 1, "):
        mirrored.mirror.feed(gap, [os.dup(stage.output().log.tail.file())])
    assert open_descriptors() == before
    mirrored.arrive()
    assert sink.frames() == payloads(key("0"), inter("1"))


def test_messages_of_another_publication_or_of_none_are_refused() -> None:
    stage = Stage()
    mirrored = Mirrored(stage, arrives=False)
    mirrored.arrive()
    stage.publish(AVC)
    message = mirrored.messages[-1]
    with pytest.raises(OutOfStep, match="messages from 7, 0"):
        mirrored.mirror.feed({**message, "publication": 7}, [])
    mirrored.mirror.lost()
    with pytest.raises(OutOfStep, match="messages from 1, 0"):
        mirrored.mirror.feed(message, [])


def test_owner_with_other_chunks_is_refused() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    start = mirrored.messages[0]
    other = Mirrored(Stage(live=False))
    before = open_descriptors()
    with pytest.raises(OutOfStep, match="chunks of 4096 bytes"):
        other.mirror.feed({**start, "channel": {**start["channel"], "chunk_size": 4096}}, [os.dup(0)])
    assert open_descriptors() == before
    assert not other.stage.channel.live


def test_start_of_a_channel_off_the_air_ends_the_publication_here() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    sink = playing(mirrored.stage)
    mirrored.tap_again(Stage(live=False))
    assert sink.told() == UNPUBLISHED
    assert not mirrored.stage.channel.live
