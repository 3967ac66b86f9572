from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from posix import close  # gevent's waits for its loop

import pytest

from rtmpsrv.standard_streams import open_standard_streams


@pytest.fixture
def _put_back() -> Iterator[None]:
    saved = [os.dup(fd) for fd in range(3)]
    yield
    for fd, copy in enumerate(saved):
        os.dup2(copy, fd)
        close(copy)


@pytest.mark.usefixtures("_put_back")
@pytest.mark.parametrize("closed", [(0, 1, 2), (1,), (0, 2)])
def test_what_was_closed_is_open_and_leads_nowhere(closed: tuple[int, ...]) -> None:
    before = [os.fstat(fd) for fd in range(3)]
    for fd in closed:
        close(fd)
    open_standard_streams()
    after = [os.fstat(fd) for fd in range(3)]
    nowhere = os.stat(os.devnull).st_rdev
    for fd in range(3):
        if fd in closed:
            assert after[fd].st_rdev == nowhere
        else:
            assert (after[fd].st_dev, after[fd].st_ino) == (before[fd].st_dev, before[fd].st_ino)


def test_python_has_streams_to_print_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        with stream:
            assert stream.write("lost") == 4
            assert os.fstat(stream.fileno()).st_rdev == os.stat(os.devnull).st_rdev


def test_streams_that_are_there_stay() -> None:
    before = sys.stdout, sys.stderr
    open_standard_streams()
    assert (sys.stdout, sys.stderr) == before
