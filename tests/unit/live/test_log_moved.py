"""Logs in two processes: one that goes on where the other was, and one that follows another."""

from __future__ import annotations

import os
import pickle

import pytest

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.header_history import Headers
from rtmpsrv.live.log import MESSAGE_OVERHEAD, Log
from rtmpsrv.live.segment import AUDIO, KEYFRAME, VIDEO
from tests.unit.live.logs import add, add_keyframe, empty, three_segments

HEADERS_1: Headers = ((8, b"one"),)


def test_snapshot_says_all_that_the_files_do_not() -> None:
    log = three_segments()
    log.headers.note(log.end, HEADERS_1)
    log.append(b"unsent", AUDIO, 7, 8.0, 6)
    log.take_unsent()
    fds = [-1]  # of somebody else
    snapshot = log.snapshot(fds)
    segments = snapshot.pop("segments")
    assert snapshot == {
        "flushed": 66, "joint": 30, "keyframe": 30, "closed": False, "kept_from": 0,
        "kept_number": 0, "cached_bytes": 30 + 6 + 2 * MESSAGE_OVERHEAD,
        "headers": ((0, ()), (60, HEADERS_1)),
    }  # fmt: skip
    assert [(one["base"], one["first_number"], one["size"], one["file"]) for one in segments] == [
        (0, 0, 10, 1), (10, 1, 20, 2), (30, 2, 36, 3),
    ]  # fmt: skip
    assert [os.pread(fd, 100, 0) for fd in fds[1:]] == [log.read(0, 10), log.read(10, 30), log.read(30, 66)]
    last = segments[-1]
    assert (last["first"], last["data"]) == (0, None)
    assert list(memoryview(last["offsets"]).cast("Q")) == [0, 30]
    assert last["flags"] == bytes((VIDEO | KEYFRAME, AUDIO))
    assert list(memoryview(last["timestamps"]).cast("I")) == [80, 7]
    assert list(memoryview(last["arrivals"]).cast("d")) == [2.0, 8.0]


def adopted(log: Log, limit_bytes: int = 1 << 20, budget: Budget | None = None) -> Log:
    """The same in another process."""
    fds: list[int] = []
    value = pickle.loads(pickle.dumps(log.snapshot(fds)))
    other = empty(limit_bytes, budget)
    other.adopt(value, [os.dup(fd) for fd in fds])
    return other


@pytest.mark.parametrize("descriptors", [0, 1, 1 << 16])
def test_adopted_log_is_the_same(descriptors: int, small_segments: None) -> None:
    budget, mine = Budget(1 << 30, descriptor_limit=descriptors), Budget(1 << 30)
    log = three_segments(budget=budget)
    log.headers.note(log.end, HEADERS_1)
    add(log, 40)
    log.trim(10)
    other = adopted(log, budget=mine)
    assert mine.describe()["descriptors"] == min(descriptors, 3)
    assert other.describe() == log.describe()
    assert (other.end, other.count, other.flushed, other.begin) == (100, 4, 100, 0)
    assert (other.joint, other.keyframe, other.first) == (30, 30, 0)
    assert other.headers.snapshot() == log.headers.snapshot()
    assert list(other.messages(0)) == list(log.messages(0))
    assert other.unsent == []
    assert mine.used_bytes == budget.used_bytes
    before, used = other.read(0, 100), budget.used_bytes
    del log
    assert (budget.used_bytes, budget.describe()["descriptors"]) == (0, 0)
    add(other, 50)
    assert other.read(0, 150) == before + bytes((4,)) * 50
    assert mine.used_bytes > used
    del other
    assert (mine.used_bytes, mine.describe()["descriptors"]) == (0, 0)


def test_adopted_log_goes_on_from_where_the_other_one_wrote_not_from_where_its_descriptor_is() -> None:
    log = three_segments()
    other = adopted(log)
    add(log, 5)  # in vain: the other one goes on
    assert log.tail.file() >= 0
    add(other, 7)
    assert other.read(30, 67) == b"\2" * 30 + b"\3" * 7


def test_adopted_log_keeps_no_more_than_it_may_here() -> None:
    log = three_segments()
    other = adopted(log, limit_bytes=0)
    assert (other.joint, other.keyframe) == (None, 30)
    other = adopted(log, limit_bytes=10)
    add(other, 10)
    assert (other.joint, other.first) == (None, 70)
    other = adopted(log, limit_bytes=2 * (10 + MESSAGE_OVERHEAD))
    add(other, 10)
    assert (other.joint, other.first) == (None, 70), "what was cached there counts"


def test_closed_log_stays_closed() -> None:
    log = three_segments()
    log.close()
    other = adopted(log)
    assert (other.closed, other.joint, other.first) == (True, None, 60)
    assert other.read(0, 60) == log.read(0, 60)


def follow(log: Log, other: Log, known: int = -1) -> int:
    """Let another log have what is new in this one; return how many descriptors that took."""
    fds: list[int] = []
    records = pickle.loads(pickle.dumps(log.records(other.end, fds, known)))
    other.extend(records, [os.dup(fd) for fd in fds])
    other.take_unsent()
    return len(fds)


@pytest.mark.parametrize("descriptors", [0, 1, 2, 1 << 16])
def test_log_follows_another_message_by_message_and_over_segments(descriptors: int) -> None:
    log = empty(budget=Budget(1 << 30, descriptor_limit=descriptors))
    other = empty(budget=Budget(1 << 30))
    for size in range(1, 8):
        if size in (3, 4, 6):
            log.cut()
        add(log, size)
        known = log.tail.base if size in (5, 7) and descriptors > 3 else -1
        assert follow(log, other, known) == (log.tail.file() >= 0 and known < 0)
        assert list(other.messages(0)) == list(log.messages(0))
        assert (other.end, other.count, other.flushed) == (log.end, log.count, log.end)
    assert other.describe()["segments"] == log.describe()["segments"] == 4
    assert follow(log, other) == 0


def test_log_that_is_followed_in_one_step_waits_to_be_sent_joined() -> None:
    log, other = three_segments(), empty()
    fds: list[int] = []
    other.extend(log.records(0, fds, -1), [os.dup(fd) for fd in fds])
    assert (other.flushed, other.unsent) == (0, [log.read(0, 60)])
    assert other.take_unsent() == [log.read(0, 60)]


def test_file_that_comes_later_takes_the_place_of_bytes_and_of_a_file_of_our_own() -> None:
    budget = Budget(1 << 30, descriptor_limit=0)
    log, other = empty(budget=budget), empty(budget=Budget(1 << 30))
    add(log, 3)
    assert follow(log, other) == 0
    assert other.read(0, 3) == bytes(3)  # from a file of its own
    budget.limit_descriptors(100)
    add(log, 4)
    assert follow(log, other) == 1
    assert other.read(0, 7) == log.read(0, 7)


def test_what_a_follower_has_let_go_of_it_does_not_keep_again() -> None:
    log = three_segments()
    other = adopted(log)
    other.forget()
    other.follow(log.marks())
    assert (other.joint, other.first, other.keyframe) == (None, 60, 30)
    add_keyframe(log, 5, keep_stream=True)
    follow(log, other)
    other.follow(log.marks())
    assert (other.joint, other.first, other.keyframe) == (60, 60, 60)
    log.keep_from_joint()
    add_keyframe(log, 6)
    follow(log, other)
    other.follow(log.marks())
    assert (other.joint, other.first) == (65, 65)


def test_mirror_begins_no_segments_of_its_own() -> None:
    log = three_segments()
    log.is_mirror = True
    log.shed()
    log.shed()
    log.cut()
    assert log.describe()["segments"] == 3
