"""What is made of an output beside."""

from __future__ import annotations

from tests.unit.live.flv_viewers import media, view
from tests.unit.live.stage import HEADERS, Stage, inter, key, spare_bytes, tone

FIRST = (*HEADERS, key("0"), tone("a", 5))


def test_nothing_is_there_that_nobody_asked_for() -> None:
    stage = Stage()
    stage.publish(*FIRST)
    stage.join()
    stage.clock.advance(1)
    stage.publish(inter("1", 40))
    assert stage.output().beside is None
    stage.output().shed_aside()
    assert stage.output().log.oldest_kept_s() == stage.clock.time_s - 1


def test_reading_and_viewer_each_keep_it() -> None:
    stage = Stage()
    stage.publish(*FIRST)
    reading = stage.channel.subscribe(lambda: None)
    sink = view(stage)
    beside = stage.output().beside
    assert beside is not None
    assert (beside.players, beside.is_needed) == (1, True)
    assert beside.flv is not None
    assert beside.flv.contents is stage.channel.contents
    stage.channel.leave(stage.player(sink))
    stage.clock.advance(1)
    stage.publish(inter("1", 40))
    stage.clock.advance(6)
    stage.publish(inter("2", 80))
    assert (beside.players, beside.is_needed) == (0, True)
    assert spare_bytes(stage.output()) == 0
    beside.forget(stage.player(sink))
    reading.close()
    assert (beside.players, beside.is_needed) == (0, False)
    assert beside.lowest(7) == 7
    assert beside.lowest(None) is None


def test_the_reading_furthest_behind_counts() -> None:
    stage = Stage()
    stage.publish(*FIRST)
    reading = stage.channel.subscribe(lambda: None)
    beside = stage.output().beside
    assert beside is not None
    assert beside.lowest(None) == beside.lowest(1 << 30) == reading.position
    assert beside.lowest(0) == 0


def test_a_second_viewer_shares_the_log_of_the_first() -> None:
    stage = Stage()
    stage.publish(*FIRST)
    sinks = [view(stage), view(stage)]
    beside = stage.output().beside
    assert beside is not None
    flv = beside.flv
    stage.publish(inter("1", 40))
    assert beside.flv is flv
    assert media(sinks[0]) == media(sinks[1])
