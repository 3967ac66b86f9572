"""Which headers were in force where."""

from __future__ import annotations

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.header_history import MAX_HEADER_CHANGES, HeaderHistory, Headers

FIRST: Headers = ((8, b"one"),)
SECOND: Headers = ((8, b"one"), (9, b"two"))


def test_changes_from_a_position_on_and_all_of_them() -> None:
    history = HeaderHistory(Budget(1 << 20))
    history.note(10, FIRST)
    history.note(20, SECOND)
    assert history.since(9) == ((10, FIRST), (20, SECOND))
    assert history.since(10) == ((10, FIRST), (20, SECOND))
    assert history.since(11) == ((20, SECOND),)
    assert history.since(21) == ()
    assert history.snapshot() == ((0, ()), (10, FIRST), (20, SECOND))


def test_what_another_process_knows_is_known_and_counted_here() -> None:
    budget = Budget(1 << 20)
    history = HeaderHistory(budget)
    history.note(10, SECOND)
    history.adopt([(0, ()), (30, FIRST)])
    assert (history.at(29), history.at(30)) == ((), FIRST)
    assert budget.used_bytes == 3
    history.extend([(40, SECOND), (50, FIRST)])
    assert [history.at(position) for position in (39, 40, 50)] == [FIRST, SECOND, FIRST]
    del history
    assert budget.used_bytes == 0


def test_more_changes_than_are_remembered_push_out_the_oldest() -> None:
    history = HeaderHistory(Budget(1 << 20))
    history.extend([(10 * number, FIRST) for number in range(1, MAX_HEADER_CHANGES + 2)])
    assert not history.remembers(19)
    assert history.remembers(20)
