"""Who is served how, and the loops that send to all."""

from __future__ import annotations

import pytest

from rtmpsrv.live import audience, lane
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
    log.take_unsent()
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


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("in_file", [True, False])
def test_all_get_the_bytes_of_all_segments(
    in_file: bool, given: bool, small_segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "SENDFILE_BYTES", 0 if in_file else 1 << 30)
    crowd = Audience()
    sinks = [member(crowd, 150), member(crowd, 150, tls=True), member(crowd, 150)]
    first, others = b"1" * 150, [b"2" * 250, b"3" * 350]
    log = written(first, *others)
    assert len(log.parts(150, 750)) == 2
    assert crowd.send(log, 150, others if given else ()) == []
    assert [bytes(sink.received) for sink in sinks] == [b"".join(others)] * 3


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("room", [0, 2, 150, 200])
def test_who_takes_less_is_told_with_how_much_and_delays_nobody(
    in_file: bool, room: int, small_segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "SENDFILE_BYTES", 0 if in_file else 1 << 30)
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
    monkeypatch.setattr(lane, "SENDFILE_BYTES", 4)
    crowd = Audience()
    sinks = [member(crowd, tls=True)] + [member(crowd) for _ in range(directs)]
    crowd.send(written(b"one"), 0, [b"one"])
    assert [bytes(sink.received) for sink in sinks] == [b"one"] * (1 + directs)


def test_followers_are_sent_copies_while_there_is_no_descriptor() -> None:
    log = Log(Budget(1 << 20, descriptor_limit=0), 1 << 20)
    log.append(b"one", 1, 0, 0.0, 3)
    log.take_unsent()
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
    log = written(b"1" * 10, b"two")
    crowd.send(log, 10, [b"two"])
    late = member(crowd, 13)
    log.append(b"three", 1, 0, 0.0, 5)
    crowd.send(log, 13, log.take_unsent())
    assert [crowd.followed_bytes(player_of(sink)) for sink in (early, late, tls)] == [8, 5, 0]
    assert [crowd.remove(player_of(sink), 99) for sink in (early, late, tls, early)] == [18] * 3 + [None]
    assert not any(crowd.follows(player_of(sink)) for sink in (early, late, tls))
    assert (early.sent_bytes, late.sent_bytes, tls.sent_bytes) == (8, 5, 8)
    assert crowd.followed_bytes(player_of(early)) == 0
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
    assert crowd.remove(player, 9) == 0
    for steps in (["lags", "follows"], ["lags", "walks", "lags"], ["lags", "walks"], ["lags"]):
        for step in steps:
            places[step]()
            assert place() == [step]
        assert crowd.remove(player, 9) == {"follows": 0, "walks": 9, "lags": None}[steps[-1]]
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
        sinks = [member(crowd) for _ in range(5)]
        log = written(b"0" * 10)
        crowd.send(log, 0, [b"0" * 10])
        assert crowd.remove(player_of(sinks[leaver]), 10) == 10
        log.append(b"one", 1, 0, 0.0, 3)
        crowd.send(log, 10, log.take_unsent())
        for number, sink in enumerate(sinks):
            assert bytes(sink.received) == b"0" * 10 + (b"" if number == leaver else b"one")
            assert crowd.followed_bytes(player_of(sink)) == (0 if number == leaver else 13)
        for number, sink in enumerate(sinks):
            assert crowd.remove(player_of(sink), 10) == (None if number == leaver else 13)
            assert sink.sent_bytes == (10 if number == leaver else 13)
        assert len(crowd) == 0


# --- rounds ---------------------------------------------------------------------------------------


@pytest.fixture
def _lanes_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "LANE_PLAYERS", 2)


@pytest.mark.usefixtures("_lanes_of_two")
@pytest.mark.parametrize("in_file", [True, False])
def test_who_has_his_turn_gets_what_came_meanwhile(in_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SENDFILE_BYTES", 0 if in_file else 1 << 30)
    crowd = Audience()
    sinks = [member(crowd, tls=number % 2 > 0) for number in range(5)]
    log = written(b"one ")
    assert crowd.send(log, 0, [b"one "]) == []
    assert [bytes(sink.received) for sink in sinks] == [b"one "] * 2 + [b""] * 3
    assert (crowd.to_serve, crowd.behind(4), crowd.lowest()) == (2, 0, 0)
    log.append(b"two ", 1, 0, 0.0, 4)
    log.take_unsent()
    crowd.send(log, 8, ())
    crowd.send(log, 8, ())
    assert [bytes(sink.received) for sink in sinks] == [b"one "] * 2 + [b"one two "] * 3
    assert (crowd.to_serve, crowd.behind(8), crowd.lowest()) == (0, 4, 4)
    crowd.send(log, 8, ())  # the next round
    assert [bytes(sink.received) for sink in sinks] == [b"one two "] * 5
    while crowd.to_serve:
        crowd.send(log, 8, ())
    assert [bytes(sink.received) for sink in sinks] == [b"one two "] * 5
    assert (crowd.behind(8), crowd.lowest()) == (None, 8)


@pytest.mark.usefixtures("_lanes_of_two")
def test_who_joins_during_a_round_has_no_turn_in_it() -> None:
    crowd = Audience()
    before = [member(crowd) for _ in range(4)]
    log = written(b"one")
    crowd.send(log, 0, [b"one"])
    joiner = member(crowd, 3)
    crowd.send(log, 3, ())
    assert not crowd.to_serve
    assert [bytes(sink.received) for sink in [*before, joiner]] == [b"one"] * 4 + [b""]
    assert crowd.behind(3) is None


@pytest.mark.usefixtures("_lanes_of_two")
def test_few_players_of_several_lanes_are_served_together() -> None:
    crowd = Audience()
    sinks = [member(crowd, tls=number % 2 > 0) for number in range(8)]
    log = written(b"one")
    crowd.send(log, 0, [b"one"])
    for number in (1, 3, 4, 5, 6):
        crowd.remove(player_of(sinks[number]), 3)
    stay = [sinks[number] for number in (0, 2, 7)]
    goes = 0
    while crowd.to_serve:
        goes += 1
        crowd.send(log, 3, ())
    log.append(b"two", 1, 0, 0.0, 3)
    for _ in range(2):
        crowd.send(log, 3, log.take_unsent())
    assert not crowd.to_serve
    assert [bytes(sink.received) for sink in stay] == [b"onetwo"] * 3
    assert len(crowd._lanes) == 2
    assert [crowd.followed_bytes(player_of(sink)) for sink in stay] == [6, 6, 0]
    assert [crowd.remove(player_of(sink), 6) for sink in stay] == [6] * 3
    assert (crowd.lowest(), crowd.behind(6)) == (None, None)


@pytest.mark.parametrize(("load", "at_one_go"), [(2, 1), (8, 2), (11, 3), (100, 5)])
def test_those_on_tls_count_as_several(load: int, at_one_go: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "LANE_PLAYERS", load)
    crowd = Audience()
    sinks = [member(crowd, tls=True) for _ in range(5)]
    log = written(b"one")
    crowd.send(log, 0, [b"one"])
    assert [bytes(sink.received) for sink in sinks] == [b"one"] * at_one_go + [b""] * (5 - at_one_go)
    while crowd.to_serve:
        crowd.send(log, 3, ())
    assert [bytes(sink.received) for sink in sinks] == [b"one"] * 5
    for sink in sinks[1:]:
        crowd.remove(player_of(sink), 3)
    log.append(b"two", 1, 0, 0.0, 3)
    log.take_unsent()
    goes = 0
    while crowd.to_serve or not goes:
        goes += 1
        crowd.send(log, 6, ())
    assert goes <= 2, "who left counts no more"
    assert sinks[0].received == b"onetwo"


@pytest.mark.usefixtures("_lanes_of_two")
def test_who_takes_less_in_his_turn_lags() -> None:
    crowd = Audience()
    sinks = [member(crowd), member(crowd), member(crowd, room=2), member(crowd, room=0, tls=True)]
    log = written(b"one")
    assert crowd.send(log, 0, [b"one"]) == []
    slow, tls = player_of(sinks[2]), player_of(sinks[3])
    assert sorted(position for _, position in crowd.send(log, 3, ())) == [2, 3]
    assert set(crowd.laggards) == {slow, tls}
    assert (sinks[2].sent_bytes, len(crowd)) == (2, 4)
    assert not crowd.follows(slow)


def test_lanes_that_were_sent_the_same_are_joined_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audience, "LANE_PLAYERS", 4)
    crowd = Audience()
    sinks = [member(crowd) for _ in range(12)]
    for one in (1, 2, 3, 8, 9):  # lanes of 1, 4 and 2 are left
        crowd.remove(player_of(sinks[one]), 0)
    log = written(b"1" * 100)
    while crowd.behind(log.flushed) is not None:
        crowd.send(log, 0, ())
    log.append(b"2", 1, 0, 0.0, 1)
    log.take_unsent()
    assert len(crowd.goes()) == 2


def test_a_go_is_where_most_of_its_players_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "LANE_PLAYERS", 4)
    crowd = Audience()
    for position, count in ((300, 4), (200, 1), (100, 2), (300, 1)):
        for _ in range(count):
            member(crowd, position)
    assert crowd.goes() == [300, 100]
