"""Sends to many: in several goes, between which others run."""

from __future__ import annotations

from math import inf

import pytest

from rtmpsrv.live.frame_waits import AGAIN_S
from rtmpsrv.live.news import News
from rtmpsrv.live.schedule import DEAR_FLUSH_S, LEEWAY_S, MAX_CYCLE_S, MAX_REST_S, MAX_WAIT_S
from rtmpsrv.live.segment import VIDEO
from tests.unit.live.fakes import FakeSink
from tests.unit.live.flv_viewers import view
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import HEADERS, Stage, framed, inter, key, payloads

FRAME_S = 1 / 30

pytestmark = pytest.mark.usefixtures("_lanes_of_two")


@pytest.fixture
def _lanes_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtmpsrv.live.audience.LANE_PLAYERS", 2)


def crowded(
    count: int = 5, merge_messages: int = 1000, lag_bytes: int = 8 << 20
) -> tuple[Stage, list[FakeSink]]:
    """A channel with followers who forgot what they were sent so far."""
    stage = Stage(merge_messages=merge_messages, lag_bytes=lag_bytes)
    sinks = [stage.join() for _ in range(count)]
    stage.publish(*HEADERS, key("0"))
    stage.clock.advance(1)
    for sink in sinks:
        sink.clear()
    return stage, sinks


def counts(sinks: list[FakeSink]) -> list[int]:
    return [len(sink.frames()) for sink in sinks]


def test_others_run_between_the_goes_of_a_round() -> None:
    stage, sinks = crowded()
    stage.publish(inter("1"))
    seen = [counts(sinks)]
    stage.clock.call_later(0.0, lambda: seen.append(counts(sinks)))  # fires behind the second go
    stage.clock.advance(0.0)
    assert seen == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]
    assert all(sink.frames() == payloads(inter("1")) for sink in sinks)
    assert stage.clock.timers == []


def test_what_comes_during_a_round_goes_to_those_whose_turn_is_still_to_come() -> None:
    stage, sinks = crowded()
    stage.publish(inter("1"), inter("2"))
    assert sorted(counts(sinks)) == [0, 0, 0, 1, 1]
    stage.clock.timers[0].callback()
    stage.clock.timers[-1].callback()
    assert sorted(counts(sinks)) == [1, 1, 2, 2, 2]
    assert not stage.output().rounds.under_way
    stage.clock.advance(MAX_REST_S)
    assert all(sink.frames() == payloads(inter("1"), inter("2")) for sink in sinks)
    assert [sink.sends for sink in sinks].count(min(sink.sends for sink in sinks)) == 3  # both at one go
    assert stage.clock.timers == []


def test_players_that_had_their_turn_wait_no_longer_than_a_cycle() -> None:
    stage, sinks = crowded()
    for sink in sinks:
        sink.cost_s = DEAR_FLUSH_S
    for number in range(3):
        stage.publish(inter(f"{number}"))
        stage.clock.advance(1)
    for sink in sinks:
        sink.clear()
    stage.publish(inter("first"))
    stage.publish(inter("second"))
    stage.clock.advance(MAX_CYCLE_S + 5 * DEAR_FLUSH_S)
    assert all(sink.frames() == payloads(inter("first"), inter("second")) for sink in sinks)


def test_a_keyframe_that_comes_during_a_round_is_not_late_for_anybody() -> None:
    stage, sinks = crowded(merge_messages=1)
    for sink in sinks:
        sink.cost_s = 0.002
    for number in range(3):
        stage.publish(inter(f"{number}"))
        stage.clock.advance(1)
    for sink in sinks:
        sink.clear()
    stage.publish(inter("1"), key("2"))
    stage.clock.advance(0.04)  # rounds of 10 ms, and twice as long a rest
    assert all(sink.frames() == payloads(inter("1"), key("2")) for sink in sinks)


def test_a_round_costs_what_its_goes_took_and_not_what_ran_between_them() -> None:
    stage, sinks = crowded()
    for sink in sinks:
        sink.cost_s = 0.001
    for number in range(2):
        stage.publish(inter(f"{number}"))
        while stage.output().rounds.under_way:
            stage.clock.time_s += 1
            stage.clock.advance(0)
        stage.clock.advance(1)
    assert stage.output().schedule.took_s == pytest.approx(0.005)
    assert stage.output().rounds.later_s == pytest.approx(0.003)


def test_all_have_everything_when_the_publisher_has_left() -> None:
    stage, sinks = crowded()
    stage.publish(inter("1"), inter("2"))
    assert stage.output().rounds.under_way
    stage.channel.stop()
    assert all(sink.frames() == payloads(inter("1"), inter("2")) for sink in sinks)
    assert all(sink.told()[-1] == "StreamEOF" for sink in sinks)
    assert stage.clock.timers == []


def test_all_have_everything_when_the_channel_moves() -> None:
    stage, sinks = crowded()
    stage.publish(inter("1"), inter("2"))
    moved = stage.hand_over()
    moved.publish(inter("3"))
    moved.clock.advance(1)
    for sink in sinks:
        assert sink.received.count(framed(inter("1"), inter("2"))) == 1


def test_a_mirror_that_begins_ends_no_round() -> None:
    stage, sinks = crowded()
    stage.publish(inter("1"))
    seen = counts(sinks)
    mirrored = Mirrored(stage)
    assert counts(sinks) == seen == [1, 1, 0, 0, 0]
    stage.clock.advance(0)
    assert all(sink.frames() == payloads(inter("1")) for sink in sinks)
    assert mirrored.stage.output().log.end == stage.output().log.end


@pytest.mark.parametrize("number", range(5))
def test_who_leaves_during_a_round_goes_on_where_he_was(number: int) -> None:
    stage, sinks = crowded()
    stage.publish(inter("1"), inter("2"))
    stage.clock.timers[0].callback()
    successor = stage.move(sinks[number])
    stage.publish(inter("3"))
    stage.clock.advance(1)
    expected = payloads(inter("1"), inter("2"), inter("3"))
    assert sinks[number].frames() + successor.frames() == expected or successor.frames() == expected
    others = [sink for sink in sinks if sink is not sinks[number]]
    assert all(sink.frames() == expected for sink in others)


def test_whose_socket_is_full_in_his_turn_delays_nobody() -> None:
    stage, sinks = crowded()
    for sink in sinks:
        sink.room = 3
    stage.publish(inter("1"))
    stage.clock.advance(0)
    assert len(stage.output().audience.laggards) == 5
    for sink in sinks:
        sink.open()
    assert all(sink.frames() == payloads(inter("1")) for sink in sinks)


def test_what_is_flushed_for_one_who_skips_goes_to_those_who_had_their_turn() -> None:
    stage, sinks = crowded(3, lag_bytes=2000)
    for sink in sinks:
        sink.cost_s = 0.001
    for number in range(2):
        stage.publish(inter(f"{number}"))
        stage.clock.advance(1)
    slow, leaver, other = sinks
    stage.publish(inter("1"), key(bytes(3000)))
    stage.clock.advance(0)  # the next round is for the first two
    other.clear()
    stage.publish(key("newest"))
    stage.channel.leave(stage.player(leaver))
    slow.room = 10
    stage.clock.advance(1)
    assert stage.news() == [(News.JUMPED, slow)]
    assert other.frames() == payloads(key("newest"))
    slow.open()
    assert slow.frames()[-1:] == payloads(key("newest"))


def test_a_round_that_nobody_is_left_for_ends() -> None:
    stage, sinks = crowded()
    stage.publish(inter("1"))
    for sink in sinks:
        stage.channel.leave(stage.player(sink))
    stage.clock.advance(0)
    assert not stage.output().rounds.under_way
    assert stage.output().lowest() is None
    assert stage.clock.timers == []


def test_what_flv_costs_in_later_goes_makes_the_publication_merge() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    viewers = [view(stage) for _ in range(5)]
    stage.publish(inter("first"))
    stage.clock.advance(1)
    for sink in viewers:
        sink.cost_s = 0.001
    for number in range(3):
        stage.publish(inter(f"{number}"))
        stage.clock.advance(1)
    # Its own first go is part of the flush, that of the rest as the round before had it.
    assert stage.output().schedule.took_s == pytest.approx(0.005)
    assert stage.output().schedule.spent_s < stage.output().schedule.took_s * 3


# --- each go has a frame of its own -----------------------------------------------------------------


def dear(count: int = 5, **options: int) -> tuple[Stage, list[FakeSink]]:
    """A channel whose flushes are dear, for some time at 30 frames a second."""
    stage, sinks = crowded(count, **options)
    for sink in sinks:
        sink.cost_s = DEAR_FLUSH_S / count * 1.01
    watch(stage, sinks, 30)
    return stage, sinks


def watch(
    stage: Stage, sinks: list[FakeSink], frames: int, *, late_s: float = 0.0, frame_s: float = FRAME_S
) -> list[list[int]]:
    """Publish so many frames, each at its time or a little later; return how many each sink got with each."""
    begin = stage.clock.time_s
    found = []
    for number in range(frames):
        for sink in sinks:
            sink.clear()
        stage.clock.advance(begin + number * frame_s + late_s - stage.clock.time_s)
        stage.publish(inter(f"frame {number}"))
        stage.clock.advance(begin + (number + 1) * frame_s - stage.clock.time_s)
        found.append(counts(sinks))
    return found


def test_dear_goes_have_a_frame_each_and_three_frames_are_sent_together() -> None:
    stage, sinks = dear()
    seen = watch(stage, sinks, 9)
    assert all(set(one) == {0, 3} for one in seen)
    # Two, two and one: never two goes with a frame.
    assert sorted(one.count(3) for one in seen) == [1] * 3 + [2] * 6


def test_two_goes_leave_the_third_frame_out() -> None:
    stage, sinks = dear(4)
    seen = watch(stage, sinks, 9)
    assert sorted(one.count(3) for one in seen) == [0] * 3 + [2] * 6


def test_a_little_unrest_of_the_publisher_changes_nothing() -> None:
    stage, sinks = dear()
    seen = watch(stage, sinks, 9, late_s=LEEWAY_S / 2)
    assert all(set(one) == {0, 3} for one in seen)


@pytest.mark.parametrize("late_s", [0.01, 0.02, 0.03])
def test_after_a_frame_that_was_late_goes_begin_with_frames_again(late_s: float) -> None:
    stage, sinks = dear()
    watch(stage, sinks, 1, late_s=late_s)
    watch(stage, sinks, round(1.2 * AGAIN_S / FRAME_S))
    assert all(set(one) == {0, 3} for one in watch(stage, sinks, 9))


@pytest.mark.parametrize("count", [4, 5])
def test_what_waits_when_a_go_begins_by_time_goes_with_it(count: int) -> None:
    stage, sinks = dear(count)
    watch(stage, sinks, 9, frame_s=0.05)
    seen = watch(stage, sinks, 8, frame_s=0.05)
    assert sum(map(sum, seen)) == 8 * len(sinks)
    assert sum(one.count(2) for one in seen) == 4 * len(sinks)


def test_where_a_frame_does_not_come_the_next_go_is_in_time() -> None:
    stage, sinks = dear()
    for sink in sinks:
        sink.clear()
    stage.publish(inter("last"))
    stage.clock.advance(MAX_WAIT_S + 2 * LEEWAY_S)
    assert all(sink.frames()[-1:] == payloads(inter("last")) for sink in sinks)
    assert not stage.output().rounds.under_way


def test_with_more_goes_than_frames_none_waits() -> None:
    stage, sinks = dear(7)
    seen = watch(stage, sinks, 9)
    assert sorted(one.count(3) for one in seen) == [0] * 6 + [7] * 3


def test_where_a_mirror_follows_there_is_one_flush_for_all_goes() -> None:
    stage, sinks = dear()
    mirrored = Mirrored(stage)
    watch(stage, sinks, 9)
    seen = watch(stage, sinks, 9)
    assert sorted(one.count(3) for one in seen) == [0] * 6 + [5] * 3
    assert mirrored.stage.output().log.end == stage.output().log.end


def test_a_busy_process_waits_longer_and_for_all() -> None:
    stage, sinks = dear()
    stage.clock.pressure = 0.9
    watch(stage, sinks, 9)
    seen = watch(stage, sinks, 9)
    assert sorted(one.count(3) for one in seen) == [0] * 6 + [5] * 3


def test_a_keyframe_waits_for_no_frame_behind_it() -> None:
    stage, sinks = dear()
    for sink in sinks:
        sink.clear()
    stage.publish(key("keyframe"))
    stage.clock.advance(MAX_WAIT_S / 2)
    assert all(sink.frames()[-1:] == payloads(key("keyframe")) for sink in sinks)


def sends(sinks: list[FakeSink]) -> int:
    return sum(sink.sends for sink in sinks)


@pytest.mark.parametrize("frame_s", [0.1, 0.05, 0.04, 0.02, FRAME_S])
def test_at_no_rate_more_is_sent_than_where_goes_do_not_wait(frame_s: float) -> None:
    (waiting, sinks), (other, others) = dear(), dear()
    Mirrored(other)
    for one, its in ((waiting, sinks), (other, others)):
        watch(one, its, round(8 / frame_s), frame_s=frame_s)
    before = sends(sinks), sends(others)
    for one, its in ((waiting, sinks), (other, others)):
        watch(one, its, round(8 / frame_s), frame_s=frame_s)
    assert sends(sinks) - before[0] <= 1.05 * (sends(others) - before[1])


def test_messages_of_one_frame_are_one_frame() -> None:
    stage, sinks = dear()
    rounds = stage.output().rounds
    stage.publish(inter("first message"))
    while not rounds.under_way:
        stage.clock.advance(FRAME_S)
        stage.publish(inter("first message"))
    before = sends(sinks)
    stage.publish(inter("next message"))
    assert sends(sinks) == before
    stage.clock.advance(FRAME_S)
    stage.publish(inter("next frame"))
    assert sends(sinks) > before


def test_frames_that_are_late_now_and_then_are_waited_for_all_the_same() -> None:
    stage, sinks = dear()
    for _ in range(10):
        watch(stage, sinks, 1, late_s=0.02)
        watch(stage, sinks, 30)
    assert all(set(one) == {0, 3} for one in watch(stage, sinks, 9))


def test_who_wants_a_part_only_is_served_as_seldom_as_all() -> None:
    stage, sinks = dear()
    walker = stage.join()
    stage.receive(stage.player(walker), VIDEO)
    watch(stage, sinks, 30)
    before = walker.sends
    watch(stage, sinks, 30)
    assert walker.sends - before <= 12


def test_nothing_is_begun_for_those_who_have_left() -> None:
    stage, sinks = dear()
    rounds = stage.output().rounds
    while rounds.behind_since == inf:
        stage.publish(inter("more"))
        stage.clock.advance(FRAME_S)
    for sink in sinks[:]:
        stage.channel.leave(stage.player(sink))
    stage.join()
    took_s = stage.output().schedule.took_s
    stage.clock.advance(1)
    assert rounds.behind_since == inf
    assert stage.output().schedule.took_s == took_s
