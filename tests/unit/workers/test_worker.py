"""A worker as its parent sees it. What becomes of the child is for tests with real processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

import rtmpsrv.workers
from rtmpsrv.workers.heart import READY, SUCCEEDED
from rtmpsrv.workers.manager_state import WorkerState
from rtmpsrv.workers.worker import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(1, os.getpid(), [], None, 1.0, Config(), logging.getLogger())
    yield made
    made.gone()
    made.tmp.close()


def test_gunicorn_finds_its_names_in_the_package() -> None:
    assert rtmpsrv.workers.Worker is Worker
    with pytest.raises(RuntimeError, match="RTMP"):
        rtmpsrv.workers.app({}, None)
    with pytest.raises(AttributeError):
        _ = rtmpsrv.workers.Other


@pytest.mark.parametrize(("word", "succeeded"), [(READY, False), (SUCCEEDED, True)])
def test_a_worker_becomes_ready_once(worker: Worker, word: bytes, succeeded: bool) -> None:
    assert not worker.became_ready()
    os.write(worker._status_end, word)
    assert worker.became_ready()
    assert not worker.became_ready()
    assert (worker.ready, worker.succeeded) == (True, succeeded)


def test_one_that_has_ended_never_does(worker: Worker) -> None:
    worker.forked()
    worker.forked()
    assert not worker.became_ready()
    worker.gone()
    worker.gone()


def test_one_that_runs_already_can_be_taken_up(worker: Worker) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    beats = os.memfd_create("beats")
    os.utime(beats, (7, 7))
    worker.adopt(WorkerState(4711, 3, beats, reading, ready=False, leaving=True))
    assert (worker.pid, worker.leaving, worker.tmp.fileno()) == (4711, True, beats)
    assert worker.tmp.last_update() == 7
    os.write(writing, READY)
    assert worker.became_ready()
    os.close(writing)


def test_gunicorn_calls_the_ports_what_they_are(caplog: pytest.LogCaptureFixture) -> None:
    Worker.setup()
    logger = logging.getLogger("gunicorn.error")
    with caplog.at_level(logging.INFO, "gunicorn.error"):
        logger.info("Listening at: %s (%s)", "http://127.0.0.1:1935,http://[::1]:1935", 7)
        logger.info("Using worker: %s", "rtmpsrv.workers.Worker")
    assert [record.getMessage() for record in caplog.records] == [
        "Listening at: rtmp://127.0.0.1:1935,rtmp://[::1]:1935 (7)",
        "Using worker: rtmpsrv.workers.Worker",
    ]
