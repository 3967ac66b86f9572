from __future__ import annotations

import dataclasses

import pytest

from rtmpsrv.endpoint.limits import Limits


def test_limits_are_frozen_positive_numbers() -> None:
    limits = Limits()
    assert all(value > 0 for value in dataclasses.astuple(limits))
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.connections = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "lowest"),
    [("stall_s", 0), ("cache_bytes", 0), ("cache_total_bytes", 0), ("queue_messages", 1), ("connections", 1),
     ("chunk_size", 1)],
)  # fmt: skip
def test_limits_below_the_least_are_refused(name: str, lowest: int) -> None:
    assert getattr(dataclasses.replace(Limits(), **{name: lowest}), name) == lowest
    with pytest.raises(ValueError, match=f"{name} is {lowest - 1}"):
        dataclasses.replace(Limits(), **{name: lowest - 1})


def test_a_chunk_is_no_longer_than_a_message() -> None:
    assert Limits(chunk_size=0xFFFFFF).chunk_size == 0xFFFFFF
    with pytest.raises(ValueError, match="chunk_size"):
        Limits(chunk_size=0x1000000)


@pytest.mark.parametrize("ping_s", [0.0, 5.0, 6.0])
def test_pings_come_before_silence_ends_a_connection(ping_s: float) -> None:
    assert Limits(ping_s=4.9, silence_s=5.0).ping_s == 4.9
    with pytest.raises(ValueError, match="ping_s"):
        Limits(ping_s=ping_s, silence_s=5.0)


@pytest.mark.parametrize(
    ("name", "value"), [("connections", "5"), ("connections", 5.5), ("stall_s", None), ("ping_s", True)]
)
def test_what_is_no_number_is_a_type_error_that_names_it(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"limit {name} is a number"):
        Limits(**{name: value})  # type: ignore[arg-type]
