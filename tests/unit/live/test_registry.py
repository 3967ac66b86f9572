from __future__ import annotations

from tests.unit.live.stage import AVC, FakeSink, Stage, inter, key, tone


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
    assert stage.registry.budget.used_bytes <= 80_000
    assert joined(stage, "old") == []
    assert len(joined(stage, "new")) == 31
    assert len(joined(stage, "third")) == 31


def test_shed_channel_can_be_joined_at_its_next_keyframe() -> None:
    stage = Stage(total_bytes=80_000, live=False)
    for name in ("old", "new", "third"):
        filled(stage, name)
    stage.channel = stage.registry.open("old")
    sink = stage.join()
    stage.publish(inter("lost"), tone("lost"), key("next"), tone("kept"))
    assert sink.frames() == [key("next")[3], tone("kept")[3]]


def test_backlog_of_laggards_goes_when_caches_do_not_suffice() -> None:
    stage = Stage(total_bytes=50_000, lag_bytes=1 << 20)
    sink = stage.join(room=0)
    stage.publish(AVC, key("first"))
    for number in range(100):
        stage.publish(inter(b"%03d" % number + bytes(1000)))
        assert stage.registry.budget.used_bytes <= 50_000
    sink.open()
    stage.publish(inter("lost"), key("next"))
    assert sink.frames()[-1] == key("next")[3]
    assert len(sink.frames()) < 50


def test_laggard_in_an_ended_log_is_not_moved_into_the_next_one() -> None:
    stage = Stage(total_bytes=50_000)
    stage.publish(AVC)
    sink = stage.join()
    sink.clear()
    sink.room = 0
    old = [key("0"), inter(bytes(10_000)), key("1")]
    stage.publish(*old)
    stage.channel.stop()
    stage.channel.start("key")
    for _ in range(10):
        stage.publish(key(bytes(20_000)), key("2"))
    sink.open()
    assert sink.frames()[:3] == [message[3] for message in old]
    assert sink.told()[:3] == ["Play.UnpublishNotify", "StreamEOF", "StreamBegin"]


def test_sole_channel_over_the_total_goes_on() -> None:
    stage = Stage(total_bytes=1000)
    sink = stage.join()
    stage.publish(AVC, key(bytes(3000)), inter(bytes(3000)))
    assert stage.registry.budget.used_bytes <= 1000
    assert len(sink.frames()) == 2


def test_whole_stream_is_given_back_from_its_beginning() -> None:
    stage = Stage(total_bytes=8000, keep_stream=True)
    for number in range(10):
        stage.publish(key(b"%03d" % number + bytes(1000)))
    sink = stage.join(cache="clear")
    assert len(sink.frames()) == 7
    assert sink.frames()[-1] == key(b"009" + bytes(1000))[3]
