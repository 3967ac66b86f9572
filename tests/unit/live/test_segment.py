from __future__ import annotations

import errno
import os
import pickle
import sys
import tempfile

import pytest

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.segment import AUDIO, INDEX_BYTES, KEYFRAME, VIDEO, Segment


def filled(*sizes: int, budget: Budget | None = None) -> Segment:
    segment = Segment(1000, 5, budget or Budget(1 << 30))
    for number, size in enumerate(sizes):
        segment.append(bytes((number,)) * size, VIDEO, 40 * number, float(number))
    return segment


def test_messages_are_indexed_as_they_come() -> None:
    segment = filled(10, 20)
    segment.append(b"a" * 5, AUDIO | KEYFRAME, 0xFFFFFFFF, 7.0)
    assert segment.size == 35
    assert list(segment.offsets) == [0, 10, 30]
    assert list(segment.flags) == [VIDEO, VIDEO, AUDIO | KEYFRAME]
    assert list(segment.timestamps) == [0, 40, 0xFFFFFFFF]
    assert list(segment.arrivals) == [0.0, 1.0, 7.0]
    assert (segment.base, segment.first_number, segment.end) == (1000, 5, 1035)


def test_file_holds_what_was_appended_before_and_after_it_was_asked_for() -> None:
    segment = filled(3)
    assert os.pread(segment.file(), 100, 0) == b"\0\0\0"
    segment.append(b"more", VIDEO, 1, 1.0)
    assert os.pread(segment.file(), 100, 0) == b"\0\0\0more"


def test_many_small_messages_are_kept_as_few_pieces() -> None:
    segment = Segment(0, 0, Budget(1 << 30))
    for number in range(250):
        segment.append(bytes((number,)), VIDEO, number, 0.0)
        if number % 100 == 99:
            segment.settle()
    assert len(segment._collected) == 2 + 50
    assert os.pread(segment.file(), 1000, 0) == bytes(range(250))
    segment.append(b"more", VIDEO, 250, 0.0)
    assert os.pread(segment.file(), 1000, 0) == bytes(range(250)) + b"more"


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
        segment.append(big, VIDEO, 0, 0.0)
    assert len(os.listdir("/proc/self/fd")) == before
    segment.settle()
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
    assert segment.offset_of(message + (offset != segment.offset_of(message))) == boundary


def test_empty_segment_is_one_boundary() -> None:
    assert filled().next_boundary(0) == filled().message_at(0) == filled().offset_of(0) == 0


def test_message_can_be_copied_into_a_segment_of_its_own() -> None:
    budget = Budget(1 << 30)
    segment = filled(10, 20, 5, budget=budget)
    copy = segment.copy_of(1)
    del segment
    assert (copy.base, copy.first_number, copy.size) == (1010, 6, 20)
    assert (list(copy.flags), list(copy.timestamps), list(copy.arrivals)) == ([VIDEO], [40], [1.0])
    assert copy.read(0, 20) == b"\1" * 20
    assert budget.used_bytes == 20 + INDEX_BYTES


def test_budget_counts_what_was_settled_until_the_last_reference_is_gone() -> None:
    budget = Budget(100)
    segment = filled(10, 20, budget=budget)
    other = filled(5, budget=budget)
    assert budget.used_bytes == 0
    segment.settle()
    segment.settle()
    other.settle()
    assert budget.used_bytes == 35 + 3 * INDEX_BYTES
    assert budget.describe()["log_bytes"] == budget.used_bytes
    del segment
    assert budget.used_bytes == 5 + INDEX_BYTES
    del other
    assert budget.used_bytes == 0


def test_index_takes_no_more_than_what_is_counted_for_it() -> None:
    segment = filled()
    for number in range(10_000):
        segment.append(b"x", VIDEO, number, 0.0)
    index = (segment.offsets, segment.flags, segment.timestamps, segment.arrivals)
    # The bytes object of one byte is shared by all here; any other takes its length and 33.
    held_bytes = sum(sys.getsizeof(part) for part in index) + 10_000 * (8 + 33)
    assert held_bytes <= 10_000 * INDEX_BYTES * 1.1


def test_segment_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="handed over"):
        pickle.dumps(filled(3))


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
        segment.append(b"more", VIDEO, 2, 2.0)
        assert segment.read(5, 5) == b"\1more"
    assert os.pread(segment.file(), 100, 0) == segment.read(0, 100) == b"\0\0\0\1\1\1more"


def test_other_errors_of_the_file_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(OSError, match="Cannot allocate"):
        filled(3).file()


def test_descriptors_are_counted_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(1 << 30, descriptor_limit=2)
    segments = [filled(3, budget=budget) for _ in range(3)]
    assert [segment.file() >= 0 for segment in segments] == [True, True, False]
    assert segments[2].read(1, 2) == b"\0\0"
    assert budget.describe()["descriptors"] == 2
    del segments[0]
    assert segments[1].file() >= 0
    assert budget.describe()["descriptors"] == 2
    del segments
    assert budget.describe()["descriptors"] == 0


def test_descriptor_that_was_refused_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.ENFILE, "Too many open files in system")

    budget = Budget(1 << 30)
    monkeypatch.setattr(os, "memfd_create", refuse)
    assert filled(3, budget=budget).file() == -1
    assert budget.describe()["descriptors"] == 0


def test_what_a_full_disk_did_not_take_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    calls: list[int] = []

    def write(fd: int, data: bytes, offset: int) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:4], offset)

    segment = filled(3, 7)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", write)
        with pytest.raises(OSError, match="No space"):
            segment.file()
        assert (calls, segment.written) == ([10, 6], 4)
        assert segment.read(0, 10) == b"\0" * 3 + b"\1" * 7
        assert calls == [10, 6, 6, 2]
