from __future__ import annotations

import gc
import platform
from itertools import pairwise
from typing import cast

import pytest

from rtmpsrv.server import trim
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.trim import DELAY_S, MUCH_BYTES, Trim, keep_large_blocks_apart, tune_collector
from tests.unit.live.fakes import FakeClock


def test_the_heap_is_trimmed_once_some_time_after_much_was_freed() -> None:
    clock, trims = FakeClock(), list[float]()
    trimmer = Trim(cast(LoopClock, clock), lambda: trims.append(clock.now()))
    trimmer.freed(MUCH_BYTES - 1)
    clock.advance(2 * DELAY_S)
    assert trims == []
    for _ in range(3):
        trimmer.freed(MUCH_BYTES)
    clock.advance(2 * DELAY_S)
    assert len(trims) == 1
    for _ in range(2):  # several that are small are much, too
        trimmer.freed(MUCH_BYTES // 2)
    clock.advance(2 * DELAY_S)
    assert len(trims) == 2


def test_the_longer_it_took_the_longer_it_rests() -> None:
    clock, trims = FakeClock(), list[float]()

    def trim() -> None:
        trims.append(clock.now())
        clock.time_s += 0.1

    trimmer = Trim(cast(LoopClock, clock), trim)
    for _ in range(20):
        trimmer.freed(MUCH_BYTES)
        clock.advance(DELAY_S)
    assert [round(after - before) for before, after in pairwise(trims)] == [5, 5, 5]


def test_trimming_is_asked_of_the_c_library() -> None:
    trim._trim()  # does nothing where there is no such function, and raises nothing anywhere


def test_large_blocks_are_kept_apart_where_the_c_library_is_glibc() -> None:
    assert keep_large_blocks_apart() is (platform.libc_ver()[0] == "glibc")


def test_the_collector_looks_seldom_at_what_is_made_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    monkeypatch.setattr(gc, "set_threshold", lambda *thresholds: done.append(thresholds))
    tune_collector()
    assert done == ["collect", "freeze", trim.COLLECTOR_THRESHOLDS]
