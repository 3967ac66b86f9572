"""Room for connections: who waits makes it, who is served does not."""

from __future__ import annotations

from rtmpsrv.web.connections import (
    FEW,
    KEPT_OF_ONE,
    MAX_HELD_BYTES,
    MAX_HELD_OF_ONE,
    STUCK_S,
    Connections,
    Place,
)


class Guests:
    """Connections of addresses, and which of them were ended."""

    def __init__(self, in_all: int = 4, of_one: int = 2, kept: int = 0) -> None:
        self.time_s = 100.0
        self.connections = Connections(in_all, of_one, kept, lambda: self.time_s)
        self.ended: list[Place] = []

    def come(self, address: str) -> Place | None:
        place = Place(address, lambda: self.ended.append(place))
        return place if self.connections.enter(place) else None

    def must_come(self, address: str) -> Place:
        place = self.come(address)
        assert place is not None
        return place

    def is_answered(self, address: str, held_bytes: int) -> Place:
        """Come, ask, and take nothing of so much."""
        place = self.must_come(address)
        self.connections.works(place)
        self.connections.holds(place, held_bytes)
        self.time_s += 0.001
        return place


def test_the_longest_waiting_of_an_address_gives_way_to_its_next() -> None:
    guests = Guests()
    other = guests.must_come("192.0.2.9")
    first, second = guests.must_come("192.0.2.1"), guests.must_come("192.0.2.1")
    third = guests.must_come("192.0.2.1")
    assert guests.ended == [first]
    guests.connections.works(second)
    guests.connections.waits(second)
    guests.must_come("192.0.2.1")
    assert guests.ended == [first, third], "the second has waited for less long"
    assert other not in guests.ended


def test_who_is_served_gives_way_to_nobody() -> None:
    guests = Guests()
    for _ in range(2):
        guests.connections.works(guests.must_come("192.0.2.1"))
    assert guests.come("192.0.2.1") is None
    assert guests.come("192.0.2.2") is not None
    assert guests.ended == []


def test_all_together_have_a_bound() -> None:
    guests = Guests()
    places = [guests.must_come(f"192.0.2.{number}") for number in range(4)]
    for place in places[1:]:
        guests.connections.works(place)
    last = guests.must_come("192.0.2.5")
    assert guests.ended == [places[0]]
    guests.connections.works(last)
    assert guests.come("192.0.2.6") is None
    assert len(guests.connections) == 4


def test_addresses_of_one_client_are_one() -> None:
    guests = Guests()
    for address in ("2001:db8::1", "2001:db8::2"):
        guests.connections.works(guests.must_come(address))
    assert guests.come("2001:db8::3") is None
    assert guests.come("2001:db8:0:1::3") is not None


def test_who_has_left_counts_no_more() -> None:
    guests = Guests(of_one=1)
    for _ in range(9):
        place = guests.must_come("192.0.2.1")
        guests.connections.works(place)
        guests.connections.leave(place)
        guests.connections.leave(place)
        guests.connections.waits(place)
    assert len(guests.connections) == 0
    guests.must_come("192.0.2.1")
    assert guests.ended == []


def test_at_the_end_nobody_loses_an_answer() -> None:
    guests = Guests(in_all=9, of_one=9)
    new, between, busy, stream = (guests.must_come("192.0.2.1") for _ in range(4))
    for place in (between, busy, stream):
        guests.connections.works(place)
    guests.connections.waits(between)
    stream.is_stream = True
    guests.connections.end_idle()
    assert guests.ended == [between, stream]
    guests.connections.end_all()
    assert set(guests.ended) == {new, between, busy, stream}


def test_who_takes_nothing_of_an_answer_gives_way() -> None:
    guests = Guests()
    slow, stuck = (guests.is_answered("192.0.2.1", 100) for _ in range(2))
    assert guests.come("192.0.2.1") is None, "both have taken some a moment ago"
    guests.time_s += STUCK_S
    guests.connections.holds(slow, 99)
    guests.must_come("192.0.2.1")
    assert guests.ended == [stuck]
    assert guests.connections.enter(Place("192.0.2.1", lambda: None)), "who came last has asked for nothing"
    guests.connections.holds(slow, 0)
    guests.time_s += STUCK_S
    guests.connections.works(guests.must_come("192.0.2.2"))
    assert slow not in guests.ended


def test_where_all_are_served_a_few_may_still_ask_for_little() -> None:
    guests = Guests(of_one=1, in_all=2, kept=KEPT_OF_ONE + 1)
    busy = guests.is_answered("192.0.2.1", 1)
    assert not busy.is_kept
    kept = [guests.must_come("192.0.2.1") for _ in range(KEPT_OF_ONE)]
    for place in kept:
        guests.connections.works(place)
    assert all(place.is_kept for place in kept)
    assert guests.come("192.0.2.1") is None
    for _ in range(2):
        guests.connections.works(guests.must_come("192.0.2.2"))
    assert guests.come("192.0.2.3") is None, "there are no more of them in all"
    guests.connections.waits(kept[0])
    last = guests.must_come("192.0.2.3")
    guests.connections.works(last)
    assert last.is_kept
    assert guests.ended == [kept[0]], "it only waited"
    guests.connections.leave(last)
    guests.connections.works(guests.must_come("192.0.2.1"))
    guests.connections.waits(kept[1])
    guests.must_come("192.0.2.1")
    assert guests.ended == kept[:2], "an address has so many and no more"


def test_the_last_connections_are_for_those_who_have_few() -> None:
    guests = Guests(in_all=32, of_one=32)
    for _ in range(28):
        guests.connections.works(guests.must_come("192.0.2.1"))
    assert guests.come("192.0.2.1") is None
    for number in range(4):
        guests.connections.works(guests.must_come(f"192.0.2.{2 + number % FEW}"))
    assert guests.come("192.0.2.9") is None
    assert guests.ended == []


def test_answers_that_wait_are_bounded_for_one_address() -> None:
    guests = Guests(in_all=99, of_one=99)
    half = MAX_HELD_OF_ONE // 2
    first, second = (guests.is_answered("192.0.2.1", half) for _ in range(2))
    guests.connections.holds(first, half - 1)  # it takes some
    assert guests.ended == []
    third = guests.is_answered("192.0.2.1", half)
    assert guests.ended == [second]
    guests.connections.holds(second, half)  # of one that is to end nothing counts any more
    guests.connections.holds(third, 0)
    guests.is_answered("192.0.2.1", half)
    assert guests.ended == [second]
    guests.connections.leave(first)
    big = guests.is_answered("192.0.2.1", 2 * MAX_HELD_OF_ONE)
    assert big not in guests.ended, "nobody else holds anything"


def test_answers_that_wait_are_bounded_in_all() -> None:
    guests = Guests(in_all=99, of_one=99)
    quarter = MAX_HELD_BYTES // 4
    places = [guests.is_answered(f"192.0.2.{number}", quarter) for number in range(4)]
    assert guests.ended == []
    guests.is_answered("192.0.2.8", 1)
    assert guests.ended == places[:1]
