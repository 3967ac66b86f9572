"""Records that carry no data."""

from __future__ import annotations

from rtmpsrv.server.barren import BARREN_BYTES_PER_S, MAX_BARREN_BYTES, Barren

NOW = 100.0


def test_so_much_may_come_without_data_at_one_time() -> None:
    barren = Barren()
    barren.is_too_much(NOW)
    barren.came(MAX_BARREN_BYTES)
    assert not barren.is_too_much(NOW)
    barren.came(1)
    assert barren.is_too_much(NOW)


def test_a_byte_of_data_does_not_make_up_for_what_has_none() -> None:
    barren = Barren()
    barren.is_too_much(NOW)
    for _ in range(2):
        barren.came(MAX_BARREN_BYTES)
        barren.carried(1)
    assert barren.is_too_much(NOW)


def test_small_records_of_data_are_never_too_much() -> None:
    barren = Barren()
    for _ in range(10_000):
        barren.came(1 + 22)
        barren.carried(1)
        assert not barren.is_too_much(NOW)


def test_data_saves_up_nothing() -> None:
    barren = Barren()
    barren.is_too_much(NOW)
    barren.came(1 << 20)
    barren.carried(1 << 24)
    assert not barren.is_too_much(NOW)
    barren.came(MAX_BARREN_BYTES + 1)
    assert barren.is_too_much(NOW)


def test_padding_is_forgiven_by_and_by() -> None:
    barren = Barren()
    for number in range(1000):
        barren.came(16_384)
        barren.carried(100)
        assert not barren.is_too_much(NOW + number * 16_384 / BARREN_BYTES_PER_S)
