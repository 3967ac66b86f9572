"""Vitals of a publication that another publisher, or another process, goes on with."""

from __future__ import annotations

import os

import pytest

from tests.unit.live.course import AAC, AVC, Course, tracks_of
from tests.unit.live.stage import sound, video


def test_another_publisher_that_goes_on_is_no_jump_and_no_stall() -> None:
    course = Course().run(10)
    channel = course.stage.channel
    channel.suspend(30)
    course.stage.clock.advance(8)
    vitals = course.vitals()
    assert [one["codec"] for one in vitals["tracks"]] == ["H264", "MPEG-4 Audio"]
    assert vitals["silence_s"] is None
    channel.go_on("key")
    course.stage.publish(AAC, AVC, AVC)
    course.time_ms = 700_000
    course.run(12)
    vitals = course.vitals()
    for name in ("jumps", "stalls", "odd_headers"):
        assert vitals[name] == 0
    assert vitals["media_rate"] == pytest.approx(1.0)
    assert vitals["gops_s"] == [2.0] * 5
    assert vitals["av_offset_s"] == pytest.approx(0.0, abs=0.02)
    assert vitals["age_s"] == pytest.approx(30)
    assert tracks_of(vitals)["video", 0]["frames"] == 22 * 25


def test_another_publisher_with_other_tracks() -> None:
    course = Course().run(5)
    course.stage.channel.suspend(30)
    course.stage.channel.go_on("key")
    course.with_audio = False
    course.time_ms = 0
    course.stage.publish(video(b"\x17\0\0\0\0nothing"))
    vitals = course.run(5).vitals()
    assert tracks_of(vitals)["video", 0]["configured"] is False
    assert vitals["odd_headers"] == 1
    assert ("audio", 0) not in tracks_of(vitals)


def test_vitals_move_with_the_channel() -> None:
    course = Course(headers=(AAC, AVC, sound(b"\x90abcd"))).run(20)
    course.shift_ms += 5000
    course.run(3)
    course.pause(2)
    course.run(0.5)
    twin = course.stage.beside()
    before = course.vitals()
    assert (before["odd_headers"], before["jumps"], before["stalls"]) == (1, 1, 1)
    course.stage = course.stage.hand_over(twin)
    assert course.vitals() == before
    course.run(10)
    vitals = course.vitals()
    assert (vitals["odd_headers"], vitals["jumps"], vitals["stalls"]) == (1, 1, 1)
    assert vitals["gops_s"][-3:] == [2.0] * 3
    assert vitals["keyframes"] == before["keyframes"] + 5
    assert tracks_of(vitals)["video", 0]["frames"] == tracks_of(before)["video", 0]["frames"] + 250
    assert vitals["age_s"] == pytest.approx(35.5)


def test_a_process_that_tells_nothing_of_them() -> None:
    course = Course().run(5)
    fds: list[int] = []
    value = course.stage.channel.snapshot(fds)
    contents = value["contents"]
    assert isinstance(contents, dict)
    del contents["vitals"], value["crowd"]
    other = course.stage.beside()
    other.channel.adopt(value, [os.dup(fd) for fd in fds])
    course.stage = other
    assert course.vitals()["keyframes"] == 0
    vitals = course.run(10).vitals()
    assert vitals["keyframes"] == 5
    assert vitals["age_s"] == pytest.approx(10)
    assert tracks_of(vitals)["video", 0]["frames"] == 250
    assert tracks_of(vitals)["video", 0]["codec"] == "H264"
