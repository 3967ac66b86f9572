"""Files are made, finished and deleted in their folder and nowhere else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from rtmpsrv.record import disk
from rtmpsrv.record.disk import NOTHING_READ, Folder, TooFull


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "new" / "recordings"))


def test_folder_is_made_when_it_is_needed(folder: Folder) -> None:
    assert not folder.is_there()
    folder.open()
    assert folder.is_there()


@pytest.mark.parametrize("is_made_anew", [True, False])
def test_folder_that_takes_the_place_of_another_is_used(folder: Folder, is_made_anew: bool) -> None:
    old, other = folder.create("a", ".flv"), folder.create("b", ".flv")
    shutil.rmtree(folder.path)
    if is_made_anew:
        os.mkdir(folder.path)
    with pytest.raises(FileNotFoundError, match="was deleted"):
        folder.write(old, [b"x"])
    new = folder.create("a", ".flv")
    folder.write(new, [b"new"])
    with pytest.raises(FileNotFoundError):  # neither is in the new one
        folder.finish(old, [])
    with pytest.raises(FileNotFoundError):
        folder.drop(other)
    folder.note([b"1\n"])
    folder.finish(new, [])
    assert (folder.size_of("a.flv"), folder.noted()) == (3, b"1\n")


def test_file_of_the_same_name_is_not_finished_for_another(folder: Folder) -> None:
    old = folder.create("a", ".flv")
    os.unlink(Path(folder.path) / "a.flv.part")
    new = folder.create("a", ".flv")
    with pytest.raises(FileNotFoundError, match="was deleted"):
        folder.finish(old, [])
    folder.drop(new)


def test_file_has_its_name_when_it_is_whole(folder: Folder) -> None:
    file = folder.create("a/b", ".flv")
    folder.write(file, [b"12", b"345"])
    folder.write(file, [b"67"])
    path = Path(folder.path) / "a" / "b.flv"
    assert Path(f"{path}.part").read_bytes() == b"1234567"
    assert folder.size_of("a/b.flv") is None
    os.pwrite(file.fd, b"torn", file.size)
    folder.finish(file, [(1, b"x")])
    assert path.read_bytes() == b"1x34567"
    assert folder.size_of("a/b.flv") == 7
    assert file.fd == -1
    assert oct(path.stat().st_mode & 0o777) == "0o640"


def test_same_name_gets_a_counter(folder: Folder) -> None:
    first = folder.create("a", ".flv")
    second = folder.create("a", ".flv")
    assert second.name == "a_2.flv"
    folder.finish(first, [])
    third = folder.create("a", ".flv")
    assert third.name == "a_3.flv"
    folder.drop(third)
    assert sorted(os.listdir(folder.path)) == ["a.flv", "a_2.flv.part"]
    second.close()


def test_counter_ends(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "MAX_SAME", 1)
    file = folder.create("a", ".flv")
    with pytest.raises(OSError, match="too many files"):
        folder.create("a", ".flv")
    file.close()


def test_unfinished_file_is_taken_once_nobody_writes_it(folder: Folder) -> None:
    file = folder.create("a", ".flv")
    folder.write(file, [b"123"])
    assert folder.take("a.flv") is None
    file.close()
    taken = folder.take("a.flv")
    assert taken is not None
    assert taken.size == 3
    folder.finish(taken, [])
    with pytest.raises(FileNotFoundError):
        folder.take("a.flv")


def test_pipe_is_not_taken(folder: Folder) -> None:
    folder.open()
    os.mkfifo(Path(folder.path) / "a.flv.part")
    with pytest.raises(OSError, match="not a regular file"):
        folder.take("a.flv")


def test_no_symbolic_link_is_followed(folder: Folder, tmp_path: Path) -> None:
    folder.open()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.flv").write_bytes(b"mine")
    (outside / "x.flv.part").write_bytes(b"mine")
    root = Path(folder.path)
    (root / "link").symlink_to(outside)
    (root / "y.flv.part").symlink_to(outside / "x.flv.part")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        folder.create("link/z", ".flv")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        folder.remove("link/x.flv")
    with pytest.raises(OSError, match="Too many levels"):
        folder.take("y.flv")
    assert folder.create("y", ".flv").name == "y_2.flv"
    assert folder.size_of("link/x.flv") is None
    assert sorted(os.listdir(outside)) == ["x.flv", "x.flv.part"]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", ""])
def test_names_that_lead_elsewhere_are_refused(folder: Folder, name: str) -> None:
    with pytest.raises(OSError, match="not a file of this folder"):
        folder.create(name, ".flv")


def test_deleted_file_takes_its_empty_folders_along(folder: Folder) -> None:
    for name in ("a/b/1", "a/2"):
        folder.finish(folder.create(name, ".flv"), [])
    assert folder.remove("a/b/1.flv")
    assert os.listdir(Path(folder.path) / "a") == ["2.flv"]
    assert folder.remove("a/2.flv")
    assert os.listdir(folder.path) == []
    assert not folder.remove("2.flv")


def removing(folder: Folder, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let somebody remove the folder `a` between two steps of who makes a file in it."""
    real, left = os.open, [times]

    def opened(path: str, *args: Any, **kwargs: Any) -> int:
        if path.endswith(".part") and left[0]:
            left[0] -= 1
            os.rmdir(Path(folder.path) / "a")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", opened)


def test_file_is_made_while_its_empty_folder_is_removed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing(folder, monkeypatch, disk.MAX_TRIES - 1)
    file = folder.create("a/b", ".flv")
    assert (Path(folder.path) / "a" / "b.flv.part").exists()
    file.close()


def test_file_is_not_tried_to_be_made_for_ever(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    removing(folder, monkeypatch, disk.MAX_TRIES)
    with pytest.raises(FileNotFoundError):
        folder.create("a/b", ".flv")


def test_no_room_is_told_before_the_disk_is_full(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder.create("a", ".flv")
    found = os.statvfs("/")
    full = os.statvfs_result((1, 1000, 1000, 49, 49, *tuple(found)[5:]))
    monkeypatch.setattr(os, "fstatvfs", lambda fd: full)
    with pytest.raises(TooFull, match="almost full"):
        folder.write(file, [b"x"])
    with pytest.raises(TooFull):
        folder.create("b", ".flv")
    assert file.size == 0
    monkeypatch.setattr(
        os, "fstatvfs", lambda fd: os.statvfs_result((1, 1000, 1000, 50, 50, *tuple(found)[5:]))
    )
    folder.write(file, [b"x"])
    file.close()


def test_write_that_fails_counts_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder.create("a", ".flv")
    folder.write(file, [b"whole"])
    real, calls = os.pwrite, []

    def pwrite(fd: int, data: bytes, at: int) -> int:
        calls.append(at)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data[:2]), at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space"):
        folder.write(file, [b"torn"])
    monkeypatch.undo()
    folder.finish(file, [])
    assert (Path(folder.path) / "a.flv").read_bytes() == b"whole"


def test_index_is_appended_read_and_replaced(folder: Folder) -> None:
    folder.note([b"1\n", b"2\n"])
    folder.note([b"3\n"])
    assert folder.noted() == b"1\n2\n3\n"
    folder.rewrite(lambda text: None)
    assert folder.noted() == b"1\n2\n3\n"
    folder.rewrite(lambda text: text[2:])
    folder.note([b"4\n"])
    assert folder.noted() == b"2\n3\n4\n"
    assert os.listdir(folder.path) == ["index.jsonl"]


def test_index_that_cannot_be_replaced_stays(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.note([b"1\n"])

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        folder.rewrite(lambda text: b"")
    assert folder.noted() == b"1\n"
    assert os.listdir(folder.path) == ["index.jsonl"]


def test_index_is_read_on_from_a_mark(folder: Folder) -> None:
    folder.note([b"1\n", b"torn"])
    text, mark = folder.noted_since(NOTHING_READ)
    assert text == b"1\n"
    folder.note([b"2\n"])
    text, mark = folder.noted_since(mark)
    assert text == b"torn\n2\n"
    assert folder.noted_since(mark) == (b"", mark)
    os.truncate(Path(folder.path) / "index.jsonl", 2)
    assert folder.noted_since(mark)[0] == b"1\n"
    folder.rewrite(lambda text: b"3\n" * 10)
    assert folder.noted_since(mark)[0] == b"3\n" * 10


def test_size_of_what_is_written(folder: Folder) -> None:
    file = folder.create("a", ".flv")
    folder.write(file, [b"12345"])
    assert (folder.part_size_of("a.flv"), folder.part_size_of("b.flv")) == (5, 0)
    assert folder.beginning(file, 3) == b"123"
    assert folder.beginning(file, 30) == b"12345"
    file.close()


def test_file_of_more_than_4_gib(folder: Folder) -> None:
    file = folder.create("a", ".flv")
    folder.write(file, [b"begin"])
    file.size = 5 << 30  # a hole
    folder.write(file, [b"behind"])
    folder.finish(file, [(0, b"B")])
    assert folder.size_of("a.flv") == (5 << 30) + 6
    with (Path(folder.path) / "a.flv").open("rb") as stream:
        assert stream.read(5) == b"Begin"
        stream.seek(5 << 30)
        assert stream.read() == b"behind"
