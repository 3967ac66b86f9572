"""A web process as its parent sees it: with real processes that do what a test needs of one."""

from __future__ import annotations

import os
from collections.abc import Mapping

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.monitor import web_process
from rtmpsrv.monitor.web_process import WebProcess
from rtmpsrv.server.binding import bind
from tests.server_process import PROJECT
from tests.unit.web.stage import Lines

BEGIN = """
from gevent import monkey; monkey.patch_all()
import os, gevent
from gevent import socket
from rtmpsrv import log
from rtmpsrv.workers.calls import Calls
from rtmpsrv.workers.wire import Wire
told = gevent.event.Event()
wire = Wire(socket.socket(fileno=4))
line = Calls(wire, log.get(), {"stop": told.set, "reload": told.set}, {"leave": told.set})
reading = gevent.spawn(line.serve)
"""
ASKS = """
assert line.call("settings", timeout_s=5) == {"API_PORT": "1"}
assert "API_PORT" not in os.environ and "NOTIFY_SOCKET" not in os.environ
assert line.call("ask", "process", (), 1.0, timeout_s=5) == {"": b"process"}
assert socket.socket(fileno=3).getsockname()[1] == int(os.environ["PORT"])
"""
ENDS_WELL = """
line.tell("ends"); line.flush(5)
"""
WAITS = """
told.wait()
"""


def run(monkeypatch: pytest.MonkeyPatch, program: str, settings: Mapping[str, str]) -> WebProcess:
    monkeypatch.setattr(web_process, "COMMAND", ("-c", BEGIN + program))
    for name, value in {"API_PORT": "2", "NOTIFY_SOCKET": "x", "PYTHONPATH": str(PROJECT)}.items():
        monkeypatch.setenv(name, value)
    sock = bind("127.0.0.1", 0)
    monkeypatch.setenv("PORT", str(sock.getsockname()[1]))
    made = WebProcess(
        sock.fileno(), settings, lambda what, arguments, timeout_s: {"": what.encode()}, log.get("WEB")
    )
    sock.close()
    return made


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("program", "well"), [(ASKS + ENDS_WELL, True), (ASKS, False), ("raise SystemExit(1)", False)]
)
def test_it_is_answered_until_its_end(program: str, well: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    web = run(monkeypatch, program, {"API_PORT": "1"})
    assert web.serve() is well
    assert is_gone(web.pid)


def test_it_ends_when_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    web = run(monkeypatch, WAITS, {})
    web.stop()
    assert web.serve()
    web = run(monkeypatch, WAITS, {})
    web.reload()
    assert not web.serve()
    web = run(monkeypatch, WAITS, {})
    leaving = gevent.spawn(web.leave, 5.0)
    assert web.serve()
    leaving.get(timeout=5)


def test_who_asks_one_that_stops_is_not_kept_for_long() -> None:
    assert web_process.PING_S * (1 + web_process.MAX_SILENCES) <= 10


@pytest.mark.parametrize(
    ("limit", "before"), [("START_S", ""), ("PING_S", 'line.call("settings", timeout_s=5); ')]
)
def test_one_that_says_nothing_any_more_is_killed(
    monkeypatch: pytest.MonkeyPatch, lines: Lines, limit: str, before: str
) -> None:
    monkeypatch.setattr(web_process, limit, 0.02)
    web = run(monkeypatch, before + "os.kill(os.getpid(), 19)", {})  # stopped
    assert not web.serve()
    assert is_gone(web.pid)
    assert ("WARNING", "the web process does not answer any more, and is killed") in lines.lines


def test_one_that_closes_its_line_and_lives_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_process, "REAP_S", 0.1)
    web = run(monkeypatch, "line.close(); gevent.sleep(60)", {})
    assert not web.serve()
    gevent.sleep(0)
    assert is_gone(web.pid)


def test_it_is_not_there_where_it_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Bad file"):
        WebProcess(9999, {}, lambda what, arguments, timeout_s: {}, log.get("WEB"))
    assert len(os.listdir("/proc/self/fd")) == before
