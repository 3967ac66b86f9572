"""Records that carry no data."""

from __future__ import annotations

from rtmpsrv.server.barren import BARREN_PER_S, BYTES_LIKE_ONE, MAX_BARREN, USUAL_BYTES, Barren

NOW = 100.0


def test_so_many_may_come_without_data_at_one_time() -> None:
    barren = Barren()
    assert not any(barren.came(USUAL_BYTES, NOW) for _ in range(MAX_BARREN))
    assert barren.came(USUAL_BYTES, NOW)


def test_they_are_forgiven_by_and_by() -> None:
    barren = Barren()
    times = [NOW + number / BARREN_PER_S for number in range(10 * MAX_BARREN)]
    assert not any(barren.came(USUAL_BYTES, now) for now in times)


def test_a_long_time_without_any_saves_up_nothing() -> None:
    barren = Barren()
    barren.came(USUAL_BYTES, NOW)
    later = NOW + 1_000_000
    assert not any(barren.came(USUAL_BYTES, later) for _ in range(MAX_BARREN))
    assert barren.came(USUAL_BYTES, later)


def test_a_large_one_counts_as_many() -> None:
    """It may be full of messages."""
    barren = Barren()
    assert not barren.came(USUAL_BYTES + (MAX_BARREN - 2) * BYTES_LIKE_ONE, NOW)
    assert not barren.came(0, NOW)
    assert barren.came(0, NOW)
