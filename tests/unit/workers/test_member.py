"""What a connection to the keeper may ask; the rest is in test_keeper.py."""

from __future__ import annotations

from pathlib import Path

import gevent

from rtmpsrv import log
from rtmpsrv.workers import member
from rtmpsrv.workers.calls import Calls
from tests.unit.workers.lines import PATIENCE_S, wires
from tests.unit.workers.stage import Cluster


def test_a_worker_that_does_not_answer_is_silent(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    worker = cluster.worker()
    del worker.link.calls["describe"]
    near, far = wires()
    serving = gevent.spawn(cluster.keeper.serve, far._socket)
    visitor = Calls(near, log.get("TEST"), {}, {})
    reading = gevent.spawn(visitor.serve)
    told = visitor.call("describe", timeout_s=PATIENCE_S)
    assert (told["silent"], told["workers"]) == (["w1"], {})
    assert member.DESCRIBE_S < PATIENCE_S
    visitor.close()
    serving.join(PATIENCE_S)
    reading.join(PATIENCE_S)
    cluster.close()
