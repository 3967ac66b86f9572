"""What a log lets go of, and what it counts."""

from __future__ import annotations

import pytest

from rtmpsrv.live import log as module
from rtmpsrv.live.budget import Budget
from rtmpsrv.live.header_history import Headers
from rtmpsrv.live.log import MESSAGE_OVERHEAD, SEGMENT_BYTES
from rtmpsrv.live.segment import AUDIO, INDEX_BYTES
from tests.unit.live.logs import add, add_keyframe, empty, three_segments

HEADERS_1: Headers = ((8, b"one"),)


# --- letting go -----------------------------------------------------------------------------------


def test_trim_leaves_what_the_cache_needs() -> None:
    log = three_segments()
    assert not log.may_trim()
    log.trim(None)
    assert log.read(0, 60) == b"\0" * 10 + b"\1" * 20 + b"\2" * 30
    log.keep_from_joint()
    assert log.may_trim()
    log.trim(None)
    assert not log.may_trim()
    assert log.describe()["held_bytes"] == 30
    assert log.number_at(30) == 2
    assert log.read(30, 60) == b"\2" * 30


@pytest.mark.parametrize(("lowest", "held_bytes"), [(0, 60), (9, 60), (10, 50), (29, 50), (30, 30), (60, 30)])
def test_trim_leaves_what_laggards_need(lowest: int, held_bytes: int) -> None:
    log = three_segments()
    log.forget()
    log.trim(lowest)
    assert log.describe()["held_bytes"] == held_bytes


def test_trim_leaves_what_was_not_flushed() -> None:
    log = empty()
    add(log, 10)
    log.append(b"waits", AUDIO, 0, 0.0, 5)
    log.cut()
    log.forget()
    log.trim(None)
    assert log.read(10, 15) == b"waits"
    log.take_unsent()
    log.trim(None)
    assert log.describe()["held_bytes"] == 0
    assert log.is_boundary(log.end)


def test_shedding_gives_back_the_oldest_segment_then_all() -> None:
    log = three_segments()
    firsts = []
    while log.first < log.end:
        log.shed()
        firsts.append(log.first)
    assert firsts == [10, 30, 60]
    assert (log.joint, log.keyframe) == (None, None)
    log.trim(None)
    assert log.describe() == {
        "bytes": 60, "messages": 3, "cache_bytes": 0, "held_bytes": 0, "segments": 1, "joinable": False,
    }  # fmt: skip
    log.shed()
    assert log.describe()["segments"] == 1


def test_shedding_leaves_joiners_what_they_need_of_a_segment() -> None:
    log = empty()
    add_keyframe(log, 10, keep_stream=True)
    add_keyframe(log, 20, keep_stream=True)
    log.shed()
    assert (log.first, log.joint) == (10, 10)
    log.shed()
    assert (log.first, log.joint) == (30, None)


def test_whole_stream_over_its_limit_loses_its_oldest_segments(small_segments: None) -> None:
    log = empty(10_000)
    for _ in range(200):
        add_keyframe(log, 100, keep_stream=True)
        log.trim(None)
        assert log.end - log.first <= 10_000
    assert log.joint == log.keyframe == log.end - 100
    assert log.end - log.first > 3000  # with 65 for each message
    assert log.is_boundary(log.first)


# --- the budget -----------------------------------------------------------------------------------


def test_bytes_index_and_headers_are_counted_until_everything_is_dropped() -> None:
    budget = Budget(1 << 30)
    log = empty(budget=budget)
    log.headers.note(log.end, HEADERS_1)
    add(log, 10, 20)
    assert budget.used_bytes == 3  # the rest is counted in portions
    log.cut()
    assert budget.used_bytes == 3 + 30 + 2 * INDEX_BYTES
    add(log, module.COUNTED_FROM_BYTES)
    assert budget.used_bytes == 3 + 30 + module.COUNTED_FROM_BYTES + 3 * INDEX_BYTES
    add(log, 5)
    log.close()
    assert budget.used_bytes == 3 + 35 + module.COUNTED_FROM_BYTES + 4 * INDEX_BYTES
    part = log.parts(0, 10)[0]
    del log
    assert budget.used_bytes == 30 + 2 * INDEX_BYTES  # somebody still reads it
    del part
    assert budget.used_bytes == 0


@pytest.mark.parametrize("size", [1, 26, 1000])
def test_tiny_keyframes_make_few_segments(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # All sizes are a 256th of the real ones: a cache of 256 MiB, that is.
    monkeypatch.setattr(module, "SEGMENT_BYTES", SEGMENT_BYTES // 256)
    budget = Budget(1 << 30)
    log = empty((256 << 20) // 256, budget)
    most = 0
    for _ in range(3_000_000 // (size + MESSAGE_OVERHEAD)):
        add_keyframe(log, size, keep_stream=True)
        if log.may_trim():
            log.trim(None)
        most = max(most, log.describe()["segments"])
    assert log.first > 0
    assert 4 < most <= 64


def test_a_laggard_keeps_few_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", SEGMENT_BYTES // 256)
    log = empty()
    lag_bytes = 2 * (8 << 20) // 256  # twice the default allowance
    most = 0
    for _ in range(20_000):
        add_keyframe(log, 26)
        log.trim(max(0, log.end - lag_bytes))
        most = max(most, log.describe()["segments"])
    assert most <= 16
