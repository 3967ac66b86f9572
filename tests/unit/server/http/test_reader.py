"""Deadlines of connections that say nothing; the rest is seen in the tests of the session."""

from __future__ import annotations

from typing import Any

import pytest
from gevent.event import Event

from rtmpsrv.server.held import UNFINISHED
from rtmpsrv.server.http import reader, routes
from rtmpsrv.server.http.frames import PING, frame
from rtmpsrv.server.http.reply import Reply
from rtmpsrv.server.http.request import Request
from tests.unit.server.http.stage import HttpStage, eventually, said
from tests.unit.server.stage import FakeBudget

PAGE = (200, "page")


def staged(**settings: Any) -> HttpStage:
    stage = HttpStage(**settings)
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200, b"page"))
    return stage


def over(stage: HttpStage) -> None:
    """Wait for the end; nothing was said to the peer."""
    assert stage.read_to_end() == b""
    stage.close()


def test_a_first_request_comes_in_time() -> None:
    over(staged(handshake_s=0.0))


def test_a_head_that_drips_has_the_same_time() -> None:
    stage = staged(handshake_s=0.05)
    stage.send(b"GET /li")
    over(stage)


def test_another_request_may_take_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = staged()
    monkeypatch.setattr(reader, "KEEP_ALIVE_S", 0.0)
    stage.get("/live")
    assert stage.answer() == PAGE
    over(stage)


def test_another_request_that_has_begun_has_the_time_of_the_first() -> None:
    stage = staged()
    stage.send(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\nGET")
    assert stage.answer() == PAGE
    eventually(lambda: stage.state.unread == b"GET")
    began = stage.state.deadline - stage.parts.settings.handshake_s
    assert began > stage.state.accepted_at
    stage.send(b" /live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert stage.answer() == PAGE
    stage.send(b"G")
    eventually(lambda: stage.state.unread == b"G")
    assert stage.state.deadline - stage.parts.settings.handshake_s > began
    stage.close()


def misses(stage: HttpStage) -> list[int]:
    """Return how many bytes each read wanted that will find none."""
    transport, found = stage.session._transport, []
    read = transport.read

    def spy(count: int) -> bytes:
        try:
            return read(count)
        except BlockingIOError:
            found.append(count)
            raise

    transport.read = spy  # type: ignore[misc]
    return found


def test_between_requests_nothing_is_read_before_something_has_come() -> None:
    stage = staged()
    stage.get("/live")
    assert stage.answer() == PAGE
    found = misses(stage)
    for _ in range(3):
        stage.get("/live")
        assert stage.answer() == PAGE
    assert found == []
    stage.close()


@pytest.mark.parametrize("size", [1, 7, 16])
def test_request_may_come_in_any_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(reader, "READ_BYTES", size)
    stage = staged()
    head = b"GET /live HTTP/1.1\r\nHost: x\r\nX: yyyyyyyyyyyy\r\n\r\n"
    assert len(head) % 16 == 0, "the last read is full"
    for _ in range(2):
        stage.send(head)
        assert stage.answer() == PAGE
    stage.close()


def test_what_the_system_does_not_tell_of_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = staged()
    monkeypatch.setattr(stage.session._transport, "has_more", True)
    found = misses(stage)
    stage.get("/live")
    assert stage.answer() == PAGE
    eventually(lambda: found)
    stage.close()


def converse(**settings: Any) -> HttpStage:
    stage = staged(**settings)
    stage.get_websocket("/live.flv")
    assert stage.head()[0] == 101
    return stage


def test_who_is_silent_on_a_websocket_is_asked_and_stays_if_it_answers() -> None:
    stage = converse(ping_s=0.01, idle_s=60.0)
    for _ in range(3):
        assert stage.read(2) == frame(PING, 0)
        stage.send(said(10))
    stage.close()


def test_who_does_not_answer_is_gone() -> None:
    stage = converse(idle_s=0.03)
    stage.read_to_end()
    assert stage.host.playbacks[-1].ends == ["sent nothing for 0.03 s"]
    stage.close()


def test_a_wait_that_the_process_slept_through_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = staged()
    monkeypatch.setattr(reader, "LATE_S", -100.0)  # as if every wait had been too long
    eventually(lambda: stage.session._reader._wait._waiting)
    deadline = stage.state.deadline
    stage.send(b"G")
    eventually(lambda: stage.state.unread)
    assert stage.state.deadline > deadline
    stage.session.drop("enough")
    stage.close()


def test_what_waits_to_be_understood_is_counted_unless_it_is_little() -> None:
    stage = staged()
    budget = stage.parts.budget
    assert isinstance(budget, FakeBudget)
    stage.send(b"GET /live HTTP/1.1\r\nHost: x\r\n")
    eventually(lambda: stage.state.unread)
    assert not budget.held
    stage.send(b"X: " + b"y" * 5000)
    eventually(lambda: budget.held == {(UNFINISHED, stage.session): len(stage.state.unread)})
    assert len(stage.state.unread) > 5000
    stage.send(b"\r\n\r\n")
    assert stage.answer() == PAGE
    eventually(lambda: not budget.held)
    stage.send(b"GET /live HTTP/1.1\r\nX: " + b"y" * 5000)
    eventually(lambda: budget.held)
    stage.close()
    assert not budget.held


def test_a_head_is_counted_until_it_is_answered() -> None:
    stage, may_go = HttpStage(), Event()

    def handler(_request: Request, reply: Reply) -> None:
        may_go.wait()
        reply.send(200, b"page")

    stage.site.add(routes.PAGE, handler)
    budget = stage.parts.budget
    assert isinstance(budget, FakeBudget)
    head = b"GET /live HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 5000 + b"\r\n\r\n"
    stage.send(head)
    eventually(lambda: budget.held == {(UNFINISHED, stage.session): reader.COPIES * len(head)})
    may_go.set()
    assert stage.answer() == PAGE
    eventually(lambda: not budget.held)
    stage.close()


def test_what_a_viewer_said_before_it_watches_is_forgotten() -> None:
    stage = staged()
    budget = stage.parts.budget
    assert isinstance(budget, FakeBudget)
    head = b"GET /live.flv HTTP/1.1\r\nHost: x\r\n\r\n"
    stage.send(head + b"x" * 5000)
    assert stage.head()[0] == 200
    eventually(lambda: not stage.state.unread)
    assert (UNFINISHED, 5000 + reader.COPIES * len(head)) in budget.calls
    assert not budget.held
    stage.close()
