"""What peers make the process hold, kind by kind, and at whose cost bounds are kept."""

from __future__ import annotations

import pytest

from rtmpsrv.live.budget import ANSWERS, HEADERS, LOG, TLS, UNFINISHED, WINDOWS, Budget


class Connection:
    """Holds bytes until it is dropped, as sessions do."""

    def __init__(self, budget: Budget, tells: bool = True) -> None:
        self.reasons: list[str] = []
        self._budget = budget
        self._tells = tells

    def hold(self, count: int, kind: str = UNFINISHED) -> None:
        self._budget.hold(kind, self, count)

    def drop(self, reason: str) -> None:
        self.reasons.append(reason)
        if self._tells:  # that it holds nothing any more, as its end will
            self.hold(0)


def used(budget: Budget, kind: str) -> int:
    count: int = budget.describe()[f"{kind}_bytes"]
    return count


def test_all_kinds_are_one_sum() -> None:
    budget = Budget(1000)
    one = Connection(budget)
    budget.change(LOG, 100)
    budget.change(HEADERS, 20)
    one.hold(3)
    one.hold(400, ANSWERS)
    assert budget.used_bytes == 523
    budget.change(LOG, -100)
    assert budget.used_bytes == 423


def test_what_a_connection_holds_now_replaces_what_it_held() -> None:
    budget = Budget(1000)
    one = Connection(budget)
    for count in (10, 30, 20):
        one.hold(count)
        assert used(budget, UNFINISHED) == count
    one.hold(5, ANSWERS)
    one.hold(0)
    one.hold(0)
    assert (used(budget, UNFINISHED), used(budget, ANSWERS), budget.used_bytes) == (0, 5, 5)
    assert budget.describe()["holders"] == {UNFINISHED: 0, ANSWERS: 1, TLS: 0, WINDOWS: 0}


@pytest.mark.parametrize("kind", [UNFINISHED, ANSWERS, TLS])
@pytest.mark.parametrize("tells", [True, False])
def test_past_the_bound_of_a_kind_whoever_holds_most_is_dropped(kind: str, tells: bool) -> None:
    budget = Budget(1 << 30, unfinished_bytes=100, answers_bytes=100, tls_bytes=100)
    small, large, caller = (Connection(budget, tells) for _ in range(3))
    small.hold(30, kind)
    large.hold(50, kind)
    caller.hold(20, kind)
    assert small.reasons + large.reasons + caller.reasons == []
    caller.hold(21, kind)
    assert large.reasons == [f"held 50 bytes of {kind} data; all connections together may hold 100"]
    assert small.reasons + caller.reasons == []
    assert used(budget, kind) == 51


def test_it_may_be_the_caller_and_more_than_one() -> None:
    budget = Budget(1 << 30, unfinished_bytes=100)
    one, two = Connection(budget), Connection(budget)
    one.hold(101)
    assert len(one.reasons) == 1
    assert budget.used_bytes == 0
    one.hold(60)
    two.hold(101)
    assert (len(one.reasons), len(two.reasons)) == (1, 1)
    assert used(budget, UNFINISHED) == 60


def test_kinds_have_bounds_of_their_own() -> None:
    budget = Budget(1 << 30, unfinished_bytes=100, answers_bytes=200)
    one = Connection(budget)
    one.hold(100)
    one.hold(200, ANSWERS)
    assert one.reasons == []
    one.hold(201, ANSWERS)
    assert len(one.reasons) == 1
    assert "answers" in one.reasons[0]


def test_the_largest_go_first() -> None:
    budget = Budget(1000)
    held = {size: Connection(budget) for size in (20, 40, 10, 30)}
    for size, one in held.items():
        one.hold(size)
    assert budget.largest(UNFINISHED) == 40
    order = []
    while budget.drop_largest(UNFINISHED, "why"):
        order += [size for size, one in held.items() if one.reasons and size not in order]
    assert order == [40, 30, 20, 10]
    assert held[40].reasons == ["held 40 bytes of unfinished data; why"]
    assert budget.largest(UNFINISHED) == 0
    assert budget.used_bytes == 0


def test_publisher_is_admitted_while_there_is_room_or_room_is_made() -> None:
    budget = Budget(100)
    budget.change(LOG, 100)
    assert budget.admits_publisher()
    budget.change(LOG, 1)
    assert not budget.admits_publisher()
    budget.relieve = lambda: budget.change(LOG, -50)
    assert budget.admits_publisher()
    assert budget.used_bytes == 51


def test_descriptors_of_logs_are_a_share_of_those_of_the_process() -> None:
    budget = Budget(100)
    budget.limit_descriptors(5)
    assert [budget.take_descriptor() for _ in range(3)] == [True, True, False]
    budget.give_descriptor()
    assert budget.take_descriptor()


def test_description() -> None:
    budget = Budget(1000, descriptor_limit=7)
    Connection(budget).hold(3)
    budget.change(LOG, 5)
    budget.take_descriptor()
    assert budget.describe() == {
        "limit_bytes": 1000,
        "used_bytes": 8,
        "log_bytes": 5,
        "headers_bytes": 0,
        "unfinished_bytes": 3,
        "answers_bytes": 0,
        "tls_bytes": 0,
        "windows_bytes": 0,
        "holders": {"unfinished": 1, "answers": 0, "tls": 0, "windows": 0},
        "descriptors": 1,
        "descriptor_limit": 7,
    }


def test_windows_have_half_of_the_limit_and_are_pressed_before() -> None:
    budget = Budget(1000)
    one, other = Connection(budget), Connection(budget)
    one.hold(200, WINDOWS)
    other.hold(175, WINDOWS)
    assert not budget.is_pressed(WINDOWS)
    one.hold(201, WINDOWS)
    assert budget.is_pressed(WINDOWS)
    other.hold(299, WINDOWS)
    assert (one.reasons, other.reasons) == ([], [])
    one.hold(202, WINDOWS)
    assert len(other.reasons) == 1
    assert used(budget, WINDOWS) == 202
    assert not budget.is_pressed(WINDOWS)
    budget.change(LOG, 800)
    assert budget.is_pressed(WINDOWS)
