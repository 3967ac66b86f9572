from __future__ import annotations

import time

from rtmpsrv.monitor.lag import LoopLag
from tests.unit.server.stage import eventually


def test_a_loop_that_was_held_up_is_noted() -> None:
    noted: list[float] = []
    lag = LoopLag(noted.append, 0.01)
    lag.start()
    lag.start()
    eventually(lambda: noted, "a first note")
    noted.clear()
    blocks_until = time.monotonic() + 0.1
    while time.monotonic() < blocks_until:
        pass  # what a switch of greenlets would not do: keep the loop
    eventually(lambda: noted, "a note of it")
    assert noted[0] >= 0.08
    lag.stop()
    lag.stop()
    count = len(noted)
    eventually(lambda: True)
    assert len(noted) == count


def test_it_is_noted_as_seldom_as_was_asked_for() -> None:
    noted: list[float] = []
    began = time.monotonic()
    lag = LoopLag(noted.append, 0.01)
    lag.start()
    eventually(lambda: len(noted) >= 5)
    lag.stop()
    assert len(noted) <= (time.monotonic() - began) / 0.01 + 1
