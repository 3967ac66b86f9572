"""Where one publisher goes on for another: times never go back, headers are told once."""

from __future__ import annotations

import pickle

import pytest

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.joints import FIRST_KEYFRAME_S
from rtmpsrv.live.log import Log
from rtmpsrv.live.segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO
from rtmpsrv.live.splice import LEAD_MS, SETTLING_S, Splice, digests, newest

WRAP = 1 << 32
NOW = 1000.0


def begun(last: int, first: int, passed_s: float = 0.5) -> Splice:
    splice = Splice((last, NOW - passed_s), [])
    splice.begin(first, NOW)
    return splice


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "passed_s", "first", "expected"),
    [
        (4000, 0.5, 0, 4500),
        (4000, 0.5, 123_456, 4500),
        (0, 3.25, 0, 3250),
        (4000, 0.0, 0, 4000 + LEAD_MS),
        (WRAP - 100, 0.5, 0, 400),
        (WRAP - 1, 0.0, 7, LEAD_MS - 1),
        (100, 0.5, WRAP - 100, 600),
        (WRAP - 600, 0.5, WRAP - 5, WRAP - 100),
    ],
)
def test_time_goes_on_by_what_has_passed(last: int, passed_s: float, first: int, expected: int) -> None:
    splice = begun(last, first, passed_s)
    assert splice.time(first, NOW) == expected
    for later in (1, 40, 100_000, (1 << 31) + 5):
        assert splice.time((first + later) % WRAP, NOW + SETTLING_S) == (expected + later) % WRAP


def test_nothing_goes_back_while_two_kinds_of_media_begin() -> None:
    splice = begun(4000, 1000)  # now 4500
    assert [splice.time(time, NOW) for time in (1000, 600, 400, 300, 1040, 0, 500)] == [
        4500, 4100, 4001, 4002, 4540, 4003, 4004,
    ]  # fmt: skip


def test_nothing_goes_back_across_the_wrap() -> None:
    splice = begun(WRAP - 2, 1000, 0.0)
    assert [splice.time(time, NOW) for time in (1000, 900, 901, 902)] == [LEAD_MS - 2, WRAP - 1, 0, 1]


def test_a_step_back_of_a_settled_publisher_is_its_own() -> None:
    splice = begun(4000, 100_000)
    assert splice.time(0, NOW + SETTLING_S - 0.001) == 4001
    assert splice.time(0, NOW + SETTLING_S) == (4500 - 100_000) % WRAP


def test_what_comes_before_the_first_frame_follows_the_last_one() -> None:
    splice = Splice((4000, NOW), [])
    assert [splice.time(time, NOW) for time in (0, 99_999)] == [4001, 4001]


def test_where_nothing_was_sent_before_times_stay() -> None:
    splice = Splice(None, [])
    assert splice.time(77, NOW) == 77
    splice.begin(78, NOW)
    assert [splice.time(time, NOW) for time in (78, 5)] == [78, 5]


def log_of(*messages: tuple[int, int]) -> Log:
    log = Log(Budget(1 << 20), 1 << 20)
    for number, (flags, timestamp) in enumerate(messages):
        log.append(b"x", flags, timestamp, float(number), 1)
    return log


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], None),
        ([(VIDEO | HEADER, 9), (DATA, 8), (AUDIO | HEADER, 7)], None),
        ([(AUDIO, 5)], (5, 0.0)),
        ([(VIDEO | KEYFRAME, 5), (VIDEO, 45), (AUDIO, 30)], (45, 1.0)),
        ([(VIDEO, 5), (AUDIO, 45), (VIDEO | KEYFRAME, 40), (AUDIO | HEADER, 0)], (45, 1.0)),
        ([(VIDEO, WRAP - 1), (AUDIO, 3)], (3, 1.0)),
        ([(AUDIO, 3), (VIDEO, WRAP - 1)], (3, 0.0)),
    ],
)
def test_newest_frame_of_a_log(messages: list[tuple[int, int]], expected: tuple[int, float] | None) -> None:
    assert newest(log_of(*messages)) == expected


def test_newest_frame_may_be_in_the_segment_before() -> None:
    log = log_of((VIDEO, 500), (AUDIO, 480))
    log.cut()
    assert newest(log) == (500, 0.0)
    log.append(b"x", AUDIO, 490, 9.0, 1)
    assert newest(log) == (500, 0.0)
    log.append(b"x", AUDIO, 510, 10.0, 1)
    assert newest(log) == (510, 10.0)


# --- headers --------------------------------------------------------------------------------------


def test_a_header_that_players_have_is_not_needed_again() -> None:
    splice = Splice(None, digests(((8, b"aac"), (9, b"avc"), (9, b"second track"))))
    assert splice.repeats(9, b"avc")
    assert splice.repeats(9, b"avc")
    assert splice.repeats(8, b"aac")
    assert not splice.repeats(8, b"avc"), "it is another kind"


def test_after_a_new_header_no_other_of_its_kind_is_known() -> None:
    splice = Splice(None, digests(((8, b"aac"), (9, b"avc"), (9, b"second track"))))
    assert not splice.repeats(9, b"other")
    assert not splice.repeats(9, b"avc"), "it would come back to what it was"
    assert not splice.repeats(9, b"second track")
    assert splice.repeats(8, b"aac")


def test_what_players_have_is_known_to_the_next_splice() -> None:
    splice = Splice(None, digests(((8, b"aac"), (9, b"avc"))))
    splice.repeats(9, b"other")
    known = splice.known(((9, b"other"), (8, b"aac")))
    assert known == digests(((8, b"aac"), (9, b"other")))


# --- keyframes ------------------------------------------------------------------------------------


def test_video_waits_for_a_keyframe() -> None:
    splice = Splice(None, [])
    assert splice.holds_back(False, NOW)
    assert not splice.holds_back(True, NOW)
    assert splice.is_open
    assert not splice.holds_back(False, NOW)


def test_video_that_has_no_keyframe_is_let_through() -> None:
    splice = Splice(None, [])
    assert splice.holds_back(False, NOW)
    assert splice.holds_back(False, NOW + FIRST_KEYFRAME_S - 0.1)
    assert not splice.holds_back(False, NOW + FIRST_KEYFRAME_S)
    assert not splice.is_open


def test_messages_are_looked_at_until_video_flows_or_some_time_has_passed() -> None:
    splice = Splice(None, [])
    assert splice.is_settling(NOW)
    splice.begin(0, NOW)
    assert splice.is_settling(NOW + SETTLING_S - 0.1)
    assert not splice.is_settling(NOW + SETTLING_S)
    splice.holds_back(True, NOW)
    assert not splice.is_settling(NOW)


# --- to another process ---------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(4))
def test_a_copy_goes_on(steps: int) -> None:
    def prepared() -> Splice:
        splice = Splice((4000, NOW - 1), digests(((8, b"aac"), (9, b"avc"))))
        if steps > 0:
            splice.repeats(9, b"other")
            splice.holds_back(False, NOW)
        if steps > 1:
            splice.begin(50, NOW)
            splice.time(0, NOW)
        if steps > 2:
            splice.holds_back(True, NOW)
        return splice

    mine, other = prepared(), Splice.adopted(pickle.loads(pickle.dumps(prepared().snapshot())))
    assert other.snapshot() == mine.snapshot()
    later = NOW + 2
    for splice in (mine, other):
        if steps < 2:
            splice.begin(50, later)
    heard = [
        (
            splice.is_open,
            splice.is_settling(later),
            splice.repeats(9, b"avc"),
            splice.repeats(8, b"aac"),
            splice.holds_back(False, later + 1.5),
            [splice.time(time, later) for time in (50, 0, 10_000)],
        )
        for splice in (mine, other)
    ]
    assert heard[0] == heard[1]
