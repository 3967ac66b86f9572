from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from rtmpsrv.endpoint import flv
from rtmpsrv.endpoint.types import (
    AudioCodec,
    AudioData,
    MediaData,
    StreamMetadata,
    VideoData,
)

ITEMS: list[MediaData] = [
    StreamMetadata({"width": 1.0}),
    VideoData(b"config", 0, is_keyframe=True, is_sequence_header=True),
    AudioData(b"sound", 20),
    VideoData(b"picture", 40, composition_time_offset=-5),
]
FILE = flv.HEADER + b"".join(map(flv.tag, ITEMS))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_was_written_is_read_however_it_is_cut(size: int) -> None:
    assert list(flv.read(FILE[at : at + size] for at in range(0, len(FILE), size))) == ITEMS


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.flv"
    path.write_bytes(FILE)
    assert list(flv.read_file(path)) == list(flv.read_file(str(path))) == ITEMS


def test_what_cannot_be_wrapped_makes_no_tag() -> None:
    assert flv.tag(AudioData(b"x", 0, AudioCodec.UNKNOWN)) == b""


class Times:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


def test_real_time_follows_the_timestamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = Times()
    monkeypatch.setattr(gevent, "sleep", times.sleep)
    monkeypatch.setattr(flv, "monotonic", lambda: times.now)
    path = tmp_path / "file.flv"
    path.write_bytes(FILE + flv.tag(AudioData(b"later", 60)))
    source = flv.read_in_real_time(path)
    assert [next(source) for _ in ITEMS] == ITEMS
    assert times.slept == [0.0, 0.02, 0.02]
    times.now += 30.0  # a pause of the caller
    assert next(source) == AudioData(b"later", 60)
    assert times.slept[-1] == 0.0
