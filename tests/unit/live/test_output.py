"""When an output sends."""

from __future__ import annotations

import pytest

from rtmpsrv.live.schedule import (
    DEAR_FLUSH_S,
    FULL_REST_FACTOR,
    LEEWAY_S,
    MAX_REST_S,
    MAX_WAIT_S,
    REST_FACTOR,
)
from tests.unit.live.fakes import FakeSink
from tests.unit.live.stage import AVC, Stage, inter, key, payloads, tone

# --- merging --------------------------------------------------------------------------------------


def merging(sink_cost_s: float, merge_messages: int = 1000) -> tuple[Stage, FakeSink]:
    """A channel whose last flushes took `sink_cost_s` and are just over; its follower forgot about them."""
    stage = Stage(merge_messages=merge_messages)
    sink = stage.join()
    stage.publish(AVC)
    stage.clock.advance(1)
    sink.cost_s = sink_cost_s
    stage.publish(key("0"))
    stage.clock.advance(1)
    stage.publish(key("0"))
    sink.cost_s = 0.0
    sink.clear()
    return stage, sink


def test_cheap_flush_makes_nobody_wait() -> None:
    stage, sink = merging(0.0)
    stage.publish(inter("1"))
    assert sink.frames() == payloads(inter("1"))
    assert stage.clock.timers == []


@pytest.mark.parametrize("took_s", [0.0005, 0.001])
def test_next_flush_rests_in_proportion_to_the_last(took_s: float) -> None:
    stage, sink = merging(took_s)
    stage.publish(inter("1"), inter("2"))
    stage.clock.advance(took_s * REST_FACTOR - 0.0001)
    assert sink.frames() == []
    sends = sink.sends
    stage.clock.advance(0.0002)
    assert sink.frames() == payloads(inter("1"), inter("2"))
    assert sink.sends == sends + 1


def test_message_that_comes_after_the_rest_goes_at_once() -> None:
    stage, sink = merging(0.001)
    stage.clock.advance(0.001 * REST_FACTOR)
    stage.publish(inter("1"))
    assert sink.frames() == payloads(inter("1"))
    assert stage.clock.timers == []


def test_the_rest_is_shorter_than_a_frame_while_flushes_are_not_dear() -> None:
    stage, sink = merging(DEAR_FLUSH_S * 0.99)
    stage.publish(inter("1"))
    stage.clock.advance(MAX_REST_S - 0.0001)
    assert sink.frames() == []
    stage.clock.advance(0.0002)
    assert sink.frames() == payloads(inter("1"))


def test_keyframe_that_took_long_makes_the_next_flush_wait_no_longer() -> None:
    stage, sink = merging(0.001)
    stage.clock.advance(1)
    sink.cost_s = 0.02
    stage.publish(key("dear"))
    sink.cost_s = 0.0
    stage.clock.advance(0.001 * REST_FACTOR)
    stage.publish(inter("1"))
    assert sink.frames() == payloads(key("dear"), inter("1"))


def test_what_waits_goes_before_a_keyframe_and_that_soon_after() -> None:
    stage, sink = merging(0.004)
    stage.publish(inter("1"))
    stage.clock.advance(0.004 * FULL_REST_FACTOR + 0.0001)
    assert sink.frames() == []
    sink.cost_s = 0.004
    stage.batch([tone("2"), key("3")])
    assert sink.frames() == payloads(inter("1"), tone("2"))
    stage.clock.advance(0.004 * FULL_REST_FACTOR + 0.0001)
    assert sink.frames() == payloads(inter("1"), tone("2"), key("3"))


def test_no_message_waits_longer_than_the_most() -> None:
    stage, sink = merging(0.01)
    stage.publish(inter("1"))
    stage.clock.advance(0.03)
    stage.publish(inter("2"))
    assert sink.frames() == []
    stage.clock.advance(MAX_WAIT_S + LEEWAY_S - 0.0301)
    assert sink.frames() == []
    stage.clock.advance(0.0002)
    assert sink.frames() == payloads(inter("1"), inter("2"))


def test_a_message_that_comes_within_the_leeway_goes_with_the_others() -> None:
    stage, sink = merging(0.01)
    stage.publish(inter("1"))
    stage.clock.advance(MAX_WAIT_S + LEEWAY_S / 2)
    assert sink.frames() == []
    stage.publish(inter("2"))
    assert sink.frames() == payloads(inter("1"), inter("2"))
    assert stage.clock.timers == []


def test_so_many_messages_are_merged_and_no_more() -> None:
    stage, sink = merging(0.004, merge_messages=3)
    stage.publish(inter("1"), inter("2"))
    stage.clock.advance(0.004 * FULL_REST_FACTOR)
    assert sink.frames() == []
    stage.publish(inter("3"))
    assert sink.frames() == payloads(inter("1"), inter("2"), inter("3"))


def test_many_messages_are_merged_further_while_flushes_are_dear() -> None:
    stage, sink = merging(0.004, merge_messages=3)
    stage.publish(inter("1"), inter("2"), inter("3"), inter("4"))
    assert sink.frames() == []
    stage.clock.advance(0.004 * FULL_REST_FACTOR + 0.0001)
    assert sink.frames() == payloads(inter("1"), inter("2"), inter("3"), inter("4"))


def test_messages_of_one_read_are_flushed_together() -> None:
    stage = Stage()
    sink = stage.join()
    sends = sink.sends
    stage.batch([AVC, tone("0"), tone("1")])
    stage.batch([])
    assert len(sink.frames()) == 2
    assert sink.sends <= sends + 2  # the header begins a segment of its own
