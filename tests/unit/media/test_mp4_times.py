"""Times that only rise, whatever a publisher's do."""

from __future__ import annotations

from rtmpsrv.media.mp4_times import BRIDGE_MS, MAX_JUMP_MS, Times


def times_of(*times: int) -> list[int]:
    one = Times()
    return [one.place(time) for time in times]


def test_times_go_on_where_32_bits_end() -> None:
    assert times_of((1 << 32) - 10, 10, 30) == [(1 << 32) - 10, (1 << 32) + 10, (1 << 32) + 30]


def test_times_that_jump_are_bridged() -> None:
    assert times_of(0, 20, 4_000_000_000, 4_000_000_020) == [0, 20, 20 + BRIDGE_MS, 40 + BRIDGE_MS]
    assert times_of(50_000, 50_020, 7, 27) == [50_000, 50_020, 50_020 + BRIDGE_MS, 50_040 + BRIDGE_MS]
    assert times_of(0, MAX_JUMP_MS, 2 * MAX_JUMP_MS + 1) == [0, MAX_JUMP_MS, MAX_JUMP_MS + BRIDGE_MS]


def test_they_go_on_in_another_process() -> None:
    one = Times()
    one.place((1 << 32) - 10)
    other = Times()
    other.resume(one.snapshot())
    assert other.place(10) == one.place(10) == (1 << 32) + 10
