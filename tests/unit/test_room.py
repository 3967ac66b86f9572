"""How many may play, through a relay: by rules, by what a backend gave, and for who comes from elsewhere."""

from __future__ import annotations

from typing import cast

import pytest

from rtmpsrv import room
from rtmpsrv.access.channel_rules import read_rules
from rtmpsrv.access.doors import Doors
from rtmpsrv.errors import AccessDenied
from rtmpsrv.live.player import PlayerState
from rtmpsrv.server.outlet import Outlet
from tests.unit.access.test_visits import FakeHooks
from tests.unit.live.fakes import FakeSink
from tests.unit.live.stage import AVC, key
from tests.unit.test_relay import KEY, PLAY_BAD_NAME, FakePeer, House, Others, refused


def ruled(rule: str) -> Doors:
    doors = Doors()
    doors.use(read_rules(f'[[channel]]\nname = "news"\n{rule}\n'.encode(), has_tokens=False))
    return doors


@pytest.mark.parametrize(
    ("of_rules", "of_publisher", "of_player", "most", "variable"),
    [
        (0, 2, 0, 2, "CALLBACK_URL"),
        (0, 0, 2, 2, "CALLBACK_URL"),
        (3, 2, 4, 2, "CALLBACK_URL"),
        (2, 3, 3, 2, "CHANNELS_FILE"),
        (3, 3, 1, 1, "CALLBACK_URL"),
    ],
)
def test_of_all_limits_of_players_the_lowest_counts(
    of_rules: int, of_publisher: int, of_player: int, most: int, variable: str
) -> None:
    hooks = FakeHooks()
    hooks.channel, hooks.max_players = "news", of_player
    house = House(doors=ruled(f"max_players = {of_rules}") if of_rules else None, hooks=hooks)
    house.desk.max_players = of_publisher
    house.publish()
    for _ in range(most):
        house.play()
    with pytest.raises(AccessDenied) as caught:
        house.play()
    assert caught.value.description == f"The channel is full ({most})"
    assert caught.value.variable == variable


@pytest.mark.parametrize("says", ["the rules", "the backend"])
def test_who_comes_from_elsewhere_to_a_full_channel_is_told_so(says: str) -> None:
    house = House(doors=ruled("max_players = 2") if says == "the rules" else None)
    house.desk.max_players = 2 if says == "the backend" else 0
    house.publish()
    house.play()
    for code in ([], [PLAY_BAD_NAME]):
        peer, sink = FakePeer(), FakeSink(house.clock)
        playback = house.relay.resume_playback(peer, PlayerState(1, KEY), cast(Outlet, sink))
        playback.resume()
        assert [refusal[0] for refusal in peer.refusals] == code


def test_who_played_before_a_succession_stays_though_there_may_be_fewer_now() -> None:
    house = House()
    house.desk.max_players = 1
    publication = house.publish()
    playback, sink = house.play()
    publication.append([AVC, key("0")])
    state = playback.freeze()
    house.play()
    peer = FakePeer()
    house.relay.resume_playback(peer, state, cast(Outlet, sink)).resume()
    assert peer.refusals == []


def test_what_the_backend_of_another_process_says_counts_here() -> None:
    house, others = House(), Others()
    house.relay.share(others)
    house.play()
    others.limit = 1
    with refused(PLAY_BAD_NAME, r"The channel is full \(1\)"):
        house.play()


def test_an_address_that_was_turned_away_may_not_play_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(room, "monotonic", lambda: now[0])
    house = House()
    house.relay.turn_away("2001:db8::1", "news", 30.0)
    now[0] += 29.5
    for address in ("2001:db8::1", "2001:db8::2"):  # one client has all of a /64
        with refused(PLAY_BAD_NAME, "You may not play this channel for 1 s more"):
            house.play(ip=address)
    house.play(ip="2001:db8:0:1::1")
    house.play(ip="2001:db8::1", app="sport")
    now[0] += 0.5
    house.play(ip="2001:db8::1")
    house.relay.turn_away("10.0.0.1", "news", 30.0)
    house.relay.turn_away("10.0.0.1", "news", 0.0)
    house.play()
