from __future__ import annotations

import pickle

from rtmpsrv.live.seconds import SHORT, Seconds


def test_sums_by_the_second() -> None:
    seconds = Seconds(SHORT)
    seconds.add(100, 1)
    seconds.add(100, 2)
    seconds.add(102, 4)
    assert seconds.last(102, 4) == [0, 3, 0, 4]
    assert seconds.last(103, 4) == [3, 0, 4, 0]
    assert [seconds.sum(103, count) for count in (1, 2, 4)] == [0, 4, 7]


def test_there_is_no_sum_of_what_was_long_ago() -> None:
    seconds = Seconds(SHORT)
    seconds.add(100, 3)
    assert [seconds.sum(second, 4) for second in (100, 103, 104, 105, 100 + SHORT)] == [3, 3, 0, 0, 0]
    seconds.add(106, 5)
    assert seconds.sum(106, 8) == 8


def test_an_older_second_is_still_added_to_but_not_one_that_is_forgotten() -> None:
    seconds = Seconds(SHORT)
    seconds.add(100, 1)
    seconds.add(101 - SHORT, 2)
    seconds.add(100 - SHORT, 4)
    assert seconds.last(100, SHORT) == [2, *[0] * (SHORT - 2), 1]


def test_what_is_long_ago_counts_no_more() -> None:
    seconds = Seconds(SHORT)
    for second in range(50, 50 + SHORT):
        seconds.add(second, 1)
    seconds.add(1_000_000, 7)
    assert seconds.last(1_000_000, SHORT) == [*[0] * (SHORT - 1), 7]
    assert seconds.last(2_000_000, SHORT) == [0] * SHORT


def test_another_process_goes_on_with_it() -> None:
    seconds, other = Seconds(SHORT), Seconds(SHORT)
    seconds.add(100, 3)
    other.adopt(pickle.loads(pickle.dumps(seconds.snapshot())))
    other.add(101, 4)
    assert other.last(101, 3) == [0, 3, 4]
