"""A process that takes a publication over finds the file that the one before let go of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent

from rtmpsrv.record.disk import Folder
from rtmpsrv.record.index import DONE, MOVED, RECORDING, Entry, line_of
from rtmpsrv.record.inheriting import Found, find
from rtmpsrv.record.ledger import Ledger
from rtmpsrv.record.threads import Threads
from tests.unit.live.stage import HEADERS, Stage, key

CARRIED: dict[str, Any] = {
    "place": [1, 13], "size": 10, "times": {}, "keyframe": True, "wanted": "", "container": {},
}  # fmt: skip


class House:
    def __init__(self, path: Path) -> None:
        self.stage = Stage()
        self.stage.publish(*HEADERS, key("0"))
        self.folder = Folder(str(path))
        self.ledger = Ledger(self.folder)

    def note(self, *entries: Entry) -> None:
        self.folder.note([line_of(one) for one in entries])

    def find(self, wait_s: float = 20.0) -> Found:
        return find(self.stage.channel, self.ledger, Threads(size=1), wait_s)


def test_file_is_waited_for(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.note(Entry(RECORDING, "a.flv", "channel"), Entry(RECORDING, "b.flv", "other"))
    found = gevent.spawn(house.find)
    gevent.sleep(0.01)
    house.note(Entry(MOVED, "a.flv", "channel", carried=CARRIED))
    carried, ended = found.get(timeout=20.0)
    assert carried is not None
    assert (carried.entry.file, carried.place, ended) == ("a.flv", (1, 13), None)


def test_nothing_is_waited_for_where_nothing_was_recorded(tmp_path: Path) -> None:
    house = House(tmp_path / "none")
    assert house.find() == (None, None)
    done = Entry(DONE, "a.flv", "channel", "s1", reason="stopped")
    house.note(done, Entry(RECORDING, "b.flv", "other"))
    assert house.find() == (None, done)


def test_files_of_other_publications_and_broken_ones_are_let_be(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.note(Entry(MOVED, "a.flv", "channel", carried=CARRIED | {"place": [2, 13]}))
    broken: list[dict[str, Any]] = [{}, {"place": [1]}, {"place": "no"}, CARRIED | {"container": 7}]
    for number, wrong in enumerate(broken):
        house.note(Entry(MOVED, f"{number}.flv", "channel", carried=wrong))
    assert house.find() == (None, None)


def test_waiting_has_an_end(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.note(Entry(RECORDING, "a.flv", "channel"))
    assert house.find(0.0) == (None, None)
