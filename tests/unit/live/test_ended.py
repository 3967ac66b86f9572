"""Publications that are over are kept for those who read them, and for nobody else."""

from __future__ import annotations

from rtmpsrv.live.ended import Ended
from rtmpsrv.live.output import Output
from tests.unit.live.fakes import FakeSink
from tests.unit.live.stage import AVC, Stage, key


def lagging() -> tuple[Output, FakeSink, Stage]:
    """An output with one player that has not read all."""
    stage = Stage()
    sink = stage.join()
    sink.room = 0
    stage.publish(AVC, key("0"))
    return stage.output(), sink, stage


def test_what_is_kept_is_found_by_its_number() -> None:
    ended = Ended()
    assert (len(ended), ended.newest, ended.find(1)) == (0, 0, None)
    output, _, _ = lagging()
    ended.keep(output)
    assert (len(ended), ended.newest) == (1, 1)
    assert ended.find(1) is output
    assert list(ended) == [output]
    assert ended.take(1) is output
    assert len(ended) == 0


def test_what_nobody_reads_is_dropped() -> None:
    ended = Ended()
    output, sink, stage = lagging()
    ended.keep(output)
    ended.drop()
    assert len(ended) == 1
    stage.channel.leave(stage.player(sink))
    ended.drop()
    assert len(ended) == 0


def test_players_are_let_go_of() -> None:
    ended = Ended()
    assert ended.release(1) == []
    output, sink, stage = lagging()
    ended.keep(output)
    assert ended.release(1) == [stage.player(sink)]
    assert len(output.audience) == 0
    ended.clear()
    assert ended.find(1) is None


def test_nothing_is_held_for_players_of_one_that_was_replaced() -> None:
    ended = Ended()
    output, sink, stage = lagging()
    stage.channel.leave(stage.player(sink))
    output.hold(1)
    ended.keep(output)
    other, _, _ = lagging()
    ended.keep(other)
    assert list(ended) == [other]
    assert not output.is_needed
    assert stage.clock.timers == []
