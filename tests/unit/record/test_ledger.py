"""The index is read as it grows, from its beginning where it is another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rtmpsrv.record import ledger as ledger_module
from rtmpsrv.record.disk import Folder
from rtmpsrv.record.index import (
    DELETED,
    DONE,
    LINES_AT_ONCE,
    MAX_DEAD_LINES,
    MOVED,
    RECORDING,
    Entry,
    line_of,
)
from rtmpsrv.record.ledger import Ledger, rest


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "recordings"))


def note(folder: Folder, *entries: Entry) -> None:
    folder.note([line_of(entry) for entry in entries])


def test_folder_that_is_not_there_holds_nothing_and_is_not_made(folder: Folder) -> None:
    assert Ledger(folder).entries() == {}
    assert not folder.is_there()


def test_what_is_added_is_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(folder)
    begun = Entry(RECORDING, "a", "one")
    note(folder, begun)
    assert ledger.open() == [begun]
    read: list[int] = []
    real = folder.noted_since

    def noted_since(mark: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
        text, mark = real(mark)
        read.append(len(text))
        return text, mark

    monkeypatch.setattr(folder, "noted_since", noted_since)
    whole, moved = Entry(DONE, "a", "one"), Entry(MOVED, "b", "two")
    note(folder, whole, moved)
    assert ledger.entries() == {"a": whole, "b": moved}
    assert (ledger.open(), ledger.ended("one"), ledger.ended("two")) == ([moved], whole, None)
    assert read == [len(line_of(whole) + line_of(moved)), 0, 0, 0]
    note(folder, Entry(DELETED, "b"))
    assert (ledger.open(), ledger.of("one", 5), ledger.of("two", 5)) == ([], [whole], [])


def test_line_that_is_torn_is_read_when_it_is_whole(folder: Folder) -> None:
    ledger = Ledger(folder)
    line = line_of(Entry(DONE, "a", "one"))
    folder.note([line, line[:10]])
    assert list(ledger.entries()) == ["a"]
    note(folder, Entry(DONE, "b", "one"))  # begins a line of its own
    assert list(ledger.entries()) == ["a", "b"]


def test_other_index_is_read_from_its_beginning(folder: Folder) -> None:
    ledger = Ledger(folder)
    note(folder, *[Entry(DONE, name, "one") for name in "abc"])
    assert [one.file for one in ledger.of("", 2)] == ["b", "c"]
    folder.rewrite(lambda text: line_of(Entry(DONE, "d", "two")))
    assert list(ledger.entries()) == ["d"]
    assert ledger.ended("one") is None


def test_index_of_another_folder_is_read_from_its_beginning(folder: Folder) -> None:
    ledger = Ledger(folder)
    note(folder, Entry(RECORDING, "a", "one"))
    assert [one.file for one in ledger.open()] == ["a"]
    index = Path(folder.path) / "index.jsonl"  # the same number of a file, as disks give them again
    index.write_bytes(b"".join([line_of(Entry(DONE, name, "two")) for name in "bcd"]))
    assert list(ledger.entries()) == ["b", "c", "d"]
    assert ledger.open() == []


def test_folder_that_is_gone_holds_nothing_and_is_not_made_anew(folder: Folder) -> None:
    ledger = Ledger(folder)
    note(folder, Entry(RECORDING, "a", "one"))
    assert ledger.open() != []
    shutil.rmtree(folder.path)
    assert (ledger.open(), ledger.ended("one"), folder.is_there()) == ([], None, False)


def test_index_is_shortened_when_most_of_it_counts_no_more(folder: Folder) -> None:
    rests: list[int] = []
    ledger = Ledger(folder, lambda: rests.append(1))
    folder.note([line_of(Entry(DONE, "a"))] * MAX_DEAD_LINES)
    ledger.entries()
    ledger.shorten()
    assert folder.noted().count(b"\n") == MAX_DEAD_LINES
    assert len(rests) == MAX_DEAD_LINES // LINES_AT_ONCE
    note(folder, Entry(DONE, "a"))
    ledger.entries()
    ledger.shorten()
    assert folder.noted() == line_of(Entry(DONE, "a"))


def test_no_more_are_known_than_may_be(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_FILES", 2)
    ledger = Ledger(folder)
    note(folder, Entry(RECORDING, "a", "one"), Entry(DONE, "b", "two"), Entry(DONE, "c", "two"))
    note(folder, Entry(DONE, "d", "three"))
    assert list(ledger.entries()) == ["c", "d"]
    assert ledger.open() == []
    assert ledger.ended("two") is not None
    note(folder, Entry(DONE, "e", "three"))
    assert ledger.ended("two") is None


def test_rest_is_short() -> None:
    rest()
