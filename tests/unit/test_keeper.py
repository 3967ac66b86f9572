"""The keeper's process put together: it asks all workers, and itself."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from rtmpsrv import admin
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.keeper import Beside, ask_all
from rtmpsrv.server.binding import bind
from rtmpsrv.workers import keeper_process
from tests.server_process import free_port
from tests.unit.workers.stage import Cluster


def test_all_workers_are_asked_and_the_keeper(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    worker = cluster.worker()
    worker.link.calls["monitor"] = lambda what, arguments: what.encode()
    ask = ask_all(cluster.keeper, lambda what, arguments: b"own")
    assert ask("channels", (), 5.0) == {"w1": b"channels", "keeper": b"own"}
    cluster.close()


def test_it_opens_the_port_and_leaves_it_to_the_next(tmp_path: Path) -> None:
    config = Config(api_port=free_port())
    made, admission = keeper_process.make(config, str(tmp_path))
    beside = Beside(config, made, admission)
    beside.start()
    bind_fails(config.api_port)
    told = pickle.loads(beside._monitor.answer("process", ()))
    assert told["worker"] == "keeper"
    beside.retire()
    beside.close()
    bind("127.0.0.1", config.api_port).close()
    made.leave()


def bind_fails(port: int) -> None:
    """See that somebody listens there."""
    with pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", port)


def test_without_the_extra_workers_are_served_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: Any, **named: Any) -> None:
        raise ConfigError(["there is no extra"])

    monkeypatch.setattr(admin, "open_desk", missing)
    config = Config(api_port=free_port())
    made, admission = keeper_process.make(config, str(tmp_path))
    beside = Beside(config, made, admission)
    beside.start()
    beside.close()
    made.leave()
