from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtmpsrv import log
from rtmpsrv.access.crash_journal import CrashProofAuthority
from rtmpsrv.access.gate import Gate, Grant, PublishRequest
from tests.doubles.secrets import KEY

from .conftest import LogLines

FILES = ["stops-7.journal", "stops-7.lock"]


class Desk:
    """A callback that reports when a test says so."""

    def __init__(self) -> None:
        self.on_reported: Callable[[Grant], None] = print
        self.on_taken: Callable[[Grant], None] = print
        self.ends: list[Grant] = []
        self.closed = False

    def authorise(self, request: PublishRequest) -> str:
        return f"id-{request.channel}"

    def ended(self, grant: Grant) -> None:
        self.ends.append(grant)

    def wait_idle(self, timeout_s: float) -> bool:
        return timeout_s > 1

    def close(self) -> None:
        self.closed = True

    @property
    def ended_ids(self) -> list[str]:
        return [grant.stream_id for grant in self.ends]


class Process:
    """What belongs to one process; several of them share a folder."""

    def __init__(self, folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getpid", lambda: number)
        self.desk = Desk()
        desk: Any = self.desk
        self.authority = CrashProofAuthority(desk, folder, log.get("CALLBACK"))
        self.gate = Gate(self.authority)
        self.authority.watch(self.gate)

    def publish(self, channel: str) -> Grant:
        return self.gate.admit(PublishRequest(channel, KEY, "10.0.0.1"), lambda reason: None)

    def die(self) -> None:
        """Leave as a process does that is killed: the system closes what it held."""
        os.close(self.authority._lock)
        self.authority._journal.close()


Start = Callable[[int], Process]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    return lambda number: Process(tmp_path, number, monkeypatch)


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_what_a_crash_left_behind_is_told_by_the_next(
    start: Start, tmp_path: Path, log_lines: LogLines
) -> None:
    first = start(7)
    first.publish("on-the-air")
    first.gate.release(first.publish("ended"))
    told = first.publish("told")
    first.gate.release(told)
    first.desk.on_reported(told)
    first.die()
    second = start(8)
    second.authority.take_over()
    assert sorted(second.desk.ended_ids) == ["id-ended", "id-on-the-air"]
    assert [grant.key for grant in second.desk.ends] == [KEY, KEY]
    assert log_lines.count("WARNING stops that a crash left behind: 2") == 1
    assert not set(FILES).intersection(files(tmp_path))
    second.die()  # before they were delivered
    third = start(9)
    third.authority.take_over()
    assert sorted(third.desk.ended_ids) == ["id-ended", "id-on-the-air"]
    for grant in list(third.desk.ends):
        third.desk.on_reported(grant)
    assert third.authority.wait_idle(2)
    third.authority.close()
    assert third.desk.closed
    assert files(tmp_path) == []


def test_what_a_living_process_has_is_left_to_it(start: Start, tmp_path: Path) -> None:
    first, second = start(7), start(8)
    first.publish("on-the-air")
    second.authority.take_over()
    assert second.desk.ends == []
    assert set(FILES) <= set(files(tmp_path))
    first.die()
    second.die()


def test_a_number_that_comes_again_finds_its_own_file(start: Start) -> None:
    first = start(7)
    first.publish("on-the-air")
    first.die()
    second = start(7)
    own = second.publish("mine")
    second.authority.take_over()
    assert second.desk.ended_ids == ["id-on-the-air"]
    second.gate.release(own)
    assert second.desk.ended_ids == ["id-on-the-air", "id-mine"]
    second.die()


def test_what_went_to_another_process_is_not_told(start: Start) -> None:
    first, second = start(7), start(8)
    moved, silent = first.publish("moved"), first.publish("silent")
    note = first.gate.note(moved)
    assert note is not None
    inherited = second.gate.inherit(moved, note)
    assert second.gate.rebind(inherited, lambda reason: None)
    assert second.gate.rebind(inherited, lambda reason: None)
    first.gate.abandon(moved)
    first.gate.release(silent, notify=False)
    first.die()
    third = start(9)
    third.authority.take_over()
    assert third.desk.ends == []
    second.die()
    third.authority.take_over()
    assert third.desk.ended_ids == ["id-moved"]
    third.die()


def test_what_was_not_told_at_the_end_stays_for_the_next(start: Start, tmp_path: Path) -> None:
    first = start(7)
    first.gate.release(first.publish("ended"))
    assert first.gate.close(0.1) is False
    assert files(tmp_path) == FILES
    second = start(8)
    second.authority.take_over()
    assert second.desk.ended_ids == ["id-ended"]
    second.die()


def test_two_processes_with_one_file_are_an_error(start: Start) -> None:
    first = start(7)
    with pytest.raises(OSError, match="held by another process"):
        start(7)
    first.die()


def test_a_lock_that_cannot_be_read_is_passed_over(start: Start, tmp_path: Path) -> None:
    (tmp_path / "stops-6.lock").symlink_to("/etc/hostname")
    first = start(7)
    first.authority.take_over()
    assert first.desk.ends == []
    first.die()
