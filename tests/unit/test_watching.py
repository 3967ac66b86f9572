"""Viewers by HTTP, as the relay lets them in: the same questions as for players of RTMP."""

from __future__ import annotations

import logging

import pytest

from rtmpsrv.access.names import APP_STREAM
from rtmpsrv.errors import AccessDenied, CannotMove, NoRoom, NotThere
from rtmpsrv.live.player import FLV
from rtmpsrv.relayed import RelayPlayback
from rtmpsrv.watching import HLS, Viewing
from tests.unit.live.fakes import FakeSink
from tests.unit.test_relay import KEY, FakePeer, House

QUERY = f"key={KEY}"


def watch(
    house: House, query: str = QUERY, channel: str = "news", *, waits: bool = False
) -> tuple[RelayPlayback, FakePeer]:
    peer = FakePeer("", name=None)
    sink = FakeSink(house.clock)
    playback = house.relay.watching.watch(peer, channel, query, sink, waits=waits)
    playback.start(True, True)
    return playback, peer


def view(house: House, query: str = QUERY) -> tuple[Viewing, FakePeer]:
    peer = FakePeer("", name=None)
    return house.relay.watching.view(peer, "news", query), peer


def test_a_viewer_is_a_player_of_flv() -> None:
    house = House()
    house.publish()
    playback, peer = watch(house)
    assert playback.feed.state.form == FLV
    assert playback.channel.players
    assert peer.client.channel == "news"
    playback.end("enough")
    assert not playback.channel.players


def test_it_goes_on_from_what_was_frozen() -> None:
    house = House()
    house.publish()
    playback, peer = watch(house)
    frozen = playback.freeze()
    again = house.relay.watching.resume_playback(peer, frozen, FakeSink(house.clock))
    again.resume()
    assert again.channel is playback.channel
    assert again.feed.state.form == FLV


def test_nobody_is_there() -> None:
    house = House()
    with pytest.raises(NotThere):
        watch(house)
    playback, _ = watch(house, waits=True)
    assert playback.feed.state.waiting
    house.publish()
    assert house.player.refusals == []


def test_the_key_is_asked_for_also_while_a_publisher_may_come_back() -> None:
    house = House()
    house.publish()
    channel = house.registry.find("news")
    assert channel is not None
    channel.suspend(10)
    with pytest.raises(AccessDenied, match="the publisher has another one"):
        view(house, "key=wrong")
    view(house)
    watch(house, "key=wrong", waits=True)  # is shown nothing before one comes


@pytest.mark.parametrize("query", ["", "key=wrong", "key=", "Key=x"])
def test_the_key_is_the_publishers(query: str) -> None:
    house = House()
    house.publish()
    with pytest.raises(AccessDenied, match="the publisher has another one"):
        watch(house, query)


def test_a_key_is_decoded() -> None:
    house = House()
    house.publish("a-b")
    watch(house, "key=a%2Db")


def test_a_name_that_can_be_none() -> None:
    with pytest.raises(AccessDenied, match="only letters"):
        watch(House(), channel="a b")


def test_names_of_the_other_layout() -> None:
    house = House(layout=APP_STREAM)
    house.publish(f"b?{QUERY}", "news")
    playback, peer = watch(house, channel="news/b")
    assert playback.channel.name == "news/b"
    assert peer.client.app == "news"
    with pytest.raises(AccessDenied):
        watch(house, channel="news/..")


def test_an_address_that_may_not_play() -> None:
    house = House(rules="192.0.2.1")
    house.publish()
    with pytest.raises(AccessDenied, match="whitelisted"):
        watch(house)


def test_viewings_count_as_players_and_are_kept_from_a_channel_that_is_full() -> None:
    house = House()
    house.publish()
    viewing, _ = view(house)
    room = house.relay.room
    assert room.players(viewing.channel) == 1
    house.desk.max_players = 1
    house.publish(app="sport")
    peer = FakePeer("", name=None)
    first = house.relay.watching.view(peer, "sport", QUERY)
    with pytest.raises(NoRoom, match=r"The channel is full \(1\)"):
        house.relay.watching.view(peer, "sport", QUERY)
    first.end("enough")
    house.relay.watching.view(peer, "sport", QUERY)


def test_who_kicks_may_mean_more_than_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    viewing, peer = view(house)
    viewing.dismiss("too loud")
    assert peer.is_unwanted() or peer.has_left()
    viewing, peer = view(house)
    kicked: list[str] = []
    monkeypatch.setattr(peer, "kick", kicked.append, raising=False)
    viewing.dismiss("too loud")
    assert kicked == ["too loud"]


def test_a_viewing_ends_once_and_its_channel_may_be_forgotten() -> None:
    house = House()
    viewing, _ = view(house)
    assert viewing.channel is house.registry.find("news")
    assert house.relay.waiting("news") == [viewing.peer]
    assert house.relay.watching.viewings("news") == [viewing]
    assert (viewing.role, viewing.granted, viewing.is_unwanted()) == ("player", (viewing,), False)
    other, _ = view(house)
    viewing.end("enough")
    viewing.end("again")
    assert house.relay.watching.count("news") == 1
    assert (viewing.granted, viewing.is_unwanted()) == ((), True)
    other.end("enough")
    assert house.registry.find("news") is None
    assert house.relay.waiting("news") == []


@pytest.mark.parametrize("form", ["flv", "ws-flv", "mp4", "ws-mp4", "jpg", HLS])
def test_the_end_of_a_play_is_told_as_stop_in_every_form(
    form: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    house = House()
    house.publish()
    peer = FakePeer("", name=None)
    peer.client.form = form
    watching = house.relay.watching
    if form.endswith("flv"):
        watching.watch(peer, "news", QUERY, FakeSink(house.clock), waits=False).end("enough")
    else:
        watching.view(peer, "news", QUERY).end("enough")
    told = {one.getMessage(): one.__dict__.get("fields", {}) for one in caplog.records}
    begun = next(fields for text, fields in told.items() if text.startswith("PLAY ("))
    assert begun == {}, "only ends have fields"
    fields = next(fields for text, fields in told.items() if text.startswith("PLAY STOP: news, "))
    assert fields.pop("seconds") >= 0
    assert fields == {
        "event": "stop", "address": "10.0.0.1", "channel": "news", "received_bytes": 11, "sent_bytes": 22,
        "reason": "enough",
    }  # fmt: skip


def test_what_was_sent_to_those_who_left_counts_as_long_as_the_channel_is_there() -> None:
    house = House()
    watching = house.relay.watching
    viewing, _ = view(house)
    viewing.end("nobody is there")
    assert watching.sent_before("news") == 0
    house.publish()
    for _ in range(2):
        viewing, peer = view(house)
        viewing.end("enough")
    assert watching.sent_before("news") == 2 * peer.traffic()[1] > 0


def test_what_they_were_sent_is_forgotten_with_the_channel_whoever_leaves_last() -> None:
    house = House()
    publication = house.publish()
    view(house)[0].end("enough")
    publication.end("is over")
    assert house.registry.find("news") is None

    house.publish()

    assert house.relay.watching.sent_before("news") == 0


def test_who_has_no_connection_is_found_by_its_id() -> None:
    house = House()
    peer = FakePeer("", name=None)
    peer.client.form = HLS
    viewing = house.relay.watching.view(peer, "news", QUERY)
    view(house)
    watching = house.relay.watching
    assert watching.apart() == [viewing]
    assert watching.find_apart(peer.client.id) is viewing
    viewing.dismiss("too loud")
    assert viewing.is_unwanted()
    viewing.end("too loud")
    assert watching.apart() == []
    assert watching.find_apart(peer.client.id) is None


def test_a_viewing_stays_where_its_stream_is_made() -> None:
    with pytest.raises(CannotMove):
        view(House())[0].freeze()


def test_refusals_are_counted_with_those_of_rtmp() -> None:
    house = House()
    assert house.relay.watching.refusal_delay("10.0.0.1") == 0.0


def test_a_viewer_who_waited_for_a_publisher_with_another_key_is_refused() -> None:
    house = House()
    waiting, right = view(house)
    _, wrong = view(house, "key=another")
    _, peer = view(house, "key=gone")
    assert waiting.channel.is_wanted
    gone = next(one for one in house.relay.watching.viewings("news") if one.peer is peer)
    gone.end("left")
    house.publish()
    assert right.refusals == []
    assert [code for code, _ in wrong.refusals] == ["NetStream.Play.BadName"]
    assert peer.refusals == []
    gone.began()
    assert peer.refusals == []


def test_a_viewing_goes_on_in_another_process_without_a_question() -> None:
    house, other = House(), House()
    for one in (house, other):
        one.publish()
    viewing, peer = view(house)
    viewing.hand_over()
    viewing.hand_over()
    viewing.end("is over")
    assert house.relay.watching.count("news") == 0
    again = FakePeer("", name=None)
    again.client = peer.client
    resumed = other.relay.watching.resume_view(again, viewing.key)
    assert (resumed.name, resumed.key) == ("news", KEY)
    assert other.relay.watching.viewings("news") == [resumed]
    assert resumed.granted == (resumed,)
    resumed.end("left")


def test_what_another_process_has_sent_is_none_of_ours() -> None:
    house = House()
    peer = FakePeer("", name=None)
    viewing = house.relay.watching.resume_view(peer, "k")
    assert viewing.sent_here == 0
    before = peer.traffic()[1]
    peer.traffic = lambda: (0, before + 5)  # type: ignore[method-assign]
    assert viewing.sent_here == 5
