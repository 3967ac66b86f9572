"""A worker's connection to the keeper that is there now."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.workers import doors, keeper_lock, link
from rtmpsrv.workers.keeper_lock import Lock
from rtmpsrv.workers.link import Link
from rtmpsrv.workers.wire import Wire
from tests.unit.workers.lines import PATIENCE_S, eventually, wires


@pytest.fixture
def worker() -> Iterator[Link]:
    worker = Link("w1", log.get("WORKER"))
    yield worker
    worker.close()


def test_the_first_word_is_all_that_the_parts_have_to_say(worker: Link) -> None:
    worker.says |= {"slots": lambda: {1: "10.0.0.1"}, "claims": list}
    near, far = wires()
    serving = gevent.spawn(worker.serve, near)
    hello = ("tell", 0, "hello", ("w1", {"slots": {1: "10.0.0.1"}, "claims": []}))
    assert far.receive(PATIENCE_S) == (hello, [])
    worker.tell("slot_over", 1)
    assert far.receive(PATIENCE_S) == (("tell", 0, "slot_over", (1,)), [])
    far.close()
    assert serving.get(timeout=PATIENCE_S) == "closed by the other process"
    assert worker.line is None
    worker.tell("nobody", 1)


def test_a_keeper_is_waited_for_and_not_for_ever(worker: Link) -> None:
    assert worker.wait(0.01) is None
    waiting = gevent.spawn(worker.wait, PATIENCE_S)
    near, far = wires()
    serving = gevent.spawn(worker.serve, near)
    assert waiting.get(timeout=PATIENCE_S) is worker.line
    assert worker.wait(PATIENCE_S) is worker.line
    far.close()
    serving.join(PATIENCE_S)


def test_a_line_that_ends_after_the_next_one_has_begun_takes_nothing_along(worker: Link) -> None:
    pairs = [wires(), wires()]
    serving = [gevent.spawn(worker.serve, near) for near, _ in pairs]
    for _, far in pairs:
        far.receive(PATIENCE_S)
    pairs[0][1].close()
    serving[0].join(PATIENCE_S)
    assert worker.line is not None
    worker.tell("here", 1)
    assert pairs[1][1].receive(PATIENCE_S)[0][2] == "here"
    pairs[1][1].close()
    serving[1].join(PATIENCE_S)


def test_it_connects_again_and_again(
    worker: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link, "RETRY_S", 0.001)
    path = doors.path_of(str(tmp_path), doors.KEEPER)
    worker.start(path)
    eventually(lambda: "no keeper yet" in caplog.text, "an attempt")
    gevent.sleep(0.01)
    assert caplog.text.count("no keeper yet") == 1
    listener = doors.listen(path)
    for _ in range(2):
        far = Wire(listener.accept()[0])
        assert far.receive(PATIENCE_S)[0][2] == "hello"
        far.close()
    eventually(lambda: caplog.text.count("the keeper is gone: ") == 2, "loss")
    listener.close()


def test_a_line_that_ends_late_does_not_disturb_the_next_one(
    worker: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link, "RETRY_S", 0.001)
    path = doors.path_of(str(tmp_path), doors.KEEPER)
    listener = doors.listen(path)
    worker.start(path)
    retired = Wire(listener.accept()[0])
    retired.receive(PATIENCE_S)
    worker.step_back()
    serving = Wire(listener.accept()[0])
    serving.receive(PATIENCE_S)
    retired.close()
    eventually(lambda: not worker._former, "the end of the first")
    gevent.sleep(0.01)
    assert caplog.text.count("connected to the keeper") == 2
    assert "the keeper is gone" not in caplog.text
    serving.close()
    listener.close()


@pytest.mark.parametrize("is_the_keeper", [True, False])
def test_one_that_is_there_and_does_not_answer_is_killed_if_it_is_the_keeper(
    worker: Link,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_the_keeper: bool,
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setattr(link, "PING_S", 0.005)
    path = doors.path_of(str(tmp_path), doors.KEEPER)
    lock = Lock(str(tmp_path / keeper_lock.LOCK))
    if is_the_keeper:
        assert lock.take(0.0)
    listener = doors.listen(path)
    worker.start(path)
    far = Wire(listener.accept()[0])
    eventually(lambda: "the keeper is gone: no answer" in caplog.text, "it is given up")
    assert killed == ([(os.getpid(), signal.SIGKILL)] if is_the_keeper else [])
    worker.close()
    for one in (lock, far, listener):
        one.release() if isinstance(one, Lock) else one.close()


def test_one_that_answers_in_between_or_does_not_know_the_question_is_left_alone(
    worker: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PING_S", 0.01)
    near, far = wires()
    serving = gevent.spawn(worker.serve, near)
    asked = 0
    while asked < 4 * link.MAX_SILENCES:
        (_, number, name, _), _ = far.receive(PATIENCE_S)
        if name != "ping":
            continue
        asked += 1
        if asked % link.MAX_SILENCES == 0:
            far.post(("yes", number, "", (None,)) if asked % 2 else ("failed", number, "not known", ()))
    assert worker.line is not None
    worker.close()
    serving.join(PATIENCE_S)
    far.close()


def test_at_the_end_all_is_sent_and_nobody_waits(worker: Link) -> None:
    near, far = wires()
    serving = gevent.spawn(worker.serve, near)
    far.receive(PATIENCE_S)
    worker.tell("last", 1)
    assert worker.close(PATIENCE_S)
    serving.join(PATIENCE_S)
    assert far.receive(PATIENCE_S)[0][2] == "last"
    assert worker.wait(PATIENCE_S) is None
    assert not worker.close(PATIENCE_S)
    far.close()
