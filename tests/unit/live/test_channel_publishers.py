"""Publishers come and go; players stay."""

from __future__ import annotations

import pytest

from rtmpsrv.live.news import News
from tests.unit.live.stage import (
    AAC_2,
    AVC,
    AVC_2,
    HEADERS,
    STARTED,
    UNPUBLISHED,
    Stage,
    inter,
    joined_frames,
    key,
    payloads,
    tone,
)

# --- publishers come and go -----------------------------------------------------------------------


def test_waiting_player_is_told_nothing_until_it_is_started() -> None:
    stage = Stage(live=False)
    sink = stage.join(key="key")
    assert sink.received == b""
    stage.start("key")
    assert sink.told() == STARTED
    stage.publish(AVC, key("0"))
    assert sink.frames() == payloads(key("0"))


def test_waiting_player_with_another_key_is_refused() -> None:
    stage = Stage(live=False)
    good, bad = stage.join(key="schlüssel\udcff"), stage.join(key="other")
    stage.start("schlüssel\udcff")
    assert good.told() == STARTED
    assert bad.received == b""
    assert stage.news() == [(News.REFUSED, bad)]
    assert stage.channel.players == {good.player}


def test_keys_are_compared_only_where_there_are_any() -> None:
    stage = Stage(live=False)
    assert stage.channel.contents.accepts_key("any")
    stage.start("key")
    assert stage.channel.contents.accepts_key("key")
    assert not stage.channel.contents.accepts_key("any")
    assert stage.join(key=None).told() == STARTED
    stage.channel.stop()
    stage.start()
    assert stage.join(key="any").told() == STARTED


def test_players_are_told_of_the_end_and_wait(can_sendfile: bool) -> None:
    stage = Stage()
    sinks = [
        stage.join(can_sendfile=can_sendfile),
        stage.join(can_sendfile=can_sendfile, msid=3),
        stage.join(can_sendfile=can_sendfile),
    ]
    stage.publish(*HEADERS, key("0"))
    stage.pause(stage.player(sinks[2]))
    for sink in sinks:
        sink.clear()
    stage.channel.stop()
    stage.channel.stop()
    assert [sink.told() for sink in sinks] == [UNPUBLISHED] * 3
    assert all(stage.player(sink).state.waiting for sink in sinks)
    assert not stage.channel.live


def test_rest_of_the_log_is_sent_before_the_end() -> None:
    stage = Stage(merge_messages=100)
    sink = stage.join()
    stage.publish(AVC, key("0"))
    stage.clock.advance(1)
    sink.cost_s = 1.0
    stage.publish(inter("1"))
    stage.publish(inter("2"))
    stage.channel.stop()
    assert sink.frames() == payloads(key("0"), inter("1"), inter("2"))
    assert sink.told() == STARTED + UNPUBLISHED


def test_nothing_is_relayed_off_the_air() -> None:
    stage = Stage()
    sink = stage.join()
    stage.channel.stop()
    sink.clear()
    stage.publish(key("0"))
    assert sink.received == b""
    assert stage.join().received == b""


def test_laggard_reads_the_old_log_to_its_end_before_it_is_told(can_sendfile: bool) -> None:
    stage = Stage()
    sink = stage.join(can_sendfile=can_sendfile)
    stage.publish(*HEADERS)
    sink.clear()
    sink.room = 30
    sent = [key("0"), inter("1"), key("2"), tone("3")]
    stage.publish(*sent)
    stage.channel.stop()
    assert len(sink.received) == 30
    sink.open(50)
    sink.open()
    assert sink.frames() == payloads(*sent)
    assert sink.told() == UNPUBLISHED
    assert stage.player(sink).state.waiting


def test_laggard_in_the_old_log_is_started_anew_by_the_next_publisher(can_sendfile: bool) -> None:
    stage = Stage()
    sink = stage.join(can_sendfile=can_sendfile)
    stage.publish(AVC)
    sink.clear()
    sink.room = 30
    old = [key("0"), inter("1"), key("2"), tone("3")]
    stage.publish(*old)
    stage.channel.stop()
    stage.start("key")
    new = [key("4"), inter("5")]
    stage.publish(AAC_2, AVC_2, *new)
    sink.open(50)
    sink.open()
    assert sink.frames() == payloads(*old, *new)
    assert sink.told() == [*UNPUBLISHED, *STARTED]
    stage.publish(inter("6"))
    assert sink.frames()[-1] == inter("6")[3]
    assert stage.follows(sink)


def test_laggard_in_the_old_log_with_another_key_is_refused_at_its_end() -> None:
    stage = Stage()
    sink = stage.join(key="key")
    stage.publish(AVC)
    sink.room = 0
    stage.publish(key("0"))
    stage.channel.stop()
    stage.start("other")
    assert stage.news() == []
    sink.open()
    assert sink.told()[-2:] == UNPUBLISHED
    assert stage.news() == [(News.REFUSED, sink)]


def test_new_publisher_inherits_nothing() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    stage.channel.stop()
    stage.start("key")
    assert stage.join().media() == []
    stage.publish(tone("1"))
    assert joined_frames(stage) == payloads(tone("1"))
    assert stage.channel.publication == 2


def test_ended_publication_gives_its_memory_back() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key(bytes(5000)))
    stage.channel.stop()
    stage.start()
    assert stage.used_bytes() == 0


def test_second_publisher_at_a_time_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="one publisher"):
        Stage().start()
