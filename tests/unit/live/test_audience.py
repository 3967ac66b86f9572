"""Who is served how, and the loops that send to all."""

from __future__ import annotations

import pytest

from rtmpsrv.live import audience
from rtmpsrv.live.audience import Audience
from rtmpsrv.live.budget import Budget
from rtmpsrv.live.log import Log
from rtmpsrv.live.player import Player, PlayerState
from tests.unit.live.fakes import FakeClock, FakeSink

CLOCK = FakeClock()


def written(*messages: bytes) -> Log:
    log = Log(Budget(1 << 20), 1 << 20)
    for message in messages:
        log.append(message, 1, 0, 0.0, len(message))
    return log


def player_of(sink: FakeSink) -> Player:
    assert sink.player is not None
    return sink.player


def member(crowd: Audience, position: int = 0, *, tls: bool = False, room: int | None = None) -> FakeSink:
    sink = FakeSink(CLOCK, not tls, room)
    sink.player = Player(sink, PlayerState())
    crowd.follow(sink.player, position)
    return sink


# --- sending --------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_file", [True, False])
def test_all_get_the_bytes_of_all_segments(
    in_file: bool, small_segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "SENDFILE_BYTES", 0 if in_file else 1 << 30)
    crowd = Audience()
    sinks = [member(crowd), member(crowd, tls=True), member(crowd)]
    first, others = b"1" * 150, [b"2" * 250, b"3" * 350]
    log = written(first, *others)
    assert len(log.parts(150, 750)) == 2
    assert crowd.send(log, 150, others) == []
    assert [bytes(sink.received) for sink in sinks] == [b"".join(others)] * 3


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("room", [0, 2, 150, 200])
def test_who_takes_less_is_told_with_how_much_and_delays_nobody(
    in_file: bool, room: int, small_segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "SENDFILE_BYTES", 0 if in_file else 1 << 30)
    crowd = Audience()
    slow, fine = member(crowd, room=room), member(crowd)
    log = written(b"1" * 150, b"2" * 150)
    late = crowd.send(log, 0, [b"1" * 150, b"2" * 150])
    assert late == [(slow.player, room)]
    assert bytes(slow.received) == (b"1" * 150 + b"2" * 150)[:room]
    assert bytes(fine.received) == b"1" * 150 + b"2" * 150


def test_a_tls_sink_keeps_what_it_does_not_get_rid_of() -> None:
    crowd = Audience()
    slow = member(crowd, tls=True, room=2)
    assert crowd.send(written(b"one"), 0, [b"one"]) == [(slow.player, 3)]


@pytest.mark.parametrize("directs", [0, 1])
def test_a_tls_sink_gets_what_is_too_little_for_the_file(
    directs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "SENDFILE_BYTES", 4)
    crowd = Audience()
    sinks = [member(crowd, tls=True)] + [member(crowd) for _ in range(directs)]
    crowd.send(written(b"one"), 0, [b"one"])
    assert [bytes(sink.received) for sink in sinks] == [b"one"] * (1 + directs)


def test_followers_are_sent_copies_while_there_is_no_descriptor() -> None:
    log = Log(Budget(1 << 20, descriptor_limit=0), 1 << 20)
    log.append(b"one", 1, 0, 0.0, 3)
    crowd = Audience()
    sink = member(crowd)
    assert crowd.send(log, 0, [b"one"]) == []
    assert (bytes(sink.received), sink.sendfiles) == (b"one", 0)


def test_only_those_who_join_many_let_small_writes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "COALESCE_FROM", 2)
    crowd = Audience()
    sinks = [member(crowd), member(crowd, tls=True), member(crowd), member(crowd, tls=True)]
    assert [sink.coalescing for sink in sinks] == [False, False, True, True]


# --- moves ----------------------------------------------------------------------------------------


def test_bytes_sent_past_the_sink_are_counted_when_the_player_leaves() -> None:
    crowd = Audience()
    early, tls = member(crowd, 10), member(crowd, 10, tls=True)
    late = member(crowd, 13)
    crowd.send(written(b"three"), 0, [b"three"])
    assert [crowd.followed_bytes(player_of(sink), 18) for sink in (early, late, tls)] == [8, 5, 0]
    assert [crowd.remove(player_of(sink), 18) for sink in (early, late, tls, early)] == [True] * 3 + [False]
    assert not any(crowd.follows(player_of(sink)) for sink in (early, late, tls))
    assert (early.sent_bytes, late.sent_bytes, tls.sent_bytes) == (8, 5, 5)
    assert crowd.followed_bytes(player_of(early), 99) == 0
    assert list(crowd) == []


def test_each_player_is_in_one_place_at_a_time() -> None:
    crowd = Audience()
    sink = member(crowd)
    player = player_of(sink)
    places = {
        "follows": lambda: crowd.follow(player, 0),
        "walks": lambda: crowd.walk(player),
        "lags": lambda: crowd.lag(player),
    }

    def place() -> list[str]:
        found = ["follows"] * crowd.follows(player)
        found += ["walks"] * (player in crowd.walkers) + ["lags"] * (player in crowd.laggards)
        assert len(crowd) == len(list(crowd)) == len(found)
        assert crowd.off_the_lane == ([player] if found and found != ["follows"] else [])
        return found

    assert place() == ["follows"]
    assert crowd.remove(player, 0)
    for steps in (["lags", "follows"], ["lags", "walks", "lags"], ["lags", "walks"], ["lags"]):
        for step in steps:
            places[step]()
            assert place() == [step]
        assert crowd.remove(player, 0) is (steps[-1] != "lags")
        assert place() == []


def test_walkers_are_taken_all_at_once_and_lag_from_then_on() -> None:
    crowd = Audience()
    sinks = [FakeSink(CLOCK) for _ in range(3)]
    players = [Player(sink, PlayerState(position=10 * number)) for number, sink in enumerate(sinks, 1)]
    for player in players:
        crowd.walk(player)
    assert crowd.lowest() is None
    assert crowd.take_walkers() == players
    assert not crowd.walkers
    assert crowd.laggards == players
    assert crowd.lowest() == 10


def test_any_follower_may_leave_and_the_others_are_sent_as_before() -> None:
    for leaver in range(5):
        crowd = Audience()
        sinks = [member(crowd, number) for number in range(5)]
        crowd.remove(player_of(sinks[leaver]), 10)
        assert sinks[leaver].sent_bytes == 10 - leaver
        crowd.send(written(b"one"), 0, [b"one"])
        for number, sink in enumerate(sinks):
            assert bytes(sink.received) == (b"" if number == leaver else b"one")
            assert crowd.followed_bytes(player_of(sink), 10) == (0 if number == leaver else 10 - number)
        for number, sink in enumerate(sinks):
            assert crowd.remove(player_of(sink), 10) is (number != leaver)
            assert sink.sent_bytes == 10 - number
        assert len(crowd) == 0


@pytest.mark.parametrize("order", ["first", "last", "middle"])
def test_leaving_touches_no_more_than_one_other_follower(order: str) -> None:
    crowd = Audience()
    sinks = [member(crowd) for _ in range(101)]
    before = list(crowd)
    leaver = {"first": 0, "last": 100, "middle": 50}[order]
    crowd.remove(before[leaver], 0)
    after = list(crowd)
    moved = [number for number, player in enumerate(after) if before[number] is not player]
    assert moved == ([] if order == "last" else [leaver])
    assert len(after) == len(sinks) - 1


def test_a_follower_that_leaves_moves_one_other_at_most() -> None:
    crowd = Audience()
    players = [player_of(member(crowd)) for _ in range(400)]
    for player in players[::2]:
        before = dict(crowd._places)
        crowd.remove(player, 0)
        after = crowd._places
        assert len([one for one in before if one is not player and after[one] != before[one]]) <= 1
    assert [crowd._direct[place] for place in crowd._places.values()] == list(crowd._places)
    assert set(crowd._places) == set(players[1::2])
