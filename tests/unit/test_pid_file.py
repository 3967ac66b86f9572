"""The file that says whom to signal."""

from __future__ import annotations

import os
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
