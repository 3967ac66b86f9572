"""The file that says whom to signal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtmpsrv.pid_file import PidFile


def test_it_names_this_process_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = PidFile(str(path))
    file.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == [path]
    file.remove()
    file.remove()
    assert not path.exists()


def test_one_that_names_another_process_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = PidFile(str(path))
    file.write(4711)
    file.remove()
    assert path.read_text() == "4711\n"
    path.write_text("nobody")
    file.remove()
    assert path.read_text() == "nobody"


@pytest.mark.parametrize("said", ["import os\n", "4711 4712\n", "1" * 65, "-1", "\0"])
def test_a_file_that_is_none_stays_as_it_is(tmp_path: Path, said: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(said)
    with pytest.raises(FileExistsError, match="it is there, and names no process"):
        PidFile(str(path)).claim()
    assert path.read_text() == said


def test_a_pipe_or_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(FileExistsError):
            PidFile(str(path)).claim()
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("said", ["", "\n", f"{2**22}\n"])
def test_an_empty_or_old_one_is_taken(tmp_path: Path, said: str) -> None:
    path = tmp_path / "pid"
    path.write_text(said)
    PidFile(str(path)).claim()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("4711\n")
    with path.open() as before:
        PidFile(str(path)).write()
        assert before.read() == "4711\n"  # the old file, whole


def test_one_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        PidFile(str(tmp_path / "pid")).write()
    assert [one.name for one in tmp_path.iterdir()] == ["pid"]


def test_without_a_path_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = PidFile("")
    file.write()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_means_the_same_file_when_the_directory_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = PidFile("pid")
    file.write()
    monkeypatch.chdir("/")
    file.remove()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def running(*arguments: str) -> Iterator[int]:
    """Run a process that looks as if it were called so."""
    with subprocess.Popen([sys.executable, "-c", "print(); input()", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("called", ["rtmpsrv", "/opt/bin/rtmpsrv", "rtmpsrv.workers.manager"])
def test_a_server_does_not_take_the_file_of_another_that_runs(tmp_path: Path, called: str) -> None:
    path = tmp_path / "pid"
    file = PidFile(str(path))
    with running("-m", called) as other:
        path.write_text(f"{other}\n")
        with pytest.raises(OSError, match=f"it names process {other}, another server that runs"):
            file.claim()
        file.remove()
        assert path.read_text() == f"{other}\n"
    file.claim()
    assert path.read_text() == f"{os.getpid()}\n", "the other one is gone"
    file.claim()  # an upgraded manager, or process 1 of a container after a crash
    file.remove()
    assert not path.exists()


def test_a_number_that_the_system_gave_to_somebody_else_is_free(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with running("/etc/rtmpsrv.env") as other:
        path.write_text(f"{other}\n")
        PidFile(str(path)).claim()
    assert path.read_text() == f"{os.getpid()}\n"
