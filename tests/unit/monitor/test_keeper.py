from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.access.gate import Gate, OpenAuthority, PublishRequest
from rtmpsrv.errors import AccessDenied
from rtmpsrv.monitor import keeper
from rtmpsrv.monitor.counters import Tallies
from rtmpsrv.monitor.keeper import KeeperMonitor
from rtmpsrv.monitor.packing import unpack
from rtmpsrv.monitor.report import Standing
from rtmpsrv.monitor.values import ProcessValue
from tests.doubles.secrets import KEY
from tests.unit.server.stage import eventually

REQUEST = PublishRequest("news", KEY, "192.0.2.1")


class Keeper:
    """The gate of one, and its monitor."""

    def __init__(self) -> None:
        self.gate = Gate(OpenAuthority())
        self.kills: list[str] = []
        self.standing: Standing = {
            "not_ready": [],
            "succeeded": False,
            "certificate_expires_at": None,
            "callback_queue_length": 3,
            "redis_connected": True,
            "control_connected": None,
        }
        self.counted = Tallies()
        self.monitor = KeeperMonitor(
            lambda: self.standing, self._block, self.gate.kill, self.counted, log.get("KEEPER")
        )
        self.is_full = False

    def _block(self, channel: str, seconds: float) -> bool:
        self.gate.block(channel, 0.0 if self.is_full else seconds)
        return not self.is_full

    def ask(self, what: str, *arguments: Any) -> Any:
        return unpack(self.monitor.answer(what, arguments))


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(keeper, "KILL_AFTER_S", 0.0)
    return Keeper()


def test_it_is_a_process_without_clients(one: Keeper) -> None:
    one.counted.posted("start", "accepted", 0.1)
    value: ProcessValue = one.ask("process")
    assert set(value) == set(ProcessValue.__annotations__)
    assert (value["worker"], value["pid"], value["ready"]) == ("keeper", os.getpid(), True)
    assert (value["callback_queue_length"], value["redis_connected"]) == (3, True)
    assert value["counters"]["callback_requests"] == [{"what": "start", "result": "accepted", "count": 1}]
    one.standing["not_ready"].append("the control server is not connected")
    value = one.ask("process")
    assert (value["ready"], value["not_ready"]) == (False, ["the control server is not connected"])
    assert (
        one.ask("names")
        == one.ask("ids")
        == one.ask("channels")
        == one.ask("channels", ["news"])
        == one.ask("connections", None)
        == []
    )
    assert one.ask("events", {"w1": 5}, "news") == {"last": 0, "events": []}
    assert one.ask("kick", "id", 60.0, "reason") is False
    with pytest.raises(KeyError):
        one.ask("secrets")


def test_a_channel_is_stopped_and_closed_for_all_workers(one: Keeper) -> None:
    one.gate.admit(REQUEST, one.kills.append)
    assert one.ask("stop", "news", 60.0, "reason") is True
    assert one.kills == ["ended by the API: reason"]
    with pytest.raises(AccessDenied, match="closed for 60 s more"):
        one.gate.admit(REQUEST, one.kills.append)
    assert one.ask("stop", "sport", 0.0, "") is False
    one.gate.admit(PublishRequest("sport", KEY, "192.0.2.1"), one.kills.append)


def test_a_block_that_would_push_out_another_is_none(one: Keeper) -> None:
    one.is_full = True
    assert one.ask("stop", "news", 60.0, "") is None
    assert one.ask("stop", "news", None, "") is False


def test_workers_have_the_time_to_tell_their_clients() -> None:
    one = Keeper()
    grant = one.gate.admit(REQUEST, one.kills.append)
    stopping = gevent.spawn(one.ask, "stop", "news", 60.0, "")
    eventually(lambda: one.gate.blocks())
    one.gate.release(grant)
    assert stopping.get() is False
    assert one.kills == []


def test_the_lag_of_its_loop_is_measured(one: Keeper, tmp_path: Path) -> None:
    one.monitor.start_watching()
    eventually(lambda: one.ask("process")["counters"]["event_loop_lag_s"]["count"])
    one.monitor.stop_watching()
