"""One publication's messages by position: what is where, what may be joined, what is let go of."""

from __future__ import annotations

import pytest

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.header_history import MAX_HEADER_CHANGES, Headers
from rtmpsrv.live.log import MESSAGE_OVERHEAD
from rtmpsrv.live.segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO
from tests.unit.live.logs import add, add_keyframe, empty

HEADERS_1: Headers = ((8, b"one"),)
HEADERS_2: Headers = ((8, b"one"), (9, b"two"))
HEADERS_3: Headers = ((8, b"one"), (9, b"three"))


# --- positions ------------------------------------------------------------------------------------


def test_empty_log_has_one_position() -> None:
    log = empty()
    assert (log.end, log.count, log.flushed, log.first, log.joint) == (0, 0, 0, 0, 0)
    assert log.is_boundary(0)
    assert log.next_boundary(0) == log.number_at(0) == 0
    assert log.arrival_at(0) is None
    assert log.oldest_kept_s() is None
    assert log.parts(0, 0) == []
    assert log.read(0, 0) == b""
    assert log.headers.at(0) == ()
    assert log.find(0, (VIDEO,)) is None
    assert log.time_from(0, (VIDEO,)) == 0
    assert not log.may_trim()
    log.trim(None)
    log.cut()
    assert log.describe()["segments"] == 1


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2), (0, 1, 2, 3)])
def test_positions_mean_the_same_wherever_segments_begin(cuts: tuple[int, ...]) -> None:
    log = empty()
    for number, size in enumerate((10, 20, 30)):
        if number in cuts:
            log.cut()
        add(log, size)
    if 3 in cuts:
        log.cut()
    whole = b"\0" * 10 + b"\1" * 20 + b"\2" * 30
    starts = [0, 10, 30, 60]
    for position in range(61):
        number = max(one for one, start in enumerate(starts) if start <= position)
        assert log.is_boundary(position) is (position in starts)
        assert log.next_boundary(position) == min(start for start in starts if start >= position)
        assert log.arrival_at(position) == (float(number) if position < 60 else None)
        assert log.read(position, 60) == whole[position:]
        assert log.read(0, position) == whole[:position]
        assert sum(count for _, _, count in log.parts(position, 60)) == 60 - position
        assert 0 not in [count for _, _, count in log.parts(position, 60)]
    assert [log.number_at(start) for start in starts] == [0, 1, 2, 3]
    assert [[data for data, *_ in log.messages(start)] for start in starts] == [
        [b"\0" * 10, b"\1" * 20, b"\2" * 30], [b"\1" * 20, b"\2" * 30], [b"\2" * 30], [],
    ]  # fmt: skip
    assert [rest for _, *rest in log.messages(10)] == [[VIDEO, 40, 1.0], [VIDEO, 80, 2.0]]


def test_what_was_not_flushed_waits_in_order() -> None:
    log = empty()
    log.append(b"a", AUDIO, 0, 5.0, 1)
    log.append(b"bc", AUDIO, 0, 6.0, 2)
    assert (log.oldest_unsent_at, log.flushed, log.end) == (5.0, 0, 3)
    assert log.take_unsent() == [b"a", b"bc"]
    assert (log.flushed, log.take_unsent()) == (3, [])
    log.append(b"d", AUDIO, 0, 7.0, 1)
    assert (log.oldest_unsent_at, log.take_unsent()) == (7.0, [b"d"])


@pytest.mark.parametrize("each_in_a_segment", [False, True])
def test_messages_are_found_by_their_kind_with_their_time(each_in_a_segment: bool) -> None:
    log = empty()
    for flags in (VIDEO, DATA, AUDIO, VIDEO | HEADER, VIDEO | KEYFRAME, VIDEO, AUDIO, DATA):
        if each_in_a_segment:
            log.cut()
        add(log, 5, flags=flags)  # 40 ms after the one before
    assert log.find(0, (VIDEO,)) == (VIDEO, 0)
    assert log.find(5, (VIDEO,)) == (VIDEO, 200)
    assert log.find(5, (VIDEO, VIDEO | KEYFRAME)) == (VIDEO | KEYFRAME, 160)
    assert log.find(5, (AUDIO, VIDEO | KEYFRAME)) == (AUDIO, 80)
    assert log.find(25, (VIDEO | KEYFRAME,)) is None
    assert log.find(40, (AUDIO,)) is None
    assert log.time_from(5, (VIDEO, VIDEO | KEYFRAME)) == 160


@pytest.mark.parametrize(
    ("flags", "newest"),
    [
        ((), 0),
        ((DATA,), 0),
        ((DATA, VIDEO | HEADER, DATA), 40),
        ((VIDEO, AUDIO, DATA), 40),
        ((AUDIO, VIDEO | KEYFRAME, DATA, DATA), 40),
    ],
)
def test_time_of_what_is_to_come_is_that_of_the_newest_media(flags: tuple[int, ...], newest: int) -> None:
    log = empty()
    for one in flags:
        add(log, 5, flags=one)
    assert log.time_from(log.end, (AUDIO, VIDEO, VIDEO | KEYFRAME)) == newest
    log.cut()
    assert log.time_from(log.end, (AUDIO, VIDEO, VIDEO | KEYFRAME)) == newest


# --- where joiners start --------------------------------------------------------------------------


def test_joint_and_keyframe_are_where_the_next_message_begins() -> None:
    log = empty()
    add(log, 10)
    assert (log.joint, log.keyframe, log.first) == (0, None, 0)
    add_keyframe(log, 20)
    assert (log.joint, log.keyframe, log.first) == (10, 10, 10)
    log.mark_joint(keep_stream=False)
    assert (log.joint, log.keyframe, log.first) == (30, 10, 30)
    assert log.oldest_kept_s() is None
    add(log, 5)
    assert log.oldest_kept_s() == 2.0


def test_whole_stream_is_kept_where_asked() -> None:
    log = empty()
    add(log, 10)
    add_keyframe(log, 20, keep_stream=True)
    assert (log.joint, log.keyframe, log.first) == (10, 10, 0)
    log.keep_from_joint()
    assert (log.first, log.oldest_kept_s()) == (10, 1.0)


def test_log_without_a_cache_is_joined_nowhere() -> None:
    log = empty(0)
    log.mark_keyframe(keep_stream=True)
    assert (log.joint, log.keyframe, log.first) == (None, 0, 0)
    add(log, 20)  # which is over the limit
    assert (log.joint, log.keyframe, log.first) == (None, None, 20)
    add_keyframe(log, 20, keep_stream=True)
    assert (log.joint, log.keyframe, log.first) == (None, None, 40)
    log.keep_from_joint()
    assert log.first == 40


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_gop_over_the_limit_is_forgotten(spare: int, kept: bool) -> None:
    log = empty(30 + 2 * MESSAGE_OVERHEAD + spare)
    add_keyframe(log, 10)
    log.append(b"header", VIDEO | HEADER, 0, 0.0, None)  # counts for nothing
    add(log, 20)
    assert (log.joint == 0) is kept
    assert (log.keyframe == 0) is kept
    assert (log.first == 0) is kept


def test_closed_log_is_joined_nowhere_and_still_read() -> None:
    log = empty()
    add_keyframe(log, 10)
    log.close()
    assert log.closed
    assert (log.joint, log.keyframe, log.first) == (None, None, 10)
    assert log.read(0, 10) == bytes(10)


# --- headers --------------------------------------------------------------------------------------


def test_headers_are_those_in_force_at_a_position() -> None:
    log = empty()
    log.headers.note(log.end, HEADERS_1)
    log.headers.note(log.end, HEADERS_2)  # before anything else came
    add(log, 10)
    log.headers.note(log.end, HEADERS_3)
    add(log, 10)
    assert [log.headers.at(position) for position in (0, 9, 10, 20)] == [
        HEADERS_2, HEADERS_2, HEADERS_3, HEADERS_3,
    ]  # fmt: skip


def test_only_the_last_changes_of_headers_are_remembered() -> None:
    log = empty()
    for number in range(MAX_HEADER_CHANGES + 2):
        add(log, 10)
        log.headers.note(log.end, ((8, b"%d" % number),))
    assert [log.headers.remembers(position) for position in (29, 30, 31)] == [False, True, True]
    assert log.headers.at(29) == log.headers.at(30) == ((8, b"2"),)
    assert log.headers.at(log.end) == ((8, b"9"),)


def test_headers_of_what_was_let_go_of_are_forgotten() -> None:
    budget = Budget(1 << 20)
    log = empty(budget=budget)
    log.headers.note(log.end, HEADERS_1)
    add(log, 10)
    log.headers.note(log.end, HEADERS_2)
    add(log, 10)
    log.cut()
    log.headers.note(log.end, HEADERS_3)
    add(log, 10)
    held = [len(payload) for payload in (b"one", b"two", b"three")]
    assert budget.describe()["headers_bytes"] == sum(held)
    log.forget()
    log.trim(None)
    assert log.headers.at(20) == HEADERS_3
    assert not log.headers.remembers(19)
    assert budget.describe()["headers_bytes"] == held[0] + held[2]
    del log
    assert budget.used_bytes == 0
