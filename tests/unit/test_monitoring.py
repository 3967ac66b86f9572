"""What is put together for an application is seen in tests/unit/monitor; here is what it depends on."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rtmpsrv.admission import Admission
from rtmpsrv.config import Config
from rtmpsrv.monitor.packing import unpack
from rtmpsrv.monitoring import monitor_of_keeper, standing_of
from rtmpsrv.server.turns import Turns
from tests.doubles.certificates import make
from tests.doubles.secrets import JWT_SECRET
from tests.unit.monitor.stage import stage

CALLED: dict[str, Any] = {"callback_url": "http://127.0.0.1:9/", "jwt_secret": JWT_SECRET}
CONTROLLED: dict[str, Any] = {"control_use": True, "control_base_url": "ws://127.0.0.1:9/"}


def test_what_is_not_used_is_neither_there_nor_missing() -> None:
    assert standing_of(Admission(Config(), Turns()), []) == {
        "not_ready": [],
        "succeeded": False,
        "certificate_expires_at": None,
        "callback_queue_length": 0,
        "redis_connected": None,
        "control_connected": None,
    }


def test_without_its_control_server_nobody_can_publish() -> None:
    standing = standing_of(Admission(Config(**CONTROLLED), Turns()), ["it is shutting down"])
    assert standing["not_ready"] == ["it is shutting down", "the control server is not connected"]
    assert standing["control_connected"] is False


def test_redis_may_be_away() -> None:
    standing = standing_of(Admission(Config(redis_use=True), Turns()), [])
    assert (standing["redis_connected"], standing["not_ready"]) == (False, [])


def test_the_keeper_counts_what_its_callback_is_asked() -> None:
    admission = Admission(Config(**CALLED), Turns())
    monitor = monitor_of_keeper(admission)
    assert admission.callbacks is not None
    admission.callbacks._sender.on_post("start", "accepted", 0.1)
    counters = unpack(monitor.answer("process"))["counters"]
    assert counters["callback_requests"] == [{"what": "start", "result": "accepted", "count": 1}]
    plain = monitor_of_keeper(Admission(Config(), Turns()))
    assert unpack(plain.answer("process"))["counters"]["callback_requests"] == []


def test_an_application_counts_those_of_players_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch, **CALLED, callback_events="start,stop,play") as on:
        for sender in (on.app._admission.callbacks, on.app._hooks):
            assert sender is not None
            sender._sender.on_post("play", "refused", 0.1)
        assert on.ask("process")["counters"]["callback_requests"] == [
            {"what": "play", "result": "refused", "count": 2}
        ]


def test_a_process_that_ends_or_does_not_serve_yet_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        assert on.ask("process")["ready"] is True
        on.app._successor = object()  # type: ignore[assignment]
        assert on.ask("process")["not_ready"] == ["it takes over from another process"]
        on.app._successor = None
        on.app.succession._starting = True
        assert on.ask("process")["not_ready"] == ["it hands over to another process"]
        on.app.succession._starting = False
        on.app.stop()
        assert on.ask("process")["not_ready"] == ["it is shutting down"]


def test_a_process_says_whether_another_one_serves_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        assert on.ask("process")["succeeded"] is False
        predecessor = SimpleNamespace(serving=False, cancel=lambda reason: None)
        on.app.succession._predecessor = predecessor  # type: ignore[assignment]
        assert (on.ask("process")["ready"], on.ask("process")["succeeded"]) == (False, False)
        predecessor.serving = True
        assert (on.ask("process")["ready"], on.ask("process")["succeeded"]) == (False, True)


def test_the_certificate_in_use_has_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = make(tmp_path)
    with stage(
        monkeypatch,
        ssl_cert=pair.certificate,
        ssl_key=pair.key,
        ssl_bind_address="127.0.0.1",
        ssl_port=0,
        ssl_check_reload_seconds=0,
    ) as on:
        process = on.ask("process")
        assert 86400 < process["certificate_expires_at"] - time.time() <= 2 * 86400
        assert [one["secure"] for one in process["listeners"]] == [False, True]
