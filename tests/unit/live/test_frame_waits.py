"""Whether goes may wait for frames: learnt from whether frames came."""

from __future__ import annotations

from rtmpsrv.live.frame_waits import AGAIN_S, MISS, MOST_MISSED, FrameWaits

AT = 100.0
MISSES = MOST_MISSED // MISS


def test_at_first_and_after_some_misses_they_may() -> None:
    waits = FrameWaits()
    assert waits.may_wait(AT)
    for _ in range(MISSES - 1):
        waits.missed(AT)
    assert waits.may_wait(AT)


def test_after_many_misses_they_may_not_for_some_time_and_then_as_at_first() -> None:
    waits = FrameWaits()
    for _ in range(MISSES):
        waits.missed(AT)
    assert not waits.may_wait(AT + AGAIN_S * 0.99)
    assert waits.may_wait(AT + AGAIN_S)
    waits.missed(AT + AGAIN_S)
    assert waits.may_wait(AT + AGAIN_S)


def test_frames_that_came_make_up_for_one_that_did_not() -> None:
    waits = FrameWaits()
    for _ in range(10 * MISSES):
        waits.missed(AT)
        for _ in range(MISS):
            waits.came()
    assert waits.may_wait(AT)


def test_where_half_of_them_come_nobody_waits() -> None:
    waits = FrameWaits()
    for _ in range(2 * MISSES):
        waits.missed(AT)
        waits.came()
    assert not waits.may_wait(AT)


def test_more_frames_than_misses_are_no_credit() -> None:
    waits = FrameWaits()
    for _ in range(100):
        waits.came()
    for _ in range(MISSES):
        waits.missed(AT)
    assert not waits.may_wait(AT)
