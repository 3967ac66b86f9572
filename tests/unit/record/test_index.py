"""The last line about a file counts; what may be deleted, and in which order."""

from __future__ import annotations

import pytest

from rtmpsrv.record.index import (
    DAY_S,
    DELETED,
    DONE,
    LINES_AT_ONCE,
    MAX_DEAD_LINES,
    MOVED,
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
    entries = {one.file: one for one in (done("1", 5), done("2", 3), done("3", 2.5), done("4", 0.5))}
    assert [one.file for one in to_delete(entries, NOW, 2, 0)] == ["1", "2", "3"]
    assert to_delete(entries, NOW, 0, 0) == []
    assert [one.file for one in to_delete({"1": done("1", 50)}, NOW, 1, 1)] == []


def test_oldest_files_go_while_all_are_too_much() -> None:
    recording = Entry(RECORDING, "r", start=0.0, bytes=5)
    entries = {one.file: one for one in (done("1", 2), done("2", 3), done("3", 1), recording)}
    assert [one.file for one in to_delete(entries, NOW, 0, 35)] == []
    assert [one.file for one in to_delete(entries, NOW, 0, 34)] == ["1"]
    assert [one.file for one in to_delete(entries, NOW, 0, 1)] == ["1", "2"]


def test_index_is_shortened_when_most_of_it_counts_no_more() -> None:
    text, rests = line_of(done("a")) * MAX_DEAD_LINES, []
    assert shortened(text) is None
    shorter = shortened(text + line_of(done("b")) * 2, lambda: rests.append(1))
    assert shorter == line_of(done("a")) + line_of(done("b"))
    assert len(rests) == MAX_DEAD_LINES // LINES_AT_ONCE


def test_index_with_more_that_counts_is_left_alone() -> None:
    alive, rests = [line_of(done(str(number))) for number in range(2 * MAX_DEAD_LINES)], []
    text = b"".join(alive) + alive[0] * MAX_DEAD_LINES
    assert shortened(text) is None
    assert shortened(text + b"".join(alive[:MAX_DEAD_LINES]), lambda: rests.append(1)) == b"".join(alive)
    assert len(rests) == 6 * MAX_DEAD_LINES // LINES_AT_ONCE


def test_what_another_process_goes_on_with_is_carried() -> None:
    entry = Entry(MOVED, "a.flv", carried={"place": [1, 2]})
    assert read(line_of(entry)) == {"a.flv": entry}
    assert read(b'{"state": "moved", "file": "a", "carried": 7}') == {}
