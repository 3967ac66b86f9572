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


def test_no_key_is_shown() -> None:
    assert KEY not in repr(Terms(KEY))
