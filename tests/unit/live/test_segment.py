from __future__ import annotations

import errno
import os
import tempfile

import pytest

from rtmpsrv.live.segment import AUDIO, KEYFRAME, VIDEO, Budget, Segment


def filled(*sizes: int, budget: Budget | None = None) -> Segment:
    segment = Segment(0, 0, (), budget or Budget(1 << 30))
    for number, size in enumerate(sizes):
        segment.append(bytes((number,)) * size, VIDEO, float(number))
    return segment


def test_messages_are_indexed_as_they_come() -> None:
    segment = filled(10, 20)
    segment.append(b"a" * 5, AUDIO | KEYFRAME, 7.0)
    assert segment.size == 35
    assert list(segment.offsets) == [0, 10, 30]
    assert list(segment.flags) == [VIDEO, VIDEO, AUDIO | KEYFRAME]
    assert list(segment.arrivals) == [0.0, 1.0, 7.0]


def test_file_holds_what_was_appended_before_and_after_it_was_asked_for() -> None:
    segment = filled(3)
    assert os.pread(segment.file(), 100, 0) == b"\0\0\0"
    segment.append(b"more", VIDEO, 1.0)
    assert os.pread(segment.file(), 100, 0) == b"\0\0\0more"


def test_ranges_are_read() -> None:
    segment = filled(3, 3)
    assert segment.read(1, 4) == b"\0\0\1\1"
    assert segment.read(6, 0) == b""
    assert filled().read(0, 0) == b""


def test_much_is_written_to_the_file_without_being_asked_for() -> None:
    big = bytes(1 << 20)
    segment = filled()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        segment.append(big, VIDEO, 0.0)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert segment.read(5 * len(big) - 1, 1) == b"\0"


@pytest.mark.parametrize(
    ("offset", "message", "boundary"),
    [(0, 0, 0), (1, 0, 10), (9, 0, 10), (10, 1, 10), (11, 1, 30), (29, 1, 30), (30, 2, 30)],
)
def test_places_in_the_segment(offset: int, message: int, boundary: int) -> None:
    segment = filled(10, 20)
    assert segment.message_at(offset) == message
    assert segment.next_boundary(offset) == boundary
    assert segment.is_boundary(offset) is (offset == boundary)


def test_empty_segment_is_one_boundary() -> None:
    assert filled().is_boundary(0)
    assert filled().message_at(0) == 0


def test_budget_counts_until_the_last_reference_is_gone() -> None:
    budget = Budget(100)
    segment = filled(10, 20, budget=budget)
    other = filled(5, budget=budget)
    assert budget.used_bytes == 35
    del segment
    assert budget.used_bytes == 5
    assert other.size == 5


def test_file_is_closed_with_the_last_reference() -> None:
    segment = filled(10)
    descriptor = segment.file()
    del segment
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_unlinked_file_stands_in_where_memory_files_are_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: str
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    segment = filled(3)
    assert segment.read(0, 3) == b"\0\0\0"
    assert os.listdir(tmp_path) == []


def test_out_of_descriptors_the_bytes_are_read_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    segment = filled(3, 3)
    with monkeypatch.context() as exhausted:
        exhausted.setattr(os, "memfd_create", refuse)
        assert segment.file() == -1
        assert segment.read(1, 4) == b"\0\0\1\1"
        segment.append(b"more", VIDEO, 2.0)
        assert segment.read(5, 5) == b"\1more"
    assert os.pread(segment.file(), 100, 0) == segment.read(0, 100) == b"\0\0\0\1\1\1more"


def test_other_errors_of_the_file_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(OSError, match="Cannot allocate"):
        filled(3).file()
