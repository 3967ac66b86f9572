"""Several recorders share a turn; when it is over, everybody else has one."""

from __future__ import annotations

from rtmpsrv.record.pace import REST_S, TURN_S, Pace


def test_turn_is_shared_until_it_is_over() -> None:
    now = [0.0]
    slept: list[float] = []
    pace = Pace(lambda: now[0], slept.append)
    pace.wait()
    now[0] += TURN_S / 2
    pace.wait()
    assert slept == [REST_S]
    now[0] += TURN_S / 2
    pace.wait()
    pace.wait()
    assert slept == [REST_S, REST_S]


def test_waiting_ends() -> None:
    Pace().wait()
