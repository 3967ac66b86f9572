from __future__ import annotations

import pytest

from rtmpsrv.access.channel_rules import read_rules
from rtmpsrv.access.doors import Doors
from tests.unit.test_relay import FakePeer, House


@pytest.mark.parametrize(
    ("of_rules", "of_backend", "most"), [(0, 0, None), (5, 0, 5), (0, 7, 7), (5, 7, 5), (7, 5, 5)]
)
def test_of_all_limits_of_the_bitrate_the_lowest_counts(
    of_rules: int, of_backend: int, most: int | None
) -> None:
    doors = Doors()
    if of_rules:
        rules = f'[[channel]]\nname = "news"\nmax_bitrate = {of_rules}\n'
        doors.use(read_rules(rules.encode(), has_tokens=False))
    house = House(doors=doors)
    house.desk.max_bitrate = of_backend
    assert house.relay.on_air.max_bitrate("news") == (of_rules or None)
    house.publish()
    assert house.relay.on_air.max_bitrate("news") == most


def test_who_publishes_and_plays_is_known_while_it_does() -> None:
    house = House()
    on_air = house.relay.on_air
    assert on_air.publisher_of("news") is None
    publication = house.publish()
    playback, _ = house.play()
    assert on_air.publisher_of("news") is house.publisher.client
    assert on_air.client_of(playback.feed) is house.player.client
    assert (house.player.client.channel, house.publisher.client.channel) == ("news", "news")
    playback.end("over")
    publication.end("over")
    assert on_air.publisher_of("news") is None
    assert on_air.client_of(playback.feed) is None


def test_a_publication_that_goes_on_elsewhere_is_here_no_more() -> None:
    house = House()
    on_air = house.relay.on_air
    publication = house.publish()
    assert on_air.grant_of("news") is publication.grant
    frozen = publication.freeze()
    assert publication.channel.live  # as for players that stay here
    assert (on_air.grant_of("news"), on_air.publisher_of("news")) == (None, None)
    successor = FakePeer()
    house.relay.resume_publication(successor, frozen)
    assert (on_air.grant_of("news"), on_air.publisher_of("news")) == (frozen, successor.client)
