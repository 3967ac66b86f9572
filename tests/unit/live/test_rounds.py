"""Sends to many: in several goes, between which others run."""

from __future__ import annotations

import pytest

from rtmpsrv.live.news import News
from rtmpsrv.live.schedule import DEAR_FLUSH_S, MAX_CYCLE_S, MAX_REST_S
from tests.unit.live.fakes import FakeSink
from tests.unit.live.flv_viewers import view
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import HEADERS, Stage, framed, inter, key, payloads

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
