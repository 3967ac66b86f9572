"""One publication played in several workers. Real clients, several workers on one hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gevent
import pytest

from rtmpsrv.access.gate import Grant
from rtmpsrv.access.second_publisher import SecondPolicy
from rtmpsrv.live.mirror import Mirror, OutOfStep
from rtmpsrv.workers import copies
from rtmpsrv.workers.wire import WireLost
from tests.client import AVC_HEADER, keyframe, values_of
from tests.unit.workers.crew import APP, Crew, Hand, crew
from tests.unit.workers.lines import eventually

FIRST = [AVC_HEADER, keyframe(b"first")]


def copied(hand: Hand) -> int:
    return len(hand.membership.copies)


def test_players_of_all_workers_are_sent_the_same(tmp_path: Path) -> None:
    with crew(tmp_path, number=3, spread=0) as made:
        early = made.play(made.hands[2])
        eventually(lambda: made.hands[2].players == 1, "it waits")
        publisher = made.publish(made.hands[0])
        watchers = [early, *(made.play(hand) for hand in made.hands for _ in range(2))]
        for watcher in watchers:
            watcher.hear_video(keyframe(b"first"))
        assert [hand.players for hand in made.hands] == [2, 2, 3]
        assert [copied(hand) for hand in made.hands] == [0, 1, 1]
        for _ in range(5):
            sent = publisher.some(20)
            for watcher in watchers:
                watcher.hear_video(sent[-1])
        for watcher in watchers:
            assert watcher.videos[:2] == FIRST
            assert watcher.videos[2:] == watchers[0].videos[2:]
            assert len(watcher.videos) == 102


def test_a_wrong_key_is_refused_by_the_copy(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        made.publish(made.hands[0])
        made.play(made.hands[1]).hear_video(keyframe(b"first"))
        made.play(made.hands[1], "another").hear_status("NetStream.Play.BadName")


def test_players_are_told_the_end_and_hear_the_next_publisher_wherever_it_comes(tmp_path: Path) -> None:
    with crew(tmp_path, number=3, spread=0) as made:
        publisher = made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        watcher.hear_video(keyframe(b"first"))
        for hand in (made.hands[2], made.hands[1], made.hands[0]):
            publisher.client.close()
            watcher.hear_status("UnpublishNotify")
            eventually(lambda: copied(made.hands[1]) == 0, "the copy's end")
            publisher = made.publish(hand)
            watcher.hear_video(keyframe(b"first"))
            sent = publisher.some()
            watcher.hear_video(sent[-1])
            assert watcher.videos[-7:] == [*FIRST, *sent]
            assert copied(made.hands[1]) == (hand is not made.hands[1])


def test_the_last_that_was_published_is_sent_though_the_keeper_told_the_end_before(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        publisher = made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        watcher.hear_video(keyframe(b"first"))
        made.hands[1].membership.directory._off_air(APP, made.hands[0].name)
        sent = publisher.some()
        publisher.client.close()
        watcher.hear_status("UnpublishNotify")
        assert watcher.videos[-5:] == sent


def test_a_publisher_takes_a_channel_over_whose_copy_is_here(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        one, other = made.hands
        made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        # Its end has not come this far when the next publisher is granted the channel.
        one.relay.is_free = lambda name, claim=(): True  # type: ignore[method-assign]
        made.cluster.keeper.release(made.cluster.keeper.book._by_channel["news"])
        publisher = made.publish(other)
        watcher.hear_status("UnpublishNotify")
        watcher.hear_video(publisher.some()[-1])
        assert copied(other) == 0


def test_what_comes_for_a_copy_that_was_given_up_is_not_the_next_publisher_s(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        one, other = made.hands
        first, watcher = made.publish(one), made.play(other)
        watcher.hear_video(keyframe(b"first"))
        copy = other.membership.copies._copies["news"]
        copy.greenlet = None  # on a busy hub it hears of its end after what has come
        one.relay.is_free = lambda name, claim=(): True  # type: ignore[method-assign]
        made.cluster.keeper.release(made.cluster.keeper.book._by_channel["news"])
        publisher = made.publish(other)
        first.client.close()
        eventually(lambda: copy.wire is None, "it has heard of the end")
        watcher.hear_video(publisher.some()[-1])


def test_the_owner_s_death_ends_the_copy_and_players_wait(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        one, other = made.hands
        made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        one.die()
        watcher.hear_status("UnpublishNotify")
        made.publish(other)
        watcher.hear_video(keyframe(b"first"))


def test_a_connection_that_is_lost_costs_nothing(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        one, other = made.hands
        publisher = made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        sent = []
        for _ in range(3):
            copy = other.membership.copies._copies["news"]
            eventually(lambda copy=copy: copy.wire is not None, "connected")  # type: ignore[misc]
            assert copy.wire is not None
            copy.wire.close()
            sent += publisher.some()
            watcher.hear_video(sent[-1])
        assert watcher.videos == [*FIRST, *sent]


def test_silence_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "SILENCE_S", 0.01)
    with crew(tmp_path, spread=0) as made:
        one, other = made.hands
        publisher = made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        gevent.sleep(0.1)
        sent = publisher.some()
        watcher.hear_video(sent[-1])
        assert watcher.videos == [*FIRST, *sent]


def test_a_copy_that_nobody_plays_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "IDLE_S", 0.02)
    with crew(tmp_path, spread=0) as made:
        one, other = made.hands
        publisher = made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        watcher.client.close()
        eventually(lambda: publisher.some(1) and copied(other) == 0, "given up")
        assert len(other.registry) == 0
        eventually(lambda: one.registry.find("news") and not feeds(made), "no tap is left")
        made.play(other).hear_video(keyframe(b"first"))


def feeds(made: Crew) -> int:
    channel = made.hands[0].registry.find("news")
    assert channel is not None
    return len(channel.feed.taps)


def test_players_that_left_before_the_copy_came_leave_no_trap(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        one, other = made.hands
        made.publish(one)
        watcher = made.play(other)
        eventually(lambda: copied(other) == 1, "begun")
        stale = other.membership.copies._copies["news"]
        watcher.client.close()
        eventually(lambda: other.players == 0, "gone")
        del other.registry._channels["news"]
        made.play(other).hear_video(keyframe(b"first"))
        assert other.membership.copies._copies["news"] is not stale


def test_the_owner_learns_what_a_flush_costs_and_merges_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "REPORT_S", 0.0)
    with crew(tmp_path, spread=0) as made:
        publisher = made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        for _ in range(3):
            watcher.hear_video(publisher.some()[-1])
        channel = made.hands[0].registry.find("news")
        assert channel is not None
        eventually(lambda: channel.feed.cost_s > 0, "a report")


@pytest.mark.parametrize("has_copy", [False, True])
def test_a_copy_of_what_is_not_published_here_is_refused(tmp_path: Path, has_copy: bool) -> None:
    with crew(tmp_path, spread=0) as made:
        if has_copy:
            made.publish(made.hands[0])
            made.play(made.hands[1]).hear_video(keyframe(b"first"))
        wire = made.hands[0].membership.neighbours.connect("w2", copies.COPY, "news", 0, 0)
        with pytest.raises(WireLost, match="closed"):
            wire.receive(5.0)
        wire.close()


def test_a_copy_goes_on_when_its_channel_says_that_it_has_moved(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        publisher = made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        watcher.hear_video(keyframe(b"first"))
        channel, copy = made.hands[0].registry.find("news"), made.hands[1].membership.copies._copies["news"]
        assert channel is not None
        before = copy.wire
        channel.feed.moved()
        eventually(lambda: copy.wire not in (before, None), "another connection")
        sent = publisher.some()
        watcher.hear_video(sent[-1])
        assert watcher.videos == [*FIRST, *sent]


def test_a_channel_whose_copies_are_given_up_is_forgotten(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        publisher = made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        watcher.hear_video(keyframe(b"first"))
        publisher.client.close()
        watcher.hear_status("UnpublishNotify")
        eventually(lambda: len(made.hands[0].registry) == 0, "forgotten")


def hand_over(old: Hand, new: Hand) -> None:
    """Let the publisher, its channel and its slot go on in another worker, as a succession does."""
    (session,) = [one for one in old.listeners[0].sessions if one.role == "publisher"]
    frozen = old.listeners[0].release(session)
    grant = frozen.state.publication
    assert isinstance(grant, Grant)
    channel, fds = old.registry.find("news"), list[int]()
    assert channel is not None
    value = channel.snapshot(fds)
    note = old.membership.gate.note(grant)
    assert note is not None
    new.registry.adopt("news", value, [os.dup(fd) for fd in fds])
    new.membership.gate.inherit(grant, note)
    old.membership.gate.abandon(grant)
    old.registry.abandon("news")
    new.listeners[0].adopt(frozen)


def test_a_copy_goes_on_without_loss_when_its_channel_is_another_worker_s(tmp_path: Path) -> None:
    with crew(tmp_path, number=4, spread=0) as made:
        publisher = made.publish(made.hands[0])
        watchers = [made.play(hand) for hand in made.hands[1:3]]
        for watcher in watchers:
            watcher.hear_video(keyframe(b"first"))
        sent = publisher.some()
        for old, new in ((0, 3), (3, 0)):
            hand_over(made.hands[old], made.hands[new])
            sent += publisher.some()
            for watcher in watchers:
                watcher.hear_video(sent[-1])
        for watcher in watchers:
            assert watcher.videos == [*FIRST, *sent]
        assert made.cluster.desk.ended_ids == []
        assert made.cluster.keeper.book.directory() == {"news": "w1"}


class Troubled:
    """A mirror that raises some exceptions first."""

    def __init__(self, mirror: Mirror, troubles: list[Exception]) -> None:
        self._mirror = mirror
        self._troubles = troubles

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mirror, name)

    def feed(self, message: dict[str, Any], fds: list[int]) -> Any:
        if not self._troubles:
            return self._mirror.feed(message, fds)
        for fd in fds:
            os.close(fd)
        raise self._troubles.pop()


def test_what_does_not_fit_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with crew(tmp_path, spread=0) as made:
        publisher = made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        watcher.hear_video(keyframe(b"first"))
        copy = made.hands[1].membership.copies._copies["news"]
        troubles: list[Exception] = [OutOfStep("once")]
        monkeypatch.setattr(copy, "mirror", Troubled(copy.mirror, troubles))
        publisher.some()
        eventually(lambda: not troubles, "trouble")
        watcher.hear_video(publisher.some()[-1])


def test_a_bug_costs_that_copy_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with crew(tmp_path, spread=0) as made:
        made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        watcher.hear_video(keyframe(b"first"))
        logged: list[str] = []
        copy = made.hands[1].membership.copies._copies["news"]
        monkeypatch.setattr(made.hands[1].membership.copies.log, "exception", logged.append)
        monkeypatch.setattr(copy, "mirror", Troubled(copy.mirror, [ZeroDivisionError()]))
        assert copy.wire is not None
        copy.wire.close()
        watcher.hear_status("UnpublishNotify")
        assert logged == ["copy failed"]
        made.play(made.hands[1]).hear_video(keyframe(b"first"))


def test_a_worker_that_leaves_gives_its_copies_up(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0) as made:
        made.publish(made.hands[0])
        watcher = made.play(made.hands[1])
        watcher.hear_video(keyframe(b"first"))
        made.hands[1].membership.leave()
        watcher.hear_status("UnpublishNotify")
        assert copied(made.hands[1]) == 0


def test_a_copy_waits_with_its_channel_for_a_publisher_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "SILENCE_S", 0.05)
    with crew(tmp_path, spread=0, second=SecondPolicy(reconnect_s=60.0)) as made:
        one, other = made.hands
        first = made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        first.client.close()
        eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        eventually(lambda: other.membership.directory.elsewhere("news") is None, "told")
        for _ in range(2):  # it connects anew, since nothing comes
            copy = other.membership.copies._copies["news"]
            wire = copy.wire
            eventually(lambda copy=copy, wire=wire: copy.wire not in (None, wire), "again")  # type: ignore[misc]
        sent = made.publish(other).some()
        watcher.hear_video(sent[-1])
        assert watcher.videos == [*FIRST, FIRST[-1], *sent]
        assert "UnpublishNotify" not in str([values_of(one) for one in watcher.heard if one.type_id == 20])
        one.relay.close()  # else it waits for the next one


def test_the_death_of_a_worker_ends_its_copies_that_wait(tmp_path: Path) -> None:
    with crew(tmp_path, spread=0, second=SecondPolicy(reconnect_s=60.0)) as made:
        one, other = made.hands
        first = made.publish(one)
        watcher = made.play(other)
        watcher.hear_video(keyframe(b"first"))
        first.client.close()
        eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        one.die()
        watcher.hear_status("UnpublishNotify")
        eventually(lambda: copied(other) == 0, "the copy's end")
        one.relay.close()
        one.registry.release("news")
