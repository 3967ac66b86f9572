from __future__ import annotations

import pytest

from rtmpsrv.live import fanout
from rtmpsrv.live.fanout import FanOut
from rtmpsrv.live.player import Player
from rtmpsrv.live.segment import Budget, Segment
from tests.unit.live.stage import FakeClock, FakeSink

CLOCK = FakeClock()


def log(*messages: bytes) -> Segment:
    segment = Segment(0, 0, (), Budget(1 << 20))
    for message in messages:
        segment.append(message, 1, 0.0)
    return segment


def member(lane: FanOut, position: int = 0, *, tls: bool = False, room: int | None = None) -> FakeSink:
    sink = FakeSink(CLOCK, not tls, room)
    sink.player = Player(sink, 1)
    lane.add(sink.player, position)
    return sink


def test_all_get_the_bytes_of_all_ranges() -> None:
    lane = FanOut()
    sinks = [member(lane), member(lane, tls=True), member(lane)]
    first, second = log(b"one", b"two"), log(b"three")
    assert lane.send([(first, 3, 3), (second, 0, 5)], [b"two", b"three"]) == []
    assert [bytes(sink.received) for sink in sinks] == [b"twothree"] * 3


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("room", [0, 2, 3, 5])
def test_who_takes_less_is_told_with_how_much_and_delays_nobody(
    in_file: bool, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "SENDFILE_BYTES", 0 if in_file else 1 << 30)
    lane = FanOut()
    slow, fine = member(lane, room=room), member(lane)
    late = lane.send([(log(b"one"), 0, 3), (log(b"two"), 0, 3)], [b"one", b"two"])
    assert late == [(slow.player, room)]
    assert bytes(slow.received) == b"onetwo"[:room]
    assert bytes(fine.received) == b"onetwo"


def test_a_tls_sink_keeps_what_it_does_not_get_rid_of() -> None:
    lane = FanOut()
    slow = member(lane, tls=True, room=2)
    assert lane.send([(log(b"one"), 0, 3)], [b"one"]) == [(slow.player, 3)]


def test_bytes_sent_past_the_sink_are_counted_when_the_player_leaves() -> None:
    lane = FanOut()
    early, tls = member(lane, 10), member(lane, 10, tls=True)
    late = member(lane, 13)
    lane.send([(log(b"three"), 0, 5)], [b"three"])
    for sink in (early, late, tls, early):
        assert sink.player is not None
        lane.remove(sink.player, 18)
        assert not sink.player.following
    assert (early.sent_bytes, late.sent_bytes, tls.sent_bytes) == (8, 5, 5)
    assert lane.players() == []


def test_only_those_who_join_many_let_small_writes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "COALESCE_FROM", 2)
    lane = FanOut()
    sinks = [member(lane), member(lane, tls=True), member(lane), member(lane, tls=True)]
    assert [sink.coalescing for sink in sinks] == [False, False, True, True]
