"""Room for connections: who waits makes it, who is served does not."""

from __future__ import annotations

from rtmpsrv.web.connections import Connections, Place


class Guests:
    """Connections of addresses, and which of them were ended."""

    def __init__(self, in_all: int = 4, of_one: int = 2) -> None:
        self.connections = Connections(in_all, of_one)
        self.ended: list[Place] = []

    def come(self, address: str) -> Place | None:
        place = Place(address, lambda: self.ended.append(place))
        return place if self.connections.enter(place) else None

    def must_come(self, address: str) -> Place:
        place = self.come(address)
        assert place is not None
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
