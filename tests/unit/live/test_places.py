"""Where the messages of a derived log are in its source."""

from __future__ import annotations

from rtmpsrv.live.places import Places


def some() -> Places:
    """Messages at 0, 10 and 25, of 100, 130 (after one that was left out) and 150; the source ends at 170."""
    places = Places(100)
    for position, source in ((0, 100), (10, 130), (25, 150)):
        places.note(position, source)
    places.reach(170)
    return places


def test_boundaries_are_found_both_ways() -> None:
    places = some()
    assert [places.source_of(position) for position in (0, 10, 25, 40)] == [100, 130, 150, 170]
    assert [places.position_of(source) for source in (100, 120, 130, 150, 170)] == [0, 10, 10, 25, None]


def test_only_what_is_there_can_be_gone_on_from() -> None:
    places = some()
    assert [source for source in (99, 100, 170, 171) if places.has(source)] == [100, 170]
    places.forget_before(0)
    assert places.begin == 100
    places.forget_before(10)
    assert [source for source in (100, 130) if places.has(source)] == [130]
    assert places.source_of(25) == 150
    places.forget_before(40)
    assert places.begin == places.end == 170
