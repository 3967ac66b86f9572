"""What a process left behind that died is put in order by the next one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtmpsrv.record.disk import Folder, OpenFile
from rtmpsrv.record.index import DELETED, DONE, MOVED, OPEN, RECORDING, Entry, line_of, read
from rtmpsrv.record.recovery import HANDING_S, MAX_AT_ONCE, RECOVERED
from rtmpsrv.record.recovery import recover as recover_these
from tests.unit.record.test_flv_file import written


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


def recover(folder: Folder, now: float = 1e9) -> list[Entry]:
    return recover_these(folder, [one for one in read(folder.noted()).values() if one.state in OPEN], now)


def left(folder: Folder, name: str, data: bytes, suffix: str = ".flv") -> OpenFile:
    file = folder.create(name, suffix)
    folder.note([line_of(Entry(RECORDING, file.name, "live", "s", start=5.0))])
    if data:
        folder.write(file, [data])
    return file


def test_torn_file_is_cut_named_and_noted(folder: Folder) -> None:
    data = written()
    left(folder, "a/1", data + b"\x09\0\1\0torn").close()
    (entry,) = recover(folder)
    path = Path(folder.path) / "a" / "1.flv"
    assert (entry.state, entry.reason, entry.channel, entry.seconds) == (DONE, RECOVERED, "live", 1.5)
    assert (entry.bytes, entry.start) == (len(data), 5.0)
    whole = path.read_bytes()
    assert len(whole) == len(data)
    assert whole[5:30] == data[5:30]
    assert whole[4] == 5
    assert read(folder.noted()) == {"a/1.flv": entry}
    assert recover(folder) == []


def test_file_that_is_written_is_left_alone(folder: Folder) -> None:
    file = left(folder, "a", written())
    assert recover(folder) == []
    file.close()
    assert len(recover(folder)) == 1


@pytest.mark.parametrize("data", [b"", b"FLV\x01", written()[:60]])
def test_file_that_holds_nothing_is_removed(folder: Folder, data: bytes) -> None:
    left(folder, "a", data).close()
    assert [entry.state for entry in recover(folder)] == [DELETED]
    assert os.listdir(folder.path) == ["index.jsonl"]
    assert read(folder.noted()) == {}


def test_file_that_was_finished_and_not_noted_is_noted(folder: Folder) -> None:
    folder.finish(left(folder, "a", b"1234"), [])
    (entry,) = recover(folder)
    assert (entry.state, entry.bytes, entry.reason) == (DONE, 4, RECOVERED)


def test_file_that_is_not_there_is_forgotten(folder: Folder) -> None:
    folder.note([line_of(Entry(RECORDING, "gone/a.flv"))])
    assert [entry.state for entry in recover(folder)] == [DELETED]


def test_what_is_no_recording_of_ours_is_left_as_it_is(folder: Folder) -> None:
    left(folder, "a", b"1234", ".odd").close()
    folder.note([line_of(Entry(RECORDING, "pipe.flv"))])
    os.mkfifo(Path(folder.path) / "pipe.flv.part")
    (Path(folder.path) / "stranger.flv.part").write_bytes(written())
    assert recover(folder) == []
    assert sorted(os.listdir(folder.path)) == [
        "a.odd.part", "index.jsonl", "pipe.flv.part", "stranger.flv.part",
    ]  # fmt: skip


def test_file_that_another_process_goes_on_with_is_left_for_a_while(folder: Folder) -> None:
    left(folder, "a", written()).close()
    folder.note([line_of(Entry(MOVED, "a.flv", "live", end=1000.0, carried={"size": 1}))])
    assert recover(folder, 1000.0 + HANDING_S - 1) == []
    assert recover(folder, 1000.0 - HANDING_S + 1) == []
    (entry,) = recover(folder, 1000.0 + HANDING_S)
    assert (entry.state, entry.carried) == (DONE, None)


def test_many_files_are_recovered_some_at_a_time(folder: Folder) -> None:
    for number in range(MAX_AT_ONCE + 1):
        left(folder, str(number), b"").close()
    assert len(recover(folder)) == MAX_AT_ONCE
    assert len(recover(folder)) == 1


def test_file_that_cannot_be_read_is_let_go_of(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    left(folder, "a", written()).close()

    def pread(*args: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread)
        assert recover_these(folder, [Entry(RECORDING, "a.flv")], 1e9) == []
    taken = folder.take("a.flv")
    assert taken is not None
    taken.close()
