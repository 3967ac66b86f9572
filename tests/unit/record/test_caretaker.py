"""Files that are too old or too much go; what others deleted, and what is written, is counted as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmpsrv.record.caretaker import Caretaker, Keeping
from rtmpsrv.record.disk import Folder, OpenFile
from rtmpsrv.record.index import DAY_S, DONE, RECORDING, Entry, line_of
from rtmpsrv.record.steady import SteadyClock

NOW = 1000 * DAY_S


class House:
    def __init__(self, path: Path, keeping: Keeping) -> None:
        self.folder = Folder(str(path))
        self.now = NOW
        self.care = Caretaker(self.folder, keeping, SteadyClock(lambda: self.now, lambda: 1.0))

    def add(self, name: str, days_old: float, size: int) -> None:
        file = self.folder.create(name, "")
        self.folder.write(file, [bytes(size)])
        self.folder.finish(file, [])
        at = NOW - days_old * DAY_S
        self.folder.note([line_of(Entry(DONE, name, start=at, end=at, bytes=size))])

    def write(self, name: str, size: int) -> OpenFile:
        file = self.folder.create(name, "")
        self.folder.note([line_of(Entry(RECORDING, name))])
        self.folder.write(file, [bytes(size)])
        return file

    def deleted(self) -> list[str]:
        gone = [entry.file for entry in self.care.delete()]
        assert all(self.folder.size_of(one) is None for one in gone)
        assert not set(gone) & set(self.care.ledger.entries())
        return gone


def test_nothing_is_deleted_without_a_bound(tmp_path: Path) -> None:
    house = House(tmp_path, Keeping())
    house.add("a", 900, 10)
    house.add("b", 900, 10)
    assert house.deleted() == []


def test_old_files_go_but_not_while_the_clock_jumps(tmp_path: Path) -> None:
    house = House(tmp_path, Keeping(days=2))
    house.add("a", 3, 10)
    house.add("b", 1, 10)
    house.now += 100 * DAY_S
    assert house.deleted() == []
    house.care = Caretaker(house.folder, Keeping(days=2), SteadyClock(lambda: NOW, lambda: 1.0))
    assert house.deleted() == ["a"]


def test_what_is_being_written_counts(tmp_path: Path) -> None:
    house = House(tmp_path, Keeping(max_bytes=100))
    for name in "abc":
        house.add(name, 0, 30)
    assert house.deleted() == []
    file = house.write("d", 20)
    assert house.deleted() == ["a"]
    house.folder.write(file, [bytes(50)])
    assert house.deleted() == ["b"]
    house.folder.write(file, [bytes(500)])
    assert house.deleted() == []  # the newest that is whole stays
    file.close()


def test_what_somebody_else_deleted_does_not_count(tmp_path: Path) -> None:
    house = House(tmp_path, Keeping(max_bytes=70))
    for name in "abcd":
        house.add(name, 0, 30)
    (tmp_path / "c").unlink()
    (tmp_path / "d").unlink()
    assert house.deleted() == []
    assert list(house.care.ledger.entries()) == ["a", "b"]


def test_file_that_another_process_deletes_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, Keeping(days=2))
    house.add("a", 3, 10)
    house.add("b", 1, 10)
    monkeypatch.setattr(house.folder, "remove", lambda name: False)
    assert house.care.delete() == []
    assert list(house.care.ledger.entries()) == ["b"]


def test_what_is_unfinished_is_recovered(tmp_path: Path) -> None:
    house = House(tmp_path, Keeping())
    assert house.care.recover() == []
    file = house.folder.create("a", ".flv")
    house.folder.note([line_of(Entry(RECORDING, "a.flv"))])
    assert house.care.recover() == []
    file.close()
    assert [one.file for one in house.care.recover()] == ["a.flv"]
    assert house.care.recover() == []
