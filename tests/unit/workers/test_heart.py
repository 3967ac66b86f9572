"""A worker's signs of life."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.workers import heart as heart_module
from rtmpsrv.workers.heart import READY, SUCCEEDED, Heart
from rtmpsrv.workers.role import Role


@contextmanager
def role(tmp_path: Path, parent: int) -> Iterator[tuple[Role, int]]:
    beat = os.open(tmp_path / "heartbeat", os.O_RDWR | os.O_CREAT)
    reading, writing = os.pipe()
    try:
        yield Role(parent, beat, writing), reading
    finally:
        for descriptor in (beat, reading, writing):
            os.close(descriptor)


def test_it_beats_with_the_clock_that_gunicorn_compares_with(tmp_path: Path) -> None:
    with role(tmp_path, os.getppid()) as (told, _):
        heart = Heart(told, lambda: pytest.fail("the parent is there"))
        before = time.monotonic()
        heart.start()
        gevent.sleep(0)
        assert before - 0.01 <= os.fstat(told.heartbeat).st_mtime <= time.monotonic()
        heart.stop()
        heart.stop()


def test_it_says_once_that_the_parent_is_gone_and_beats_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart_module, "BEAT_S", 0.001)
    calls: list[None] = []
    with role(tmp_path, os.getppid() + 1) as (told, _):
        called = Event()

        def orphaned() -> None:
            calls.append(None)
            called.set()

        heart = Heart(told, orphaned)
        heart.start()
        assert called.wait(5)
        os.utime(told.heartbeat, (0, 0))
        with gevent.Timeout(5):
            while os.fstat(told.heartbeat).st_mtime == 0:
                gevent.sleep(0.001)
        assert len(calls) == 1
        heart.stop()


def test_it_tells_the_parent_when_it_is_ready(tmp_path: Path) -> None:
    with role(tmp_path, os.getppid()) as (told, reading):
        heart = Heart(told, lambda: None)
        heart.ready()
        heart.ready(succeeded=True)
        assert os.read(reading, 10) == READY + SUCCEEDED


def test_a_parent_that_is_gone_is_no_error(tmp_path: Path) -> None:
    beat = os.open(tmp_path / "heartbeat", os.O_RDWR | os.O_CREAT)
    reading, writing = os.pipe()
    os.close(reading)
    Heart(Role(1, beat, writing), lambda: None).ready()
    os.close(beat)
    os.close(writing)
