"""What settings and CHANNELS_FILE say of recording a channel, and what the callback is told of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtmpsrv.access.channel_rules import read_rules
from rtmpsrv.access.doors import Doors
from rtmpsrv.access.facts import RecordedFile
from rtmpsrv.access.grants import Recorded
from rtmpsrv.config import Config
from rtmpsrv.entrance import Entrance
from rtmpsrv.errors import ConfigError
from rtmpsrv.monitor.observer import Observer
from rtmpsrv.record.index import DONE, Entry
from rtmpsrv.record.job import Plan
from rtmpsrv.recording import is_wanted, plan_of, recordings_of
from tests.unit.record.stage import GRANT
from tests.unit.test_relay import House

RULES = b"""
[[channel]]
name = "no"
record = false
[[channel]]
name = "short"
record = { segment_seconds = 5, segment_mb = 0 }
[[channel]]
name = "yes"
record = true
"""


def entrance() -> Entrance:
    doors = Doors()
    doors.use(read_rules(RULES, has_tokens=False))
    return Entrance(doors=doors)


@pytest.mark.parametrize("record", [False, True])
def test_file_goes_before_settings(record: bool) -> None:
    config = Config(record=record, record_segment_mb=7)
    usual = Plan("flv", config.record_name, 3_600_000, 7 << 20)
    assert plan_of(config, entrance(), "no") is None
    assert plan_of(config, entrance(), "yes") == usual
    assert plan_of(config, entrance(), "short") == Plan("flv", config.record_name, 5000, 0)
    assert plan_of(config, entrance(), "other") == (usual if record else None)


def test_nothing_is_looked_at_that_nobody_asked_for(tmp_path: Path) -> None:
    folder = str(tmp_path / "recordings")
    assert not is_wanted(Config(record_dir=folder))
    assert is_wanted(Config(record_dir=folder, record=True))
    assert is_wanted(Config(record_dir=folder, channels_file="x"))
    assert is_wanted(Config(record_dir=str(tmp_path)))


class Told:
    def __init__(self) -> None:
        self.files: list[Recorded] = []

    def recorded(self, recorded: Recorded) -> None:
        self.files.append(recorded)


def of(config: Config, hooks: Any = None, tell: Callable[..., None] = lambda *_: None) -> Any:
    house = House()
    return recordings_of(config, house.registry, house.relay, entrance(), hooks, lambda question: b"", tell)


def test_folder_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"RECORD_DIR: .*file cannot be used"):
        of(Config(record=True, record_dir=str(tmp_path / "file")))
    of(Config(record_dir=str(tmp_path / "file")))


def test_format_that_is_not_there_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    folder = tmp_path / "recordings"
    with pytest.raises(ConfigError, match=r"RECORD_FORMAT: mp4 needs the extra `web`"):
        of(Config(record=True, record_format="mp4", record_dir=str(folder)))
    assert not folder.exists()
    of(Config(record_format="mp4", record_dir=str(folder)))  # channels may be recorded in another


def test_callback_is_told_of_a_file(tmp_path: Path) -> None:
    told = Told()
    recordings = of(Config(record_dir=str(tmp_path)), told)
    recordings._done(Entry(DONE, "a.flv", "channel", "s1", 1.0, 2.0, 1.5, 10, "time"), GRANT)
    assert told.files[0].file == RecordedFile(str(tmp_path), "a.flv", 1.5, 10, "time")
    assert (told.files[0].channel, told.files[0].stream_id) == ("channel", "s1")
    of(Config(record_dir=str(tmp_path)))._done(Entry(DONE, "a.flv"), GRANT)


def test_who_watches_the_server_is_told_of_a_file(tmp_path: Path) -> None:
    observer = Observer()
    recordings = of(Config(record_dir=str(tmp_path)), None, observer.recorded)
    recordings._done(Entry(DONE, "a.flv", "channel", "s1", 1.0, 2.0, 1.5, 10, "time"), GRANT)
    (event,) = observer.history.since(0)["events"]
    assert (event["what"], event["channel"], event["reason"]) == ("recorded", "channel", "a.flv: time")
    assert (event["seconds"], event["received_bytes"]) == (1.5, 10)
