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
from rtmpsrv.record.disk import Folder
from rtmpsrv.record.flv_file import FlvFile
from rtmpsrv.record.index import DAY_S, DONE, RECORDING, Entry, line_of
from rtmpsrv.record.recorder import Plan
from rtmpsrv.record.recordings import Keeping, Recordings
from tests.unit.live.stage import HEADERS, Stage, key
from tests.unit.record.stage import GRANT, PATIENCE_S, PLAN
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
            str(path), keeping, lambda name: self.plan, replace(PLAN, pattern="%path-by-hand"),
            self.stage.registry, lambda name: self.grant, lambda *told: self.done.append(told),
            {"flv": FlvFile}, log.get("RECORD"),
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
        running = self.recordings.describe()["running"]
        assert isinstance(running, list)
        return [one["channel"] for one in running]

    def wait_for(self, count: int) -> None:
        """Wait until so many files are whole."""
        self.wait(lambda: len(self.done) >= count)

    def wait(self, condition: Any) -> None:
        with gevent.Timeout(PATIENCE_S):
            while not condition():
                gevent.sleep(0)


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
    shown = house.recordings.describe()
    assert (shown["files"], shown["bytes"], shown["failures"]) == (1, entry.bytes, 0)
    assert house.stage.registry.find("channel") is None


def test_publication_that_follows_at_once_is_told_with_its_own_grant(house: House) -> None:
    house.publish()
    house.wait(lambda: house.recordings.describe()["running"][0]["files"])  # type: ignore[index]
    house.unpublish()
    house.publish(2)
    house.wait_for(1)
    house.unpublish()
    house.wait_for(2)
    assert [grant.serial for _, grant, _ in house.done] == [1, 2]


def test_what_has_no_plan_is_recorded_by_hand_and_until_it_is_stopped(house: House) -> None:
    house.plan = None
    assert not house.recordings.record("channel")
    house.publish()
    assert house.running() == []
    assert house.recordings.record("channel")
    assert house.recordings.record("channel")
    house.wait(lambda: house.recordings.describe()["running"][0]["files"])  # type: ignore[index]
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
    assert house.recordings.describe()["failures"] == 1
    house.recordings.look()
    assert house.running() == []
    assert house.stage.channel.live


def test_close_finishes_all_files(house: House) -> None:
    house.publish()
    house.recordings.start()
    house.recordings.start()
    house.wait(lambda: house.recordings.describe()["running"][0]["files"])  # type: ignore[index]
    assert house.recordings.close(PATIENCE_S)
    assert [entry.reason for entry, _, _ in house.done] == ["server is shutting down"]
    house.recordings.published(house.stage.channel)
    house.recordings.start()
    assert not house.recordings.record("channel")
    assert house.running() == []


def test_what_was_left_is_recovered_and_what_is_old_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rtmpsrv")
    folder = Folder(str(tmp_path))
    for name in ("old", "older", "newest"):
        folder.finish(folder.create(name, ".flv"), [])
    days = {"old": 3.0, "older": 4.0, "newest": 2.5}
    now = 86400.0 * 20000
    for name, age in days.items():
        at = now - age * DAY_S
        folder.note([line_of(Entry(DONE, f"{name}.flv", start=at, end=at, bytes=5))])
    file = folder.create("left", ".flv")
    folder.note([line_of(Entry(RECORDING, "left.flv", start=1.0))])
    folder.write(file, [written()])
    file.close()
    house = House(tmp_path, keeping=Keeping(days=1))
    house.recordings.start()
    house.wait(lambda: not (tmp_path / "older.flv").exists() and not (tmp_path / "left.flv.part").exists())
    house.wait(lambda: "recording deleted" in caplog.text)
    house.recordings.close(PATIENCE_S)
    assert sorted(os.listdir(tmp_path)) == ["index.jsonl", "left.flv", "newest.flv"]
    assert "recording recovered file=left.flv" in caplog.text


def test_size_is_looked_at_after_each_file(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.finish(folder.create("old", ".flv"), [])
    folder.note([line_of(Entry(DONE, "old.flv", start=1.0, end=1.0, bytes=1000))])
    house = House(tmp_path, keeping=Keeping(max_bytes=1100))
    house.recordings.start()
    house.publish()
    house.wait(lambda: house.recordings.describe()["running"][0]["files"])  # type: ignore[index]
    assert (tmp_path / "old.flv").exists()
    house.unpublish()
    house.wait(lambda: not (tmp_path / "old.flv").exists())
    house.recordings.close(PATIENCE_S)


def test_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    house = House(tmp_path / "none")
    house.recordings.start()
    gevent.sleep(0.01)
    house.recordings.close(1.0)
    assert not (tmp_path / "none").exists()


def test_index_that_cannot_be_read_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "index.jsonl").mkdir()
    house = House(tmp_path)
    house.recordings.start()
    house.wait(lambda: "could not be looked at" in caplog.text)
    house.recordings.close(1.0)
