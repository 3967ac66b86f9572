"""What is told of recordings."""

from __future__ import annotations

from typing import Any

from rtmpsrv.monitor.recorded import file_value, recording
from rtmpsrv.record.index import DONE, RECORDING, Entry
from tests.doubles.no_recordings import NoRecordings


class Recordings(NoRecordings):
    """One channel is recorded, as a test says."""

    def __init__(self, now: dict[str, Any] | None, error: str) -> None:
        super().__init__()
        self._now, self._error = now, error

    def running(self, channel: str) -> dict[str, Any] | None:
        return self._now

    def error(self, channel: str) -> str:
        return self._error


NOW: dict[str, Any] = {
    "channel": "a", "stream_id": "s", "file": "a/1.mp4", "format": "mp4", "since": 1e9, "seconds": 2.00049,
    "bytes": 5, "files": 2,
}  # fmt: skip


def test_a_recording_that_goes_on() -> None:
    assert recording(Recordings(NOW, ""), "a") == {
        "running": True, "file": "a/1.mp4", "format": "mp4", "since_at": 1e9, "seconds": 2.0,
        "written_bytes": 5, "files": 2, "error": "",
    }  # fmt: skip


def test_one_that_has_failed_and_none_at_all() -> None:
    value = recording(Recordings(None, "the disk is full"), "a")
    assert value is not None
    assert (value["running"], value["error"], value["since_at"]) == (False, "the disk is full", None)
    assert recording(NoRecordings(), "a") is None


def test_files() -> None:
    done = Entry(DONE, "a/1.flv", "a", "s", 1.0, 11.0, 9.5, 77, "time")
    assert file_value(done, "w1") == {
        "worker": "w1", "file": "a/1.flv", "channel": "a", "stream_id": "s", "whole": True, "began_at": 1.0,
        "ended_at": 11.0, "seconds": 9.5, "size_bytes": 77, "reason": "time",
    }  # fmt: skip
    value = file_value(Entry(RECORDING, "a/2.flv", "a", start=12.0), "")
    assert (value["whole"], value["ended_at"]) == (False, None)


def test_the_file_that_is_written_now_is_as_long_as_it_is_by_now() -> None:
    value = file_value(Entry(RECORDING, "a/1.mp4", "a", start=12.0), "", NOW)
    assert (value["whole"], value["seconds"], value["size_bytes"]) == (False, 2.0, 5)
    left = file_value(Entry(RECORDING, "a/0.mp4", "a", start=12.0), "", NOW)
    assert (left["seconds"], left["size_bytes"]) == (0.0, 0)  # of a process that was killed
