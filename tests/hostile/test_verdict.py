"""The judgement itself: each limit can be passed, and nothing is over where all is well."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from .good import BITRATE, FPS, GOP, audio, number_of, sizes, video
from .verdict import (
    DESCRIPTORS,
    DESCRIPTORS_LEFT,
    EVERYTHING,
    GROWTH_MB,
    JOIN_S,
    LEFT_MB,
    P99_MS,
    TIMES,
    Over,
    Sample,
    Seen,
    judge,
    percentile,
)
from .wire import Reader, Received, message

BEFORE = Sample(0.0, 100.0, 20, 1.0)


def seen() -> Seen:
    """Return what is at every limit, and over none."""
    return Seen(
        began=0.0,
        ended=5.0,
        before=BEFORE,
        during=[Sample(1.0, 100.0 + GROWTH_MB, 20 + DESCRIPTORS, 2.0)],
        after=Sample(5.0, 100.0 + LEFT_MB, 20 + DESCRIPTORS_LEFT, 3.0),
        delays_s=[0.001] * 98 + [P99_MS / 1e3, 9.0],
        joins_s=[0.01, JOIN_S],
    )


def test_at_the_limits_nothing_is_over() -> None:
    verdict = judge(seen())
    assert verdict.over == frozenset()
    assert "OVER" not in str(verdict)


def more_than(delays_s: list[float]) -> None:
    delays_s[-2] += 0.001


CHANGES: dict[Over, Callable[[Seen], None]] = {
    Over.LATENCY: lambda one: more_than(one.delays_s),
    Over.JOIN_TIME: lambda one: one.joins_s.append(JOIN_S + 0.01),
    Over.JOIN: lambda one: one.failed_joins.append("join: refused"),
    Over.LOST: lambda one: one.delays_s.__setitem__(-1, math.inf),
    Over.DOUBLED: lambda one: setattr(one, "doubled", 1),
    Over.CLOSED: lambda one: one.closed.append("play: end of stream"),
    Over.GROWTH: lambda one: one.during.append(Sample(2.0, 101.0 + GROWTH_MB, 20, 2.0)),
    Over.LEFT: lambda one: setattr(one, "after", Sample(5.0, 101.0 + LEFT_MB, 20, 3.0)),
    Over.DESCRIPTORS: lambda one: one.during.append(Sample(2.0, 100.0, 21 + DESCRIPTORS, 2.0)),
    Over.DESCRIPTORS_LEFT: lambda one: setattr(one, "after", Sample(5.0, 100.0, 21 + DESCRIPTORS_LEFT, 3.0)),
    Over.LOG: lambda one: setattr(one, "tracebacks", 1),
    Over.DIED: lambda one: setattr(one, "alive", False),
    Over.COMPLAINT: lambda one: one.complaints.append("cut"),
}


@pytest.mark.parametrize("limit", Over)
def test_each_limit_can_be_passed_alone(limit: Over) -> None:
    one = seen()
    CHANGES[limit](one)
    verdict = judge(one)
    assert verdict.over == {limit}
    assert limit.value in str(verdict)
    assert verdict.only_times == (limit in TIMES)
    assert judge(one, EVERYTHING - {limit}).over == frozenset()


def test_a_time_over_beside_something_else_is_not_tried_again() -> None:
    one = seen()
    CHANGES[Over.LATENCY](one)
    CHANGES[Over.LOST](one)
    assert not judge(one).only_times


def test_the_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.99) == 1.0
    assert percentile([], 0.99) == math.inf


def test_the_good_stream_has_its_bitrate_and_its_numbers() -> None:
    size = sizes()
    ticks = range(GOP)
    total = sum(len(video(tick, size[tick % GOP == 0])) + len(audio(tick)) for tick in ticks)
    assert total * 8 / (GOP / FPS) == pytest.approx(BITRATE, rel=0.01)
    assert [number_of(Received(9, video(tick, size[tick % GOP == 0]))) for tick in ticks] == list(
        range(0, 2 * GOP, 2)
    )
    assert [number_of(Received(8, audio(tick))) for tick in ticks] == list(range(1, 2 * GOP, 2))
    assert number_of(Received(9, b"\x17\x00\x00\x00\x00header")) is None


@pytest.mark.parametrize("piece", [1, 3, 7, 100_000])
def test_the_reader_puts_messages_together_wherever_they_are_cut(piece: int) -> None:
    data = message(9, b"a" * 300, csid=6) + message(1, (5000).to_bytes(4, "big"), 0, csid=2)
    data += message(8, b"b" * 4000, size=5000) + message(8, b"")
    reader = Reader()
    found: list[Received] = []
    for start in range(0, len(data), piece):
        found += reader.feed(data[start : start + piece])
    assert [(one.type_id, len(one.payload)) for one in found] == [(9, 300), (1, 4), (8, 4000), (8, 0)]
