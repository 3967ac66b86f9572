from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.protocol.timestamps import add, signed_difference
from tests.vectors import load

STAMPS = st.integers(0, 0xFFFFFFFF)


@pytest.mark.parametrize("vector", load("timestamps")["signed_difference"], ids=str)
def test_difference_goes_the_shorter_way_round(vector: dict[str, int]) -> None:
    assert signed_difference(vector["a"], vector["b"]) == vector["diff"]


@pytest.mark.parametrize(
    ("timestamp", "offset", "later"),
    [(0xFFFFFFFF, 1, 0), (0, -1, 0xFFFFFFFF), (5, 0, 5), (10, 20, 30), (7, 1 << 32, 7)],
)
def test_add_wraps_both_ways(timestamp: int, offset: int, later: int) -> None:
    assert add(timestamp, offset) == later


@given(STAMPS, STAMPS)
def test_difference_undoes_add(a: int, b: int) -> None:
    difference = signed_difference(a, b)
    assert -(1 << 31) <= difference < 1 << 31
    assert add(b, difference) == a
