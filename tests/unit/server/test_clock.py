from __future__ import annotations

from time import monotonic

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.server import clock as clock_module
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.load import CALM_SAMPLE_S, SAMPLE_S

PATIENCE_S = 5.0  # for what happens at once


def test_now_is_monotonic_time() -> None:
    before = monotonic()
    assert before <= LoopClock().now() <= monotonic()


def test_callback_runs_in_the_hub_and_once() -> None:
    ran = Event()
    calls: list[object] = []

    def callback() -> None:
        calls.append(gevent.getcurrent())
        ran.set()

    timer = LoopClock().call_later(-0.1, callback)  # what is overdue comes at once
    assert calls == []
    assert ran.wait(PATIENCE_S)
    gevent.idle()
    assert calls == [gevent.get_hub()]
    del timer


def test_a_timer_counts_from_now_and_not_from_when_the_loop_woke() -> None:
    began, rang = [0.0], Event()
    clock = LoopClock()
    timers: list[object] = []

    def work() -> None:
        until = monotonic() + 0.05
        while monotonic() < until:
            pass
        began[0] = monotonic()
        timers.append(clock.call_later(0.02, rang.set))

    timers.append(clock.call_later(0.0, work))
    assert rang.wait(PATIENCE_S)
    assert monotonic() - began[0] >= 0.02


def test_the_load_is_sampled_while_timers_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clock_module, "monotonic", lambda: now[0])
    monkeypatch.setattr(clock_module, "process_time", lambda: now[0] * 0.5)
    clock = LoopClock()
    assert clock.pressure == 0.0
    for _ in range(60):
        timer = clock.call_later(1.0, lambda: None)
        now[0] += SAMPLE_S
        clock.sample()
        timer.stop()
    assert clock.pressure == pytest.approx(0.25, abs=0.015)


def test_a_timer_takes_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "sample_s", lambda share: 0.001)
    looks = Event()

    def process_time() -> float:
        looks.set()
        return 0.0

    clock = LoopClock()
    monkeypatch.setattr(clock_module, "process_time", process_time)
    clock.call_later(0.0, lambda: None)
    assert looks.wait(PATIENCE_S)


def test_the_timer_goes_by_how_busy_the_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_s, seconds = [0.0], [100.0]
    monkeypatch.setattr(clock_module, "process_time", lambda: cpu_s[0])
    monkeypatch.setattr(clock_module, "monotonic", lambda: seconds[0])
    clock = LoopClock()
    clock.call_later(0.0, lambda: None)
    assert clock._sample_s == CALM_SAMPLE_S
    for share, expected_s in ((1.0, SAMPLE_S), (0.0, CALM_SAMPLE_S)):
        sampler = clock._sampler
        seconds[0] += CALM_SAMPLE_S
        cpu_s[0] += CALM_SAMPLE_S * share
        clock.sample()
        assert clock._sample_s == expected_s
        assert clock._sampler is not sampler
        assert clock._sampler.active
    sampler = clock._sampler
    clock.sample()
    assert clock._sampler is sampler


def test_nothing_is_sampled_when_nobody_uses_timers() -> None:
    clock = LoopClock()
    clock.call_later(0.0, lambda: None)
    clock.pressure = 0.7
    for _ in range(int(clock_module.IDLE_S / CALM_SAMPLE_S) + 1):
        assert clock._sampler is not None
        clock.sample()
    assert clock._sampler is None
    assert clock.pressure == 0.0
    clock.call_later(0.0, lambda: None)
    assert clock._sampler is not None
