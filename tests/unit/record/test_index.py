"""The last line about a file counts; what may be deleted, and in which order."""

from __future__ import annotations

import pytest

from rtmpsrv.record.index import (
    DAY_S,
    DELETED,
    DONE,
    MAX_DEAD_LINES,
    RECORDING,
    Entry,
    line_of,
    read,
    shortened,
    to_delete,
)

NOW = 1000 * DAY_S


def done(name: str, days_old: float = 0.0, size: int = 10) -> Entry:
    at = NOW - days_old * DAY_S
    return Entry(DONE, name, "c", "s", at, at, 1.5, size, "time")


def test_entries_come_back_as_they_were() -> None:
    first, second = Entry(RECORDING, "a/1.flv", "ä\n", "", start=1.5), done("b.flv")
    assert list(read(line_of(first) + line_of(second)).values()) == [first, second]


def test_last_line_counts() -> None:
    lines = [Entry(RECORDING, "a.flv"), done("a.flv"), done("b.flv"), Entry(DELETED, "b.flv")]
    assert read(b"".join(map(line_of, lines))) == {"a.flv": done("a.flv")}


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"7", b'{"state": "done"}', b'{"state": "odd", "file": "a"}',
        b'{"state": "done", "file": "../a"}', b'{"state": "done", "file": 7}', b"\xff",
        b'{"state": "done", "file": "a", "bytes": "x"}', b'{"state": "done", "file": "a", "bytes": 1e999}',
    ],
)  # fmt: skip
def test_line_that_is_none_is_passed_over(line: bytes) -> None:
    assert list(read(line + b"\n" + line_of(done("a.flv")))) == ["a.flv"]


def test_old_files_go_but_for_the_newest() -> None:
    entries = {one.file: one for one in (done("1", 5), done("3", 2.5), done("2", 3), done("4", 0.5))}
    assert [one.file for one in to_delete(entries, NOW, 2, 0)] == ["1", "2", "3"]
    assert to_delete(entries, NOW, 0, 0) == []
    assert [one.file for one in to_delete({"1": done("1", 50)}, NOW, 1, 1)] == []


def test_oldest_files_go_while_all_are_too_much() -> None:
    recording = Entry(RECORDING, "r", start=0.0, bytes=5)
    entries = {one.file: one for one in (done("2", 2), done("1", 3), done("3", 1), recording)}
    assert [one.file for one in to_delete(entries, NOW, 0, 35)] == []
    assert [one.file for one in to_delete(entries, NOW, 0, 34)] == ["1"]
    assert [one.file for one in to_delete(entries, NOW, 0, 1)] == ["1", "2"]


def test_index_is_shortened_when_most_of_it_counts_no_more() -> None:
    text = line_of(done("a")) * MAX_DEAD_LINES
    assert shortened(text) is None
    assert shortened(text + line_of(done("b")) * 2) == line_of(done("a")) + line_of(done("b"))
