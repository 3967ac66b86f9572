"""Who serves what, and how many connections there are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtmpsrv.access.gate import Grant
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.limits import ConnectionLimits
from rtmpsrv.workers.book import Book, SlotBook


def grant(serial: int, channel: str = "news") -> Grant:
    return Grant(channel, "key", "10.0.0.1", f"id-{serial}", serial)


def test_a_channel_has_one_publication() -> None:
    book = Book()
    assert book.add(grant(1), "w1")
    assert not book.add(grant(2), "w2")
    assert (book.directory().get("news"), len(book)) == ("w1", 1)
    assert book.add(grant(1), "w2")  # told again, by another one
    assert (book.directory().get("news"), len(book)) == ("w2", 1)
    assert book.directory() == {"news": "w2"}


def test_limits_of_players_are_those_that_were_given() -> None:
    book = Book()
    book.add(grant(1), "w1")
    book.add(replace(grant(2, "sport"), max_players=5), "w2")
    assert book.limits() == {"sport": 5}
    book.remove(2)
    assert book.limits() == {}


def test_a_publication_is_removed_once() -> None:
    book = Book()
    book.add(grant(1), "w1")
    held = book.remove(1)
    assert held is not None
    assert held.grant == grant(1)
    assert book.remove(1) is None
    assert book.directory().get("news") is None
    assert book.find(1) is None
    assert book.add(grant(2), "w2")


def test_what_travels_does_not_go_down_with_the_worker_that_it_leaves() -> None:
    book = Book()
    book.add(grant(1, "one"), "w1")
    book.add(grant(2, "two"), "w1")
    assert book.depart(1, "w1")
    assert book.of("w1") == [grant(2, "two")]
    assert book.directory().get("one") == "w1"
    assert book.add(grant(1, "one"), "w2")
    assert book.of("w2") == [grant(1, "one")]
    assert not book.depart(3, "w1")
    assert not book.depart(1, "w1")  # told late
    assert book.of("w2") == [grant(1, "one")]


def slots(per_address: int = 2) -> SlotBook:
    return SlotBook(ConnectionLimits(per_address, IpRules.parse(""), 100))


def test_limits_hold_over_all_workers() -> None:
    book = slots()
    assert book.admit(1, "10.0.0.1", "w1") is None
    assert book.admit(2, "10.0.0.1", "w2") is None
    assert book.admit(3, "10.0.0.1", "w2") is not None
    assert len(book) == 2
    for number in (3, 1, 1):
        book.release(number)
    assert book.admit(3, "10.0.0.1", "w2") is None
    assert book.admit(4, "10.0.0.1", "w2") is not None


@pytest.mark.parametrize("first", ["who lets go", "who takes"])
def test_a_connection_that_moves_is_counted_once_whoever_tells_first(first: str) -> None:
    book = slots(per_address=1)
    assert book.admit(1, "10.0.0.1", "w1") is None
    for who in (first, "who lets go", "who takes"):
        if who == "who lets go":
            book.pass_on(1, "w2")
        else:
            book.take(1, "10.0.0.1", "w2")
        assert len(book) == 1
        assert book.admit(2, "10.0.0.1", "w1") is not None
    assert (list(book.of("w1")), list(book.of("w2"))) == ([], [1])
    book.release(1)
    assert book.admit(2, "10.0.0.1", "w1") is None


def test_a_connection_that_went_to_a_worker_that_died_is_over() -> None:
    book = slots(per_address=1)
    book.admit(1, "10.0.0.1", "w1")
    book.pass_on(1, None)
    assert len(book) == 0
    assert book.admit(2, "10.0.0.1", "w1") is None
    book.pass_on(1, "w2")  # over there already
    assert len(book) == 1


def test_a_worker_has_exactly_what_it_says() -> None:
    book = slots(per_address=1)
    book.admit(1, "10.0.0.1", "w1")
    book.admit(2, "10.0.0.2", "w1")
    book.admit(3, "10.0.0.3", "w2")
    book.claim("w1", {2: "10.0.0.2", 4: "10.0.0.4", 5: "10.0.0.4"})
    assert sorted(book.of("w1")) == [2, 4, 5]
    assert list(book.of("w2")) == [3]
    assert book.admit(6, "10.0.0.1", "w2") is None
    assert book.admit(7, "10.0.0.4", "w2") is not None
