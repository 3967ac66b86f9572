"""Players find the worker of their channel, wherever they were accepted. Several workers on one hub."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.access.facts import Approval
from rtmpsrv.access.names import StreamName
from rtmpsrv.access.second_publisher import REFUSE, TAKEOVER, SecondPolicy, claim_of
from rtmpsrv.errors import NotThere, RequestRefused
from rtmpsrv.protocol import messages
from rtmpsrv.server.session import Session
from rtmpsrv.workers.directory import Directory
from rtmpsrv.workers.elsewhere import Elsewhere
from tests.client import AVC_HEADER, interframe, keyframe, values_of
from tests.unit.live.fakes import FakeClock, FakeSink
from tests.unit.test_relay import FakePeer
from tests.unit.workers.crew import APP, KEY, Watcher, crew
from tests.unit.workers.lines import PATIENCE_S, eventually


def test_a_player_moves_to_the_worker_of_its_channel(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        publisher = made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        assert (one.players, other.players) == (1, 0)
        sent = publisher.some()
        watcher.hear_video(sent[-1])
        assert watcher.videos == [AVC_HEADER, keyframe(b"first"), *sent]
        assert (len(one.membership.slots.held()), len(other.membership.slots.held())) == (2, 0)
        assert len(made.cluster.keeper.slots) == 2


def test_players_that_wait_move_when_their_publisher_comes(tmp_path: Path) -> None:
    with crew(tmp_path, number=3) as made:
        watchers = [made.play(hand) for hand in made.hands for _ in range(2)]
        eventually(lambda: [hand.players for hand in made.hands] == [2, 2, 2], "they wait")
        publisher = made.publish(made.hands[1])
        for watcher in watchers:
            watcher.hear_video(keyframe(b"first"))
        assert [hand.players for hand in made.hands] == [0, 6, 0]
        sent = publisher.some()
        for watcher in watchers:
            watcher.hear_video(sent[-1])
            assert watcher.videos == [AVC_HEADER, keyframe(b"first"), *sent]


def test_players_follow_a_publisher_that_comes_back_elsewhere(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        publisher = made.publish(one)
        watcher = made.play(one)
        watcher.hear_video(keyframe(b"first"))
        publisher.client.close()
        watcher.hear_status("UnpublishNotify")
        made.publish(other)
        watcher.hear_video(keyframe(b"first"))
        assert (one.players, other.players) == (0, 1)


def test_a_wrong_key_is_refused_where_the_channel_is(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        made.publish(one)
        watcher = made.play(other, "another")
        watcher.hear_status("NetStream.Play.BadName")
        eventually(lambda: one.players == 0, "it is gone")


def test_a_second_publisher_is_refused_wherever_it_comes(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        publisher = made.publish(one)
        for hand in (one, other):
            with pytest.raises(RequestRefused, match="already publishing"):
                made.publish(hand)
        publisher.client.close()
        eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        made.publish(other)
        assert made.cluster.desk.asked == ["news", "news"]


def test_a_kill_ends_the_publisher_wherever_it_is(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        assert made.cluster.gate.kill("news", "id-1", "killed")
        watcher.hear_status("UnpublishNotify")
        eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        assert one.players == 1


def test_players_stay_where_there_is_no_room_for_them(tmp_path: Path) -> None:
    with crew(tmp_path, spread=1) as made:
        one, other = made.hands
        made.publish(one)
        made.play(one).hear_video(keyframe(b"first"))
        made.play(other).hear_video(keyframe(b"first"))
        assert (one.players, other.players) == (1, 1)


@pytest.mark.parametrize("spread", [300, 1])
def test_a_channel_takes_as_many_players_as_a_backend_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spread: int
) -> None:
    with crew(tmp_path, spread=spread) as made:
        monkeypatch.setattr(made.cluster.desk, "authorise", lambda request: Approval("id", max_players=1))
        one, other = made.hands
        made.publish(one)
        made.play(one).hear_video(keyframe(b"first"))
        if spread == 1:  # each worker counts those that stay there
            made.play(other).hear_video(keyframe(b"first"))
        told = made.play(other).hear_status("NetStream.Play.BadName")
        assert "The channel is full (1)" in str(values_of(told))
        eventually(lambda: (one.players, other.players) == (1, int(spread == 1)), "the others stay")


def test_players_go_on_while_the_keeper_is_away(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        publisher = made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        made.cluster.keeper.leave()
        eventually(lambda: all(hand.membership.link.line is None for hand in made.hands), "loss")
        late = made.play(other)
        late.hear_video(keyframe(b"first"))
        sent = publisher.some()
        for one_of_them in (watcher, late):
            one_of_them.hear_video(sent[-1])
        made.cluster.new_keeper()
        made.open_keeper()
        eventually(lambda: len(made.cluster.keeper.members) == 2, "all are back")
        assert made.cluster.keeper.book.directory() == {"news": "w1"}
        assert len(made.cluster.keeper.slots) == 3
        assert made.cluster.desk.ended_ids == []


def test_a_worker_that_dies_takes_its_own_along_only(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        one.die()
        eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        made.publish(other)
        late = made.play(other)
        late.hear_video(keyframe(b"first"))


def test_a_worker_that_takes_nobody_is_asked_again_and_players_wait(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        made.publish(one)
        handlers = one.membership.neighbours.on_calls
        one.membership.neighbours.on_calls = lambda: ({}, {"room": lambda channel: 5}, lambda: None)
        watcher = made.play(other)
        eventually(lambda: other.membership.neighbours._lines, "asked")
        gevent.sleep(0.05)
        assert other.players == 1
        one.membership.neighbours.on_calls = handlers
        other.membership.neighbours._lines["w1"].close()
        watcher.hear_video(keyframe(b"first"))
        # Where the connection ended in the middle of a question there is no room: there is a copy then.
        assert one.players + other.players == 1
        assert interframe(KEY.encode()) not in watcher.videos


# --- second publishers -------------------------------------------------------------------------------------


ENDED = "UnpublishNotify"
GOES_ON = [
    SecondPolicy(TAKEOVER),
    SecondPolicy(reconnect_s=PATIENCE_S),
]


def statuses(watcher: Watcher) -> str:
    return str([values_of(one) for one in watcher.heard if one.type_id == messages.COMMAND_AMF0])


@pytest.mark.parametrize("spread", [300, 0])  # players move to the publisher, or have a copy
@pytest.mark.parametrize("policy", GOES_ON)
def test_who_goes_on_for_another_moves_to_it_and_players_stay(
    tmp_path: Path, policy: SecondPolicy, spread: int
) -> None:
    with crew(tmp_path, second=policy, spread=spread) as made:
        one, other = made.hands
        first = made.publish(one)
        watchers = [made.play(hand) for hand in made.hands]
        for watcher in watchers:
            watcher.hear_video(keyframe(b"first"))
        wires = [copy.wire for copy in other.membership.copies._copies.values()]
        if policy.mode == REFUSE:
            first.client.close()
            eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        second = made.publish(other)
        sent = second.some()
        for watcher in watchers:
            watcher.hear_video(sent[-1])
            assert ENDED not in statuses(watcher)
            # One header: it is the same.
            assert watcher.videos == [AVC_HEADER, keyframe(b"first"), keyframe(b"first"), *sent]
        assert [copy.wire for copy in other.membership.copies._copies.values()] == wires
        assert made.cluster.desk.ended_ids == ["id-1"]
        assert one.relay.may_go_on("news", claim_of(StreamName("news", KEY, shown=KEY)))
        assert [len(hand.relay._publications) for hand in made.hands] == [1, 0]
        one.relay.close()  # else it waits for the next one


def test_who_has_another_right_goes_nowhere(tmp_path: Path) -> None:
    with crew(tmp_path, second=SecondPolicy(TAKEOVER)) as made:
        one, other = made.hands
        publisher = made.publish(one)
        with pytest.raises(RequestRefused, match="already publishing"):
            made.publish(other, "another")
        watcher = made.play(one)
        watcher.hear_video(publisher.some()[-1])
        assert made.cluster.desk.asked == ["news"]


def test_who_cannot_move_takes_over_where_it_is_and_players_come(tmp_path: Path) -> None:
    with crew(tmp_path, second=SecondPolicy(TAKEOVER)) as made:
        one, other = made.hands
        made.publish(one)
        watcher = made.play(one)
        watcher.hear_video(keyframe(b"first"))
        asked: list[str] = []

        def is_leaving() -> bool:
            asked.append("offer")
            return True

        one.membership.moving.is_leaving = is_leaving
        publisher = made.publish(other)
        assert asked == ["offer"], "once"
        watcher.hear_status(ENDED)
        one.membership.moving.is_leaving = lambda: False
        watcher.hear_video(publisher.some()[-1])
        assert [hand.players for hand in made.hands] == [0, 1]
        assert made.cluster.desk.ended_ids == ["id-1"]


def test_who_is_on_tls_takes_over_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with crew(tmp_path, second=SecondPolicy(TAKEOVER)) as made:
        one, other = made.hands
        made.publish(one)
        monkeypatch.setattr(Session, "is_bound", property(lambda session: True))
        made.publish(other)
        assert made.cluster.desk.ended_ids == ["id-1"]
        assert [len(hand.relay._publications) for hand in made.hands] == [0, 1]


def test_players_that_were_kept_are_told_of_a_publisher_with_another_right_elsewhere(tmp_path: Path) -> None:
    with crew(tmp_path, second=SecondPolicy(reconnect_s=PATIENCE_S)) as made:
        one, other = made.hands
        first = made.publish(one)
        watcher = made.play(one)
        watcher.hear_video(keyframe(b"first"))
        first.client.close()
        eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        publisher = made.publish(other, "another")
        watcher.hear_status(ENDED)
        watcher.hear_status("NetStream.Play.BadName")
        publisher.client.close()


def test_who_watches_by_flv_waits_for_a_publisher_that_another_worker_waits_for(tmp_path: Path) -> None:
    with crew(tmp_path, second=SecondPolicy(reconnect_s=PATIENCE_S)) as made:
        one, other = made.hands
        first = made.publish(one)
        made.play(one).hear_video(keyframe(b"first"))
        first.client.close()
        eventually(lambda: not other.membership.elsewhere.has(APP), "the end is known")
        sink = FakeSink(FakeClock(), can_sendfile=False)
        peer = FakePeer("", name=None)
        playback = other.relay.watching.watch(peer, APP, f"key={KEY}", sink, waits=False)
        sink.player = playback.feed
        playback.start(True, True)
        second = made.publish(other)  # it goes on in the other worker
        assert [len(hand.relay._publications) for hand in made.hands] == [1, 0]
        sent = second.some()
        eventually(lambda: sent[-1] in sink.received, "the viewer has it")
        playback.end("enough")
        made.clients.remove(second.client)
        one.relay.close()  # else it waits for the next one
        second.client.close()
        eventually(lambda: not other.membership.elsewhere.has(APP), "the end is known")
        with pytest.raises(NotThere):
            other.relay.watching.watch(peer, APP, f"key={KEY}", sink, waits=False)


@pytest.mark.parametrize("change", [("on_air", "news", "w3", 0), ("off_air", "news", "w2")])
def test_who_waits_for_the_next_worker_of_a_channel_is_woken(change: tuple[Any, ...]) -> None:
    link: Any = SimpleNamespace(name="w1", tells={})
    copies: Any = SimpleNamespace(turn=lambda channel: None)
    nothing: Any = None
    elsewhere = Elsewhere(Directory(link), nothing, copies, lambda name: [], log.get())
    link.tells["on_air"]("news", "w2", 0)
    waiting = [gevent.spawn(elsewhere.wait, "news", 3600.0) for _ in range(2)]
    gevent.sleep(0.001)
    link.tells["on_air"]("sport", "w2", 0)
    gevent.sleep(0.001)
    assert not any(one.dead for one in waiting)
    what, *told = change
    link.tells[what](*told)
    gevent.joinall(waiting, PATIENCE_S, raise_error=True)
    assert all(one.dead for one in waiting)


def test_nobody_waits_for_a_channel_that_is_nowhere_else() -> None:
    link: Any = SimpleNamespace(name="w1", tells={})
    nothing: Any = None
    elsewhere = Elsewhere(Directory(link), nothing, nothing, lambda name: [], log.get())
    with gevent.Timeout(PATIENCE_S):
        elsewhere.wait("news", 3600.0)
