from __future__ import annotations

import pytest

from rtmpsrv.access.terms import Terms
from tests.doubles.secrets import KEY


@pytest.mark.parametrize(
    ("terms", "may_end"),
    [(Terms(), False), (Terms(until=1.0), True), (Terms(max_bitrate=1), True), (Terms(KEY), False)],
)
def test_what_may_end(terms: Terms, may_end: bool) -> None:
    assert terms.may_end is may_end


@pytest.mark.parametrize(
    ("of_rules", "given", "counts"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (7, 5, 5)]
)
def test_of_two_limits_of_the_bitrate_the_lower_one_counts(of_rules: int, given: int, counts: int) -> None:
    before = Terms(KEY, 1.0, "over", of_rules, 3, 2)
    assert before.within(given) == Terms(KEY, 1.0, "over", counts, 3, 2)


def test_no_key_is_shown() -> None:
    assert KEY not in repr(Terms(KEY))
