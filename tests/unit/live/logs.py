"""Logs for tests, by the sizes of their messages."""

from __future__ import annotations

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.log import Log
from rtmpsrv.live.segment import KEYFRAME, VIDEO


def empty(limit_bytes: int = 1 << 20, budget: Budget | None = None) -> Log:
    return Log(budget or Budget(1 << 30), limit_bytes)


def add(log: Log, *sizes: int, flags: int = VIDEO) -> None:
    """Append messages of distinct bytes, all flushed."""
    for size in sizes:
        number = log.count
        log.append(bytes((number % 256,)) * size, flags, 40 * number, float(number), size)
    log.take_unsent()


def add_keyframe(log: Log, size: int, keep_stream: bool = False) -> None:
    log.mark_keyframe(keep_stream)
    add(log, size, flags=VIDEO | KEYFRAME)


def three_segments(limit_bytes: int = 1 << 20, budget: Budget | None = None) -> Log:
    """Segments at 0, 10 and 30; the whole stream is kept, joiners start at 30."""
    log = empty(limit_bytes, budget)
    add_keyframe(log, 10, keep_stream=True)
    log.cut()
    add_keyframe(log, 20, keep_stream=True)
    log.cut()
    add_keyframe(log, 30, keep_stream=True)
    return log
