"""Followers who have been sent the same."""

from __future__ import annotations

import pytest

from rtmpsrv.live.lane import Lane
from rtmpsrv.live.player import Player, PlayerState
from tests.unit.live.fakes import FakeClock, FakeSink

CLOCK = FakeClock()


def player(*, tls: bool = False) -> Player:
    sink = FakeSink(CLOCK, not tls)
    sink.player = Player(sink, PlayerState())
    return sink.player


@pytest.mark.parametrize("order", ["first", "last", "middle"])
def test_leaving_changes_the_place_of_no_more_than_one_other_follower(order: str) -> None:
    lane = Lane(0)
    before = [player() for _ in range(101)]
    for one in before:
        lane.add(one)
    assert list(lane) == before
    leaver = {"first": 0, "last": 100, "middle": 50}[order]
    lane.remove(before[leaver], 0)
    after = list(lane)
    moved = [number for number, one in enumerate(after) if before[number] is not one]
    assert moved == ([] if order == "last" else [leaver])
    assert len(after) == lane.count == len(before) - 1


def test_all_of_another_lane_keep_what_they_have_been_sent() -> None:
    lane, other = Lane(10), Lane(4)
    members = [player(), player(tls=True)]
    for one in members:
        other.add(one)
    other.position = 10
    assert lane.take_all(other) == [members[1], members[0]]
    assert (lane.count, [lane.followed_bytes(one) for one in members]) == (2, [6, 0])
