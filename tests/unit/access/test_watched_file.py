"""A file that changes, is bad, is being written, or goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.access import watched_file
from rtmpsrv.access.watched_file import MAX_BYTES, MAX_TOLD, WatchedFile
from rtmpsrv.errors import ConfigError
from tests.unit.access.conftest import LogLines


class Scene:
    """A file, and what was taken of it."""

    def __init__(self, path: Path, log_lines: LogLines) -> None:
        self.path = path
        self.taken: list[bytes] = []
        self._lines = log_lines.lines
        self.file = WatchedFile("THE_FILE", str(path), self._take, log.get("ACCESS"))

    def _take(self, contents: bytes) -> None:
        if contents.startswith(b"bad"):
            raise ConfigError(contents.decode().split())
        if contents.startswith(b"bug"):
            raise RuntimeError
        self.taken.append(contents)

    def said(self) -> list[str]:
        """Return what was said since the last call."""
        lines = [line.partition("] ")[2] or line for line in self._lines]
        self._lines.clear()
        return lines


@pytest.fixture
def scene(tmp_path: Path, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(watched_file, "SETTLED_S", 0.0)
    path = tmp_path / "file"
    path.write_bytes(b"one")
    made = Scene(path, log_lines)
    made.file.load()
    made.said()
    return made


def test_it_is_taken_when_it_changes_and_only_then(scene: Scene) -> None:
    scene.file.look()
    scene.path.write_bytes(b"two")
    scene.file.look()
    scene.file.look()
    assert scene.taken == [b"one", b"two"]
    assert [line.endswith("THE_FILE read again") for line in scene.said()] == [True]


def test_a_bad_one_is_told_once_and_changes_nothing(scene: Scene) -> None:
    scene.path.write_bytes(b"bad worse")
    scene.file.look()
    told = scene.said()
    assert [line.partition("THE_FILE: ")[2] for line in told] == [
        "bad",
        "worse",
        "what was read before stays in use",
    ]
    assert all("ERROR" in line for line in told)
    scene.file.look()
    assert scene.said() == []
    scene.file.look(asked=True)
    assert len(scene.said()) == 3, "somebody who asked gets an answer"
    scene.path.write_bytes(b"one")
    scene.file.look()
    assert scene.taken == [b"one", b"one"]


def test_who_asks_is_told_that_nothing_has_changed(scene: Scene) -> None:
    scene.file.look(asked=True)
    assert [line.endswith("THE_FILE has not changed") for line in scene.said()] == [True]
    assert scene.taken == [b"one"]


def test_not_everything_that_is_wrong_is_told(scene: Scene) -> None:
    scene.path.write_bytes(b"bad " * (MAX_TOLD + 10))
    scene.file.look()
    assert len(scene.said()) == MAX_TOLD + 1


def test_one_that_goes_is_told_and_taken_when_it_is_back(scene: Scene) -> None:
    scene.path.unlink()
    scene.file.look()
    scene.file.look()
    assert [("cannot be read: No such file" in line) for line in scene.said()] == [True, False]
    scene.path.write_bytes(b"two")
    scene.file.look()
    assert scene.taken == [b"one", b"two"]


def test_one_that_is_being_written_is_left_until_it_is_still(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter([b"half of i", b"half of it"])
    monkeypatch.setattr(gevent, "sleep", lambda seconds: scene.path.write_bytes(next(steps, b"x")))
    scene.path.write_bytes(b"ha")
    scene.file.look()
    scene.path.unlink()
    scene.file.look()
    assert scene.taken == [b"one"]
    monkeypatch.setattr(gevent, "sleep", lambda seconds: None)
    scene.file.look()
    assert scene.taken == [b"one", b"half of it"]


def test_one_that_is_too_long_is_refused_without_a_byte_more(scene: Scene) -> None:
    scene.path.write_bytes(b"x" * MAX_BYTES)
    scene.file.look()
    assert len(scene.taken) == 2
    scene.path.write_bytes(b"x" * (MAX_BYTES + 1))
    scene.file.look()
    assert len(scene.taken) == 2
    assert "has more than 1048576 bytes" in scene.said()[1]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file"),
        (os.mkfifo, "it is not a regular file"),
        (os.mkdir, "Is a directory"),
        (lambda path: Path(path).write_bytes(b"bad"), "THE_FILE: bad"),
    ],
)
def test_a_first_one_that_is_bad_is_an_error(
    make: Callable[[str], object], why: str, tmp_path: Path, log_lines: LogLines
) -> None:
    path = tmp_path / "other"
    make(str(path))
    with pytest.raises(ConfigError, match=f"THE_FILE: .*{why}|{why}"):
        Scene(path, log_lines).file.load()


def test_it_looks_by_itself_when_asked_and_survives_a_bug(
    scene: Scene, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "LOOK_S", 0.01)
    scene.file.start()
    scene.file.start()
    try:
        with gevent.Timeout(5):
            scene.path.write_bytes(b"bug")
            while not log_lines.count("internal error, the watch of THE_FILE goes on"):
                gevent.sleep(0.005)
            scene.path.write_bytes(b"two")
            scene.file.ask()
            while scene.taken[-1] != b"two":
                gevent.sleep(0.005)
    finally:
        scene.file.close()


def test_one_that_was_never_started_closes(scene: Scene) -> None:
    scene.file.close()
