"""Which channels are recorded, by rules, by hand, and after a failure; and what is deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.access.grants import Grant
from rtmpsrv.record import recorder as recorder_module
from rtmpsrv.record import recordings as recordings_module
from rtmpsrv.record.caretaker import Keeping
from rtmpsrv.record.disk import Folder
from rtmpsrv.record.index import DAY_S, DONE, RECORDING, Entry, line_of
from rtmpsrv.record.job import Plan
from rtmpsrv.record.recordings import Recordings
from rtmpsrv.record.troubles import DISK_ERROR, KINDS
from tests.unit.live.stage import HEADERS, Stage, key, spare_bytes
from tests.unit.record.stage import FORMS, GRANT, PATIENCE_S, PLAN, eventually
from tests.unit.record.test_flv_file import written

FOR_EVER = Keeping()


class House:
    """Recordings of a registry with one channel."""

    def __init__(self, path: Path, plan: Plan | None = PLAN, keeping: Keeping = FOR_EVER) -> None:
        self.stage = Stage(live=False)
        self.plan = plan
        self.grant: Grant | None = None
        self.done: list[tuple[Entry, Grant, str]] = []
        self.recordings = Recordings(
            str(path), keeping, lambda name: self.plan, lambda form: replace(PLAN, pattern="%path-by-hand"),
            self.stage.registry, lambda name: self.grant, lambda *told: self.done.append(told),
            FORMS, log.get("RECORD"),
        )  # fmt: skip

    def publish(self, serial: int = 1) -> None:
        self.grant = replace(GRANT, serial=serial)
        self.stage.start("key")
        self.recordings.published(self.stage.channel)
        self.stage.publish(*HEADERS, key("0"))

    def unpublish(self) -> None:
        self.grant = None
        self.stage.channel.stop()

    def running(self) -> list[str]:
        found = self.recordings.running("channel")
        assert self.recordings.running_count == (found is not None)
        return [found["channel"]] if found is not None else []

    def has_file(self) -> bool:
        found = self.recordings.running("channel")
        return found is not None and found["files"] > 0

    def wait_for(self, count: int) -> None:
        """Wait until so many files are whole."""
        self.wait(lambda: len(self.done) >= count)

    def wait(self, condition: Any) -> None:
        eventually(condition)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(recordings_module, "LOOK_EVERY_S", 0.001)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.recordings.close(PATIENCE_S)


def test_publication_is_recorded_and_told(house: House, tmp_path: Path) -> None:
    house.publish()
    assert house.running() == ["channel"]
    house.unpublish()
    house.wait_for(1)
    entry, grant, folder = house.done[0]
    assert (entry.file, grant, folder) == ("channel/s1.flv", GRANT, str(tmp_path))
    house.wait(lambda: not house.running())
    assert house.recordings.entries() == house.recordings.entries("channel") == [entry]
    assert house.recordings.entries("other") == []
    assert (house.recordings.files, house.recordings.bytes) == (1, entry.bytes)
    assert set(house.recordings.failed.values()) == {0}
    assert house.stage.registry.find("channel") is None


def test_publication_that_follows_at_once_is_told_with_its_own_grant(house: House) -> None:
    house.publish()
    house.wait(house.has_file)
    house.unpublish()
    house.publish(2)
    house.wait_for(1)
    house.unpublish()
    house.wait_for(2)
    assert [grant.serial for _, grant, _ in house.done] == [1, 2]


def test_what_has_no_plan_is_recorded_by_hand_and_until_it_is_stopped(house: House) -> None:
    house.plan = None
    assert not house.recordings.start("channel")
    house.publish()
    assert house.running() == []
    assert house.recordings.start("channel")
    assert house.recordings.start("channel")
    house.wait(house.has_file)
    assert house.recordings.stop("channel")
    house.wait_for(1)
    house.wait(lambda: not house.running())
    assert house.done[0][0].file == "channel-by-hand.flv"
    assert not house.recordings.stop("channel")


def test_what_was_stopped_is_not_begun_again_before_the_next_publication(house: House) -> None:
    house.publish()
    assert house.recordings.stop("channel")
    house.wait(lambda: not house.running())
    house.recordings.look()
    assert house.running() == []
    house.unpublish()
    house.recordings.look()
    house.publish(2)
    assert house.running() == ["channel"]


def test_rule_that_changes_is_seen(house: House) -> None:
    house.plan = None
    house.publish()
    house.recordings.look()
    assert house.running() == []
    house.plan = PLAN
    house.recordings.look()
    assert house.running() == ["channel"]


def test_failure_is_counted_and_not_tried_again(house: House, tmp_path: Path) -> None:
    (tmp_path / "channel").write_text("no folder")
    house.publish()
    house.wait(lambda: not house.running())
    assert house.recordings.failed == dict.fromkeys(KINDS, 0) | {DISK_ERROR: 1}
    assert house.recordings.error("channel") == "Not a directory"
    house.recordings.look()
    assert house.running() == []
    assert house.stage.channel.live


def test_close_finishes_all_files(house: House) -> None:
    house.publish()
    house.recordings.begin()
    house.recordings.begin()
    house.wait(house.has_file)
    assert house.recordings.close(PATIENCE_S)
    assert [entry.reason for entry, _, _ in house.done] == ["server is shutting down"]
    house.recordings.published(house.stage.channel)
    house.recordings.begin()
    assert not house.recordings.start("channel")
    assert house.running() == []


def test_what_was_left_is_recovered_and_what_is_old_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rtmpsrv")
    folder = Folder(str(tmp_path))
    for name in ("old", "older"):
        folder.finish(folder.create(name, ".flv"), [])
    days = {"old": 3.0, "older": 4.0}
    now = 86400.0 * 20000
    for name, age in days.items():
        at = now - age * DAY_S
        folder.note([line_of(Entry(DONE, f"{name}.flv", start=at, end=at, bytes=5))])
    file = folder.create("left", ".flv")
    folder.note([line_of(Entry(RECORDING, "left.flv", start=1.0))])
    folder.write(file, [written()])
    file.close()
    house = House(tmp_path, keeping=Keeping(days=1))
    house.recordings.begin()
    house.wait(lambda: not (tmp_path / "older.flv").exists() and not (tmp_path / "left.flv.part").exists())
    house.wait(lambda: "recording deleted" in caplog.text)
    house.recordings.close(PATIENCE_S)
    assert sorted(os.listdir(tmp_path)) == ["index.jsonl", "left.flv"]
    assert "recording recovered file=left.flv" in caplog.text


def test_size_is_looked_at_after_each_file(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.finish(folder.create("old", ".flv"), [])
    folder.note([line_of(Entry(DONE, "old.flv", start=1.0, end=1.0, bytes=1000))])
    house = House(tmp_path, keeping=Keeping(max_bytes=1100))
    house.recordings.begin()
    house.publish()
    house.wait(house.has_file)
    assert (tmp_path / "old.flv").exists()
    house.unpublish()
    house.wait(lambda: not (tmp_path / "old.flv").exists())
    house.recordings.close(PATIENCE_S)


def test_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    house = House(tmp_path / "none")
    house.recordings.begin()
    gevent.sleep(0.01)
    house.recordings.close(1.0)
    assert not (tmp_path / "none").exists()


def test_index_that_cannot_be_read_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "index.jsonl").mkdir()
    house = House(tmp_path)
    house.recordings.begin()
    house.wait(lambda: "could not be looked at" in caplog.text)
    house.recordings.close(1.0)


def test_format_that_there_is_not_is_refused(house: House) -> None:
    house.publish()
    with pytest.raises(ValueError, match="must be one of flv"):
        house.recordings.start("channel", "avi")
    assert house.recordings.start("channel", "flv")


def test_failure_is_forgotten_when_it_is_started_again(house: House, tmp_path: Path) -> None:
    (tmp_path / "channel").write_text("no folder")
    house.publish()
    house.wait(lambda: not house.running())
    (tmp_path / "channel").unlink()
    assert house.recordings.start("channel")
    assert house.recordings.error("channel") == ""
    house.wait(house.has_file)
    house.unpublish()
    house.wait_for(1)
    assert house.recordings.error("channel") == ""


def successor(house: House, path: Path, plan: Plan | None = PLAN) -> House:
    """Let another process have the channel, whose publisher stays."""
    other = House(path, plan)
    other.stage, other.grant = house.stage, house.grant
    other.recordings._registry = house.stage.registry
    house.stage.channel.readings.moved()
    other.recordings.published(other.stage.channel)
    other.recordings.published(other.stage.channel)
    return other


@pytest.mark.parametrize("plan", [PLAN, None, replace(PLAN, format="mp4")])
def test_other_process_goes_on_with_what_is_recorded(plan: Plan | None, house: House, tmp_path: Path) -> None:
    house.publish()
    house.wait(house.has_file)
    other = successor(house, tmp_path, plan)
    other.recordings.look()
    assert not other.running()
    assert spare_bytes(other.stage.output()) == 0, "what is looked for is no spare"
    other.wait(other.running)
    other.unpublish()
    other.wait_for(1)
    assert [entry.file for entry, _, _ in other.done] == ["channel/s1.flv"]
    assert house.done == []
    assert other.recordings.close(PATIENCE_S)


def test_what_was_stopped_by_hand_stays_so_in_another_process(house: House, tmp_path: Path) -> None:
    house.publish()
    house.wait(house.has_file)
    house.recordings.stop("channel")
    house.wait_for(1)
    house.wait(lambda: not house.running())
    other = successor(house, tmp_path)
    other.wait(lambda: not other.recordings._finding)
    other.recordings.look()
    assert not other.running()


def test_what_was_not_recorded_is_from_now_on(house: House, tmp_path: Path) -> None:
    house.plan = None
    house.publish()
    other = successor(house, tmp_path)
    other.wait(other.has_file)
    other.unpublish()
    other.wait_for(1)


def test_index_that_cannot_be_read_is_no_obstacle(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.plan = None
    house.publish()

    def fail(*args: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(recordings_module, "find", fail)
    other = successor(house, tmp_path)
    other.wait(other.has_file)
    assert "channel=channel is not known: Input/output error" in caplog.text
    monkeypatch.setattr(recordings_module, "find", lambda *args: 1 / 0)
    third = successor(other, tmp_path)
    third.wait(third.running)
    assert "ZeroDivisionError" in caplog.text
    third.recordings.close(PATIENCE_S)


def test_publication_that_is_over_while_it_is_looked_for_is_forgotten(house: House, tmp_path: Path) -> None:
    house.plan = None
    house.publish()
    other = successor(house, tmp_path)
    other.unpublish()
    other.wait(lambda: not other.recordings._finding)
    assert not other.running()
    assert not house.stage.channel.readings


def test_bug_does_not_end_the_looking(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.recordings, "look", lambda: 1 / 0)
    house.recordings.begin()
    house.wait(lambda: caplog.text.count("ZeroDivisionError") > 1)
