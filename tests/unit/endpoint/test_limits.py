from __future__ import annotations

import dataclasses

import pytest

from rtmpsrv.endpoint.limits import Limits


def test_limits_are_frozen_positive_numbers() -> None:
    limits = Limits()
    assert all(value > 0 for value in dataclasses.astuple(limits))
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.connections = 1  # type: ignore[misc]


def test_pings_come_before_silence_ends_a_connection() -> None:
    assert Limits().ping_s < Limits().silence_s
