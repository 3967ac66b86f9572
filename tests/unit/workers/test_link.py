"""A worker's connection to the keeper that is there now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.workers import doors, link
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
