"""A file while it is written: when it ends, and what another process is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtmpsrv.record.disk import Folder
from rtmpsrv.record.flv_file import FlvFile
from rtmpsrv.record.index import DONE, MOVED, RECORDING, Entry, line_of, read
from rtmpsrv.record.take import BY_SIZE, BY_TIME, MAX_FILE_MS, Carried, Take, create, leave, take_up
from tests.unit.live.stage import HEADERS
from tests.unit.record.stage import FORMS

HEADERS_OF = tuple([(type_id, payload) for type_id, _, _, payload, *_ in HEADERS])


@pytest.fixture
def take(tmp_path: Path) -> Take:
    entry = Entry(RECORDING, "a", "channel", "s1", start=5.0)
    file = create(Folder(str(tmp_path)), "a", ".flv", entry)
    return Take(file, FlvFile(HEADERS_OF), replace(entry, file=file.name))


V = 2
FIRST = V, 5000  # a frame's kind and timestamp


def test_it_ends_by_time_by_size_or_because_it_must(take: Take) -> None:
    take.add(b"x" * 100)
    take.add(b"")
    take.times.end_ms = 1000
    assert (take.waiting, take.held) == ([b"x" * 100], 100)
    assert take.ends(0, 0, *FIRST) == take.ends(1001, 101, *FIRST) == ""
    assert (take.ends(1000, 0, *FIRST), take.ends(0, 100, *FIRST)) == (BY_TIME, BY_SIZE)
    take.times.end_ms = MAX_FILE_MS
    assert take.ends(0, 0, *FIRST) == BY_TIME
    take.want_next("first")
    take.want_next("second")
    assert take.ends(1, 1, *FIRST) == "first"
    entry = take.done("first", 9.0)
    assert (entry.state, entry.end, entry.seconds, entry.reason) == (DONE, 9.0, MAX_FILE_MS / 1000, "first")


def test_it_ends_before_the_frame_that_would_be_beyond(take: Take) -> None:
    take.add(b"x")
    take.times.place(*FIRST)
    take.times.place(V, 5967)
    assert take.ends(1000, 0, V, 5999) == ""
    assert take.ends(1000, 0, V, 6000) == BY_TIME
    assert take.times.end_ms == 967


def test_it_does_not_end_by_time_before_its_first_part_is_there(take: Take) -> None:
    take.times.end_ms = 1000
    assert take.ends(1000, 1, *FIRST) == ""
    take.want_next("because")
    assert take.ends(1000, 1, *FIRST) == "because"


def test_frames_that_are_not_in_it_are_told_of(take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    assert take.lost == ""
    monkeypatch.setattr(FlvFile, "lost_frames", 3)
    assert take.lost == " (3 frames that came before its first part was made are lost)"


def left(take: Take, folder: Folder) -> Entry:
    folder.write(take.file, [take.container.begin(HEADERS_OF, ())])
    take.has_keyframe = True
    _, state = take.container.leave()
    assert state is not None
    leave(folder, take.file, take.left((1, 99), 7.0, state))
    (entry,) = read(folder.noted()).values()
    return entry


def test_other_process_takes_it_up(take: Take, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    entry = left(take, folder)
    assert (entry.state, entry.file, entry.end) == (MOVED, "a.flv", 7.0)
    carried = Carried.read(entry)
    assert (carried.place, carried.has_keyframe, carried.wanted) == ((1, 99), True, "")
    other = take_up(folder, carried, FORMS["flv"], HEADERS_OF)
    assert other is not None
    assert (other.size, other.held, other.has_keyframe) == (carried.size, 0, True)
    (noted,) = read(folder.noted()).values()
    assert noted == other.entry == take.entry
    other.file.close()


@pytest.mark.parametrize(
    "wrong",
    [{"size": 1 << 30}, {"container": {}}, {"container": {"flags": 1, "places": 7}}, {"times": {"end": 0}}],
)
def test_what_makes_no_sense_is_not_taken_up(wrong: dict[str, Any], take: Take, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    entry = left(take, folder)
    carried = Carried.read(replace(entry, carried=(entry.carried or {}) | wrong))
    assert take_up(folder, carried, FORMS["flv"], HEADERS_OF) is None
    file = folder.take("a.flv")
    assert file is not None  # nobody holds it
    assert take_up(folder, carried, FORMS["flv"], HEADERS_OF) is None  # now somebody does
    folder.drop(file)
    assert take_up(folder, carried, FORMS["flv"], HEADERS_OF) is None


@pytest.mark.parametrize("wrong", [None, {}, {"place": [1, 2], "container": {}, "times": 7}])
def test_what_carries_nothing_is_told(wrong: dict[str, Any] | None) -> None:
    with pytest.raises((KeyError, TypeError)):
        Carried.read(Entry(MOVED, "a", carried=wrong))


def test_what_is_carried_is_one_short_line(take: Take, tmp_path: Path) -> None:
    line = line_of(left(take, Folder(str(tmp_path))))
    assert len(line) < 1000
    assert json.loads(line)["carried"]["place"] == [1, 99]
