from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from gevent import monkey

from rtmpsrv import line_writer
from rtmpsrv.line_writer import LineWriter

close = monkey.get_original("os", "close")  # gevent's waits for its loop
PIPE_BYTES = 65536


class Pipe:
    """A pipe of 64 KiB with a writer on it."""

    def __init__(self, **limits: int) -> None:
        self.reading, descriptor = os.pipe()
        self.descriptor = descriptor
        self._open = True
        self.writer = LineWriter(descriptor, lambda count: b"<%d dropped>\n" % count, **limits)

    def close(self) -> None:
        """Stop reading, which lets a thread that is stuck go. Once: others get the number next."""
        if self._open:
            self._open = False
            close(self.reading)

    def read(self) -> list[bytes]:
        """Read what is there, to the end when the writer is closed."""
        os.set_blocking(self.reading, False)
        parts = []
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.reading, 1 << 20):
                parts.append(part)
        return b"".join(parts).splitlines()

    def work_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Do the work of the thread in this one, where coverage and a debugger see it, up to the end."""
        monkeypatch.setattr(line_writer, "_new_thread", lambda run, arguments: None)
        self.writer.put(b"last\n")
        self.writer._queue.put(line_writer._CLOSE)
        self.writer._closed = True
        self.writer._run(self.writer._queue)

    def fill(self) -> None:
        """Put lines of 1 KiB until the pipe and the queue take no more."""
        while not self.writer.describe()["dropped_lines"]:
            self.writer.put(b"x" * 1023 + b"\n")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe(limit_bytes=100_000, limit_lines=1000)
    yield one
    one.close()
    one.writer.close()


def test_lines_come_in_order(pipe: Pipe) -> None:
    for number in range(500):
        pipe.writer.put(b"%d\n" % number)
    assert pipe.writer.flush()
    assert pipe.read() == [b"%d" % number for number in range(500)]
    assert pipe.writer.describe() == {"queued_lines": 0, "queued_bytes": 0, "dropped_lines": 0}


def test_nothing_is_started_before_the_first_line(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(line_writer, "_new_thread", lambda run, arguments: started.append(arguments))
    assert pipe.writer.flush()
    assert started == []
    pipe.writer.put(b"x\n")
    pipe.writer.put(b"y\n")
    assert started == [(pipe.writer._queue,)]
    pipe.work_here(monkeypatch)


@pytest.mark.parametrize(
    ("limits", "most"), [({"limit_bytes": 10_000}, 10_000), ({"limit_lines": 10}, 10 * 1024)]
)
def test_the_queue_is_bounded_by_bytes_and_by_lines(limits: dict[str, int], most: int) -> None:
    pipe = Pipe(**limits)
    pipe.fill()
    assert most - 4096 < pipe.writer.describe()["queued_bytes"] <= most
    pipe.close()
    pipe.writer.close()


def test_the_place_of_a_gap_is_told_when_the_output_moves_again(pipe: Pipe) -> None:
    pipe.fill()
    for _ in range(9):
        pipe.writer.put(b"y" * 1024)
    read_until(pipe, b"<10 dropped>")
    pipe.writer.put(b"after\n")
    assert pipe.writer.flush()
    assert pipe.read() == [b"after"]
    assert pipe.writer.describe()["dropped_lines"] == 10


def read_until(pipe: Pipe, line: bytes) -> None:
    with open(pipe.reading, "rb", closefd=False) as lines:
        for found in lines:
            if found.rstrip(b"\n") == line:
                return
    raise AssertionError(line)


def test_a_line_behind_a_gap_comes_after_the_word_about_it(pipe: Pipe) -> None:
    pipe.fill()
    os.set_blocking(pipe.reading, False)
    got = b""
    while pipe.writer.describe()["queued_lines"] > 60:  # some room, and still much to write
        with contextlib.suppress(BlockingIOError):
            got += os.read(pipe.reading, 1024)
    pipe.writer.put(b"after\n")
    while b"after\n" not in got:
        with contextlib.suppress(BlockingIOError):
            got += os.read(pipe.reading, 4096)
    assert got.splitlines()[-2:] == [b"<1 dropped>", b"after"]


def test_the_end_does_not_wait_for_an_output_that_takes_nothing(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_writer, "STUCK_S", 0.05)
    pipe.fill()
    assert not pipe.writer.flush()


def test_the_end_does_not_wait_for_ever_for_a_slow_output(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_writer, "STUCK_S", 0.01)
    monkeypatch.setattr(line_writer, "END_S", 0.0)
    pipe.fill()
    assert not pipe.writer.flush()


def test_a_writer_that_is_closed_drops_what_comes(pipe: Pipe) -> None:
    pipe.writer.put(b"x\n")
    pipe.writer.close()
    pipe.writer.close()
    pipe.writer.put(b"late\n")
    assert read_to_the_end(pipe) == b"x\n"
    assert pipe.writer.describe()["dropped_lines"] == 1


def read_to_the_end(pipe: Pipe) -> bytes:
    with open(pipe.reading, "rb", closefd=False) as lines:
        return lines.read()


def test_a_writer_that_was_not_used_closes_its_descriptor() -> None:
    pipe = Pipe()
    pipe.writer.close()
    assert read_to_the_end(pipe) == b""
    pipe.close()


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.descriptor, False)
    pipe.fill()
    read_until(pipe, b"<1 dropped>")
    assert pipe.writer.flush()


def test_a_write_that_takes_a_part_is_continued(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    pipe.writer.put(b"0123456789\n")
    pipe.writer.flush()
    monkeypatch.undo()
    assert pipe.read() == [b"0123456789"]


def test_a_reader_that_went_away_costs_the_lines_and_nothing_else(pipe: Pipe) -> None:
    pipe.close()
    pipe.writer.put(b"lost\n")
    assert pipe.writer.flush()
    assert pipe.writer.describe()["dropped_lines"] == 1
    pipe.writer.put(b"to nobody\n")
    assert pipe.writer.flush()
    assert os.readlink(f"/proc/self/fd/{pipe.descriptor}") == "/dev/null"


def test_lines_that_a_full_disk_refused_are_told_when_there_is_room(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(3):
        pipe.writer.put(b"lost\n")
        pipe.writer.flush()
    monkeypatch.undo()
    pipe.writer.put(b"after\n")
    pipe.writer.flush()
    assert pipe.read() == [b"<3 dropped>", b"after"]
    assert pipe.writer.describe()["dropped_lines"] == 3


def test_without_a_thread_to_be_had_lines_wait(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(line_writer, "_new_thread", refuse)
    pipe.writer.put(b"first\n")
    assert not pipe.writer.flush()
    monkeypatch.undo()
    pipe.writer.put(b"second\n")
    assert pipe.writer.flush()
    assert pipe.read() == [b"first", b"second"]


def test_a_forked_child_writes_its_own_lines_and_not_those_of_its_parent(pipe: Pipe) -> None:
    pipe.writer.put(b"parent\n")
    pipe.writer.flush()
    fork: Any = monkey.get_original("os", "fork")
    child = fork()
    if not child:
        os._exit(_in_the_child(pipe.writer))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pipe.read() == [b"parent", b"child"]


def _in_the_child(writer: LineWriter) -> int:
    if not writer.flush():  # nothing of its own yet, and no thread to wait for
        return 1
    writer.put(b"child\n")
    return 0 if writer.flush() and writer.describe()["queued_lines"] == 0 else 2


def test_a_write_is_never_above_the_size_that_pipes_take_whole(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = os.write

    def noted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(descriptor, data)

    fcntl.fcntl(pipe.descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    pipe.fill()
    monkeypatch.setattr(os, "write", noted)
    read_until(pipe, b"<1 dropped>")
    monkeypatch.undo()
    assert max(sizes) == line_writer.WRITE_BYTES


@pytest.fixture
def idle(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """A pipe whose thread does not run."""
    monkeypatch.setattr(line_writer, "_new_thread", lambda run, arguments: None)
    return pipe


def test_work_lines_and_flushes_and_gaps_in_their_order(idle: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    idle.writer.put(b"first\n")
    idle.writer.put(b"second\n")
    reached = line_writer._new_lock()
    reached.acquire()
    idle.writer._queue.put(reached)
    idle.writer.put(b"x" * 4090 + b"\n")
    idle.writer.put(b"third\n")
    idle.writer.put(b"y" * 100_000)
    idle.work_here(monkeypatch)
    assert reached.acquire(timeout=0)
    assert idle.read() == [b"first", b"second", b"x" * 4090, b"third", b"<1 dropped>", b"last"]
    assert read_to_the_end(idle) == b""  # it was closed


def test_work_an_output_that_fails_waits_or_is_gone(idle: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    problems = [OSError(28, "full"), BlockingIOError(11, "later"), None, OSError(32, "gone")]

    def write(descriptor: int, data: bytes) -> int:
        problem = problems.pop(0) if problems else None
        if problem:
            raise problem
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    for number in range(3):
        idle.writer.put(b"%d" % number + b"z" * 4000 + b"\n")
    idle.work_here(monkeypatch)
    monkeypatch.undo()
    assert [line[:12] for line in idle.read()] == [b"<1 dropped>"]
    assert idle.writer.describe()["dropped_lines"] == 2


def test_threads_of_the_system_are_used_although_gevent_replaced_them() -> None:
    assert monkey.is_module_patched("threading")
    assert "gevent" not in repr(line_writer._new_lock)
    assert threading.Lock is not line_writer._new_lock
