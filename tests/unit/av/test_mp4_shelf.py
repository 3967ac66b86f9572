from __future__ import annotations

import pytest

from rtmpsrv.av import mp4_shelf
from rtmpsrv.av.mp4_shelf import LAG_S, MAX_BYTES, MAX_CUTS, MAX_TAKEN_BYTES, Reader, Shelf
from rtmpsrv.media.mp4_live import Cut
from tests.unit.av.asking import Memory


class Stage:
    def __init__(self) -> None:
        self.memory = Memory()
        self.shelf = Shelf(self.memory)
        self.now = 0.0

    def put(self, *data: bytes) -> None:
        """Fragments; those in capitals can begin."""
        for one in data:
            self.shelf.put(Cut(one, one[:1].isupper()), self.now)

    def reader(self) -> Reader:
        one = Reader()
        self.shelf.welcome(one)
        return one

    def take(self, reader: Reader) -> bytes:
        return self.shelf.take(reader)


def test_all_see_the_same_from_the_newest_beginning_on() -> None:
    stage = Stage()
    first = stage.reader()
    stage.put(b"x")
    assert stage.take(first) == b""
    stage.put(b"Key", b"inter")
    assert stage.take(first) == b"Keyinter"
    assert stage.take(stage.reader()) == b"Keyinter"

    stage.put(b"Next", b"more")

    assert stage.take(first) == b"Nextmore"
    assert stage.take(stage.reader()) == b"Nextmore"
    assert stage.take(first) == b""
    assert first.left_out == 0


def test_what_all_have_taken_goes_with_the_next_beginning() -> None:
    stage = Stage()
    slow = stage.reader()
    stage.put(b"inter", b"Key", b"inter", b"Next")
    assert stage.memory.used == stage.shelf.size == len(b"KeyinterNext")  # it begins with the first
    assert stage.take(slow) == b"KeyinterNext"
    stage.put(b"inter", b"Third")
    assert (stage.take(slow), stage.shelf.size) == (b"interThird", 10)
    stage.put(b"inter", b"Fourth")
    assert stage.shelf.size == len(b"interFourth")


def test_one_that_is_too_late_goes_on_at_a_beginning() -> None:
    stage = Stage()
    stage.put(b"Key")
    slow, gone = stage.reader(), stage.reader()
    assert stage.take(slow) == b"Key"
    stage.put(b"inter", b"Next")
    stage.now = LAG_S + 1
    stage.put(b"more")
    assert stage.take(slow) == b"Nextmore"
    assert slow.left_out == 1
    assert stage.take(gone) == b"Nextmore"
    assert gone.left_out == 2


def test_too_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_shelf, "MAX_BYTES", 1000)
    stage = Stage()
    stage.put(b"K" * 400)
    slow, quick = stage.reader(), stage.reader()
    for _ in range(4):
        stage.take(quick)
        stage.put(b"i" * 400)
    assert stage.shelf.size == 800
    assert stage.take(quick) == b"i" * 400
    assert stage.take(stage.reader()) == stage.take(slow) == b""  # until there is a beginning
    assert slow.left_out == 5

    stage.put(b"Next")
    assert stage.take(slow) == stage.take(quick) == b"Next"
    stage.put(b"i" * 5000)  # one is kept, however large
    assert stage.take(quick) == b"i" * 5000
    assert stage.take(slow) == b"i" * 5000


def test_too_many_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_shelf, "MAX_CUTS", 3)
    stage = Stage()
    stage.put(b"Key", b"1", b"2", b"3")
    assert stage.take(stage.reader()) == b""
    assert stage.shelf.size == 3


def test_under_pressure_nobody_is_waited_for() -> None:
    stage = Stage()
    stage.put(b"Key")
    slow = stage.reader()
    stage.take(slow)
    stage.put(b"inter", b"Next")
    assert stage.shelf.size == len(b"interNext")

    stage.memory.pressed = True
    stage.put(b"more")
    assert stage.shelf.size == len(b"Nextmore")
    assert stage.take(slow) == b"Nextmore"

    stage.shelf.drop("too much")
    assert stage.shelf.size == len(b"Nextmore")  # little enough, and those who are not behind want it
    lone = Shelf(stage.memory)
    lone.put(Cut(b"inter", False), 0.0)
    assert lone.size == len(b"inter")


def test_when_all_hold_too_much_it_lets_go() -> None:
    stage = Stage()
    stage.put(b"K" * MAX_TAKEN_BYTES)
    slow, quick = stage.reader(), stage.reader()
    stage.take(quick)
    stage.put(b"inter")

    stage.shelf.drop("too much")

    assert stage.take(quick) == b"inter"
    assert stage.take(slow) == b""
    stage.put(b"Next")
    assert stage.take(slow) == stage.take(quick) == b"Next"
    assert MAX_BYTES > MAX_TAKEN_BYTES
    assert MAX_CUTS > 1000


def test_it_is_taken_piece_by_piece() -> None:
    stage = Stage()
    half = MAX_TAKEN_BYTES // 2
    stage.put(b"K" * half, b"i" * half, b"j" * 3 * half, b"k")
    reader = stage.reader()

    assert [len(stage.take(reader)) for _ in range(4)] == [2 * half, 3 * half, 1, 0]


def test_nothing_is_held_for_nobody() -> None:
    stage = Stage()
    stage.put(b"Key")
    reader = stage.reader()
    stage.shelf.end()
    assert stage.take(reader) == b"Key"
    assert stage.memory.used == 3

    stage.shelf.leave(reader)
    stage.shelf.leave(reader)

    assert (stage.memory.held, stage.shelf.size) == ({}, 0)


def test_what_is_large_counts_until_it_was_sent_and_who_has_it_may_be_ended() -> None:
    stage = Stage()
    ended: list[tuple[str, str]] = []
    first, second, quick = (Reader(lambda why, name=name: ended.append((name, why))) for name in "abc")  # type: ignore[misc]
    large = MAX_TAKEN_BYTES + 1
    for one in (first, second, quick):
        stage.shelf.welcome(one)
    stage.put(b"K" * large)
    for one in (first, second, quick):
        assert len(stage.take(one)) == large
    assert stage.take(quick) == b""
    assert (stage.shelf.lent, stage.memory.used) == (0, large)

    stage.put(b"Next")
    assert (stage.shelf.lent, stage.shelf.size, stage.memory.used) == (large, 4, large + 4)
    stage.shelf.drop("too much")
    assert ended == [("a", "too much"), ("b", "too much")]

    stage.shelf.leave(first)
    assert stage.memory.used == large + 4
    assert stage.take(second) == b"Next"
    assert (stage.shelf.lent, stage.memory.used) == (0, 4)
    stage.shelf.drop("too much")
    assert len(ended) == 2
