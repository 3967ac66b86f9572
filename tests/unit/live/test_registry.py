from __future__ import annotations

import pytest

from rtmpsrv.live.budget import UNFINISHED, WINDOWS, Budget
from tests.unit.live.fakes import FakeSink
from tests.unit.live.stage import AVC, Stage, inter, key, tone


def test_channel_exists_while_somebody_publishes_or_plays() -> None:
    stage = Stage()
    registry, channel = stage.registry, stage.channel
    assert registry.open("channel") is channel is registry.find("channel")
    sink = stage.join()
    registry.release("channel")
    channel.stop()
    registry.release("channel")
    assert registry.find("channel") is channel
    channel.leave(stage.player(sink))
    registry.release("channel")
    registry.release("channel")
    assert registry.find("channel") is None
    assert len(registry) == 0


def test_channels_may_be_released_while_they_are_gone_through() -> None:
    stage = Stage(live=False)
    stage.registry.open("other")
    for channel in stage.registry:
        stage.registry.release(channel.name)
    assert list(stage.registry) == []


def test_a_channel_made_anew_counts_on() -> None:
    stage = Stage()
    assert stage.channel.publication == 1
    stage.channel.stop()
    stage.registry.release("channel")
    channel = stage.registry.open("channel")
    channel.start("key")
    assert channel.publication == 2


def test_channels_share_no_state() -> None:
    stage = Stage()
    other = stage.registry.open("other")
    other.start("key")
    sink = stage.join()
    sink.clear()
    other.append([key("other")])
    assert sink.messages() == []


# --- the process-wide budget ----------------------------------------------------------------------


def filled(stage: Stage, name: str, count: int = 30) -> None:
    channel = stage.registry.open(name)
    if not channel.live:
        channel.start("key")
    channel.append([AVC, key(name)])
    for _ in range(count):
        channel.append([inter(bytes(1000))])
    stage.clock.advance(1)


def joined(stage: Stage, name: str) -> list[bytes]:
    """The frames that a player joining a channel is sent at once."""
    stage.channel = stage.registry.open(name)
    sink: FakeSink = stage.join()
    frames = sink.frames()
    stage.channel.leave(stage.player(sink))
    return frames


def test_oldest_cache_goes_first_and_only_it() -> None:
    stage = Stage(total_bytes=80_000, live=False)
    filled(stage, "old")
    filled(stage, "new")
    assert len(joined(stage, "old")) == 31
    filled(stage, "third")
    assert stage.used_bytes() <= 80_000
    assert joined(stage, "old") == []
    assert len(joined(stage, "new")) == 31
    assert len(joined(stage, "third")) == 31


def test_shed_channel_can_be_joined_at_its_next_keyframe() -> None:
    stage = Stage(total_bytes=80_000, live=False)
    for name in ("old", "new", "third"):
        filled(stage, name)
    stage.channel = stage.registry.open("old")
    sink = stage.join()
    stage.publish(inter("lost"), tone("goes on"), key("next"), tone("kept"))
    assert sink.frames() == [tone("goes on")[3], key("next")[3], tone("kept")[3]]


def test_backlog_of_laggards_goes_when_caches_do_not_suffice() -> None:
    stage = Stage(total_bytes=50_000, lag_bytes=1 << 20)
    sink = stage.join(room=0)
    stage.publish(AVC, key("first"))
    for number in range(100):
        stage.publish(inter(b"%03d" % number + bytes(1000)))
        assert stage.used_bytes() <= 50_000
    sink.open()
    stage.publish(inter("lost"), key("next"))
    assert sink.frames()[-1] == key("next")[3]
    assert len(sink.frames()) < 50


def test_what_nobody_needs_goes_even_from_a_segment_that_is_not_full() -> None:
    stage = Stage(cache_bytes=0, lag_bytes=1 << 20)
    stage.publish(AVC, key("first"))
    for _ in range(5):
        stage.publish(inter(bytes(20_000)))
    sink = stage.join()
    sink.room = 0
    stage.publish(inter(bytes(20_000)))
    assert stage.used_bytes() > 100_000
    stage.registry.budget.limit_bytes = 50_000
    stage.publish(tone("last"))
    assert stage.used_bytes() < 50_000
    assert stage.output().log.oldest_kept_s() is None


def test_begun_messages_keep_no_more_than_themselves_and_once() -> None:
    stage = Stage(total_bytes=50_000, lag_bytes=1 << 20)
    stage.publish(AVC, key("first"))
    sinks = [stage.join(), stage.join(), stage.join()]
    begun = inter(bytes(2000))
    for sink, room in zip(sinks, (100, 700, None), strict=True):
        sink.clear()
        sink.room = room
    stage.publish(begun)
    while stage.output().log.begin == 0:
        stage.publish(inter(bytes(5000)))
    stage.channel.skip_laggards()  # again
    assert 2000 < stage.used_bytes() < 3000
    stage.publish(inter("lost"), key("next"))
    for sink in sinks[:2]:
        sink.open()
        assert sink.frames() == [begun[3], key("next")[3]]
    assert stage.used_bytes() < 2000


def test_laggard_in_an_ended_log_is_not_moved_into_the_next_one() -> None:
    stage = Stage(total_bytes=50_000)
    stage.publish(AVC)
    sink = stage.join()
    sink.clear()
    sink.room = 0
    old = [key("0"), inter(bytes(10_000)), key("1")]
    stage.publish(*old)
    stage.channel.stop()
    stage.start("key")
    for _ in range(10):
        stage.publish(key(bytes(20_000)), key("2"))
    sink.open()
    assert sink.frames()[:3] == [message[3] for message in old]
    assert sink.told()[:3] == ["Play.UnpublishNotify", "StreamEOF", "StreamBegin"]


def test_sole_channel_over_the_total_goes_on() -> None:
    stage = Stage(total_bytes=1000)
    sink = stage.join()
    stage.publish(AVC, key(bytes(3000)), inter(bytes(3000)))
    assert stage.used_bytes() <= 1000
    assert len(sink.frames()) == 2


def test_whole_stream_is_given_back_from_its_beginning(small_segments: None) -> None:
    stage = Stage(total_bytes=8000, keep_stream=True)
    for number in range(10):
        stage.publish(key(b"%03d" % number + bytes(1000)))
    sink = stage.join(cache="clear")
    assert len(sink.frames()) == 7
    assert sink.frames()[-1] == key(b"009" + bytes(1000))[3]


# --- in this order: caches, laggards, unfinished messages -----------------------------------------


class Connection:
    """Holds unfinished messages, or others, until it is dropped."""

    def __init__(self, budget: Budget, held_bytes: int, kind: str = UNFINISHED) -> None:
        self.dropped: list[str] = []
        budget.hold(kind, self, held_bytes)

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


def in_need(limit_bytes: int) -> tuple[Stage, FakeSink, list[Connection], list[bool]]:
    """Two caches of 31 kB, a laggard that needs as much, unfinished messages of 5 and 10 kB."""
    stage = Stage()
    filled(stage, "channel")
    sink = stage.join(room=0)
    stage.output().shed()
    filled(stage, "old")
    filled(stage, "new")
    budget = stage.registry.budget
    connections = [Connection(budget, 5000), Connection(budget, 10_000)]
    budget.limit_bytes = limit_bytes
    admitted = budget.admits_publisher()
    return stage, sink, connections, [admitted, budget.used_bytes <= limit_bytes]


def test_nothing_is_given_back_while_there_is_room() -> None:
    stage, _, connections, found = in_need(1 << 20)
    assert found == [True, True]
    assert [len(joined(stage, name)) for name in ("old", "new")] == [31, 31]
    assert [one.dropped for one in connections] == [[], []]


@pytest.mark.parametrize(
    ("limit_bytes", "old", "new", "jumps", "dropped", "admitted"),
    [
        (100_000, 0, 31, 0, (0, 0), True),
        (60_000, 0, 0, 0, (0, 0), True),
        (30_000, 0, 0, 1, (0, 0), True),
        (8000, 0, 0, 1, (0, 1), True),
        (3000, 0, 0, 1, (1, 1), True),
        (100, 0, 0, 1, (1, 1), False),
    ],
)
def test_relief_goes_as_far_as_it_must(
    limit_bytes: int, old: int, new: int, jumps: int, dropped: tuple[int, int], admitted: bool
) -> None:
    stage, sink, connections, found = in_need(limit_bytes)
    assert found == [admitted, admitted]
    assert stage.player(sink).state.jumps == jumps
    assert tuple(len(one.dropped) for one in connections) == dropped
    assert all("the process holds too much" in reason for one in connections for reason in one.dropped)
    assert (len(joined(stage, "old")), len(joined(stage, "new"))) == (old, new)


@pytest.mark.parametrize(("limit_bytes", "dropped"), [(8000, (1, 0)), (2000, (1, 1))])
def test_windows_go_before_unfinished_messages(limit_bytes: int, dropped: tuple[int, int]) -> None:
    stage = Stage()
    budget = stage.registry.budget
    windows, connection = Connection(budget, 6000, WINDOWS), Connection(budget, 5000)
    budget.limit_bytes = limit_bytes
    assert budget.admits_publisher()
    assert (len(windows.dropped), len(connection.dropped)) == dropped


def test_description_has_the_budget_and_each_channel() -> None:
    stage = Stage()
    stage.registry.open("waiting")
    stage.publish(AVC, key("0"))
    about = stage.registry.describe()
    assert about["budget"] == stage.registry.budget.describe()
    assert about["channels"] == [channel.describe() for channel in stage.registry]
    assert [one["name"] for one in about["channels"]] == ["channel", "waiting"]
