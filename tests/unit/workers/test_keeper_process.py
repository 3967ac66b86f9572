"""The keeper put together; as a process it is started by tests/integration/test_workers_crew.py."""

from __future__ import annotations

import os
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.access.gate import PublishRequest
from rtmpsrv.config import Config
from rtmpsrv.workers import doors, keeper, keeper_process
from rtmpsrv.workers.link import Link
from rtmpsrv.workers.remote import RemoteGate
from tests.doubles.callback_server import CallbackServer
from tests.doubles.secrets import JWT_SECRET, KEY
from tests.unit.workers.lines import PATIENCE_S, eventually

REQUEST = PublishRequest("news", KEY, "10.0.0.1")


@pytest.mark.parametrize("dies", [False, True])
def test_the_callback_is_asked_and_told_and_nothing_is_left_in_the_journal(
    tmp_path: Path, dies: bool
) -> None:
    with CallbackServer(JWT_SECRET) as callback:
        config = Config(callback_url=callback.url, jwt_secret=JWT_SECRET, rtmp_port=1935)
        serving, admission = keeper_process.make(config, str(tmp_path))
        serving.listen(doors.listen(doors.path_of(str(tmp_path), doors.KEEPER)))
        link = Link("w1", log.get("WORKER"))
        gate = RemoteGate(link, PATIENCE_S)
        link.start(doors.path_of(str(tmp_path), doors.KEEPER))
        grant = gate.admit(REQUEST, lambda reason: None)
        if dies:
            serving.leave()
            eventually(lambda: link.line is None, "loss")
        gate.release(grant)
        if dies:
            serving, admission = keeper_process.make(config, str(tmp_path))
            serving.listen(doors.listen(doors.path_of(str(tmp_path), doors.KEEPER)))
        assert callback.wait_for("stop", channel="news", timeout_s=PATIENCE_S)
        eventually(lambda: not serving._journal.kept, "an empty journal")
        assert [received.claims["event"] for received in callback.received] == ["start", "stop"]
        assert serving.close(PATIENCE_S)
        admission.stop_commands()
        link.close()


def test_the_control_server_knows_nothing_of_a_keeper_that_is_gone(tmp_path: Path) -> None:
    config = Config(control_use=True, control_base_url="ws://127.0.0.1:9/")
    made, _ = keeper_process.make(config, str(tmp_path))
    assert not made._remembers
    made.leave()


def test_a_channel_stays_closed_when_the_keeper_dies(tmp_path: Path) -> None:
    first, admission = keeper_process.make(Config(), str(tmp_path))
    admission._block("news", 60.0)
    admission._block("sport", 60.0)
    admission._block("sport", 0.0)
    first.leave()
    second, admission = keeper_process.make(Config(), str(tmp_path))
    assert 59 < admission.gate.blocks().pop("news") <= 60
    assert admission.gate.blocks().keys() == {"news"}
    second.leave()


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    stopping = Event()
    serving = gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping)
    link = Link("w1", log.get("WORKER"))
    gate = RemoteGate(link, PATIENCE_S)
    link.start(doors.path_of(str(tmp_path), doors.KEEPER))
    assert gate.admit(REQUEST, lambda reason: None).channel == "news"
    stopping.set()
    assert serving.get(timeout=PATIENCE_S)
    link.close()


def test_another_one_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "OVERLAP_S", 0.0)
    stopping = Event()
    serving = [gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping)]
    link = Link("w1", log.get("WORKER"))
    gate = RemoteGate(link, PATIENCE_S)
    link.start(doors.path_of(str(tmp_path), doors.KEEPER))
    grant = gate.admit(REQUEST, lambda reason: None)
    first = link.line
    serving.append(gevent.spawn(keeper_process.serve, Config(), str(tmp_path), stopping))
    assert serving[0].get(timeout=PATIENCE_S)
    eventually(lambda: link.line not in (first, None), "the next one")
    assert gate.activate(grant)
    assert sorted(os.listdir(tmp_path)) == ["keeper.journal", "keeper.lock", "keeper.sock"]
    stopping.set()
    assert serving[1].get(timeout=PATIENCE_S)
    link.close()


def test_one_that_does_not_retire_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_process, "RETIRE_S", 0.05)
    lock = keeper_process.succeed(str(tmp_path))
    with pytest.raises(OSError, match="another keeper does not retire"):
        keeper_process.succeed(str(tmp_path))
    lock.release()
    lock.release()
    keeper_process.succeed(str(tmp_path)).release()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        keeper_process.make(Config(), str(tmp_path / "none"))
