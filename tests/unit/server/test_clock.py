from __future__ import annotations

from time import monotonic

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.server import clock as clock_module
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.load import SAMPLE_S

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
    monkeypatch.setattr(clock_module, "SAMPLE_S", 0.001)
    looks = Event()

    def process_time() -> float:
        looks.set()
        return 0.0

    clock = LoopClock()
    monkeypatch.setattr(clock_module, "process_time", process_time)
    clock.call_later(0.0, lambda: None)
    assert looks.wait(PATIENCE_S)


def test_nothing_is_sampled_when_nobody_uses_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "SAMPLE_S", 1000.0)
    clock = LoopClock()
    clock.call_later(0.0, lambda: None)
    clock.pressure = 0.7
    for _ in range(clock_module.IDLE_SAMPLES + 1):
        assert clock._sampler is not None
        clock.sample()
    assert clock._sampler is None
    assert clock.pressure == 0.0
    clock.call_later(0.0, lambda: None)
    assert clock._sampler is not None
