"""HLS that another worker answers: by the connection that goes there, or by a question."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from gevent.event import Event

from rtmpsrv.errors import AccessDenied
from rtmpsrv.live.budget import Budget
from rtmpsrv.server.host import Client
from rtmpsrv.server.http.errand import Errand
from rtmpsrv.server.http.head import Head
from rtmpsrv.server.http.request import Request
from rtmpsrv.server.http.routes import HLS, Route
from rtmpsrv.server.http.site import Site
from rtmpsrv.server.http.state import begin
from rtmpsrv.server.session_state import SessionSettings
from rtmpsrv.workers import answering
from rtmpsrv.workers.answering import Answering

HEAD = Head("GET", "/news/live.m3u8", "key=secret&s=1", {})
ROUTE = Route(HLS, "news", "live.m3u8")


class Away:
    """Where channels are, and another worker to be asked."""

    def __init__(self) -> None:
        self.worker: str | None = None
        self.is_there = False
        self.passed: list[tuple[object, str]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Any = None
        self.silent: set[str] = set()  # workers that give no answer
        self.next: str | None = None  # who has the channel after a wait
        self.waits = 0
        self.calls: dict[str, Any] = {}

    def last(self, name: str) -> str | None:
        return self.worker

    def has(self, name: str) -> bool:
        return self.is_there

    def wait(self, name: str, timeout_s: float) -> None:
        self.waits += 1
        self.worker, self.is_there = self.next, self.next is not None

    def pass_on(self, peer: object, name: str) -> None:
        self.passed.append((peer, name))

    def ask(self, worker: str, question: str, *arguments: object, timeout_s: float) -> Any:
        self.asked.append((worker, question, *arguments))
        return None if worker in self.silent else self.answer


class Reply:
    def __init__(self, memory: Budget) -> None:
        self.sent: list[Any] = []
        self.counted: list[int] = []  # while something was sent
        self._memory = memory

    def send(
        self, status: int, body: bytes = b"", type: str = "", headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.sent.append((status, body, type, tuple(headers)))
        self.counted.append(self._memory.used_bytes)


class Desk:
    """A site with a handler of HLS, in whose place another one is put."""

    def __init__(self) -> None:
        self.away = Away()
        self.memory = Budget(1000)
        self.here: list[Request] = []
        self.denial: AccessDenied | None = None
        self.body: bytes | tuple[bytes, ...] = b"list"
        self.site = Site(None)  # type: ignore[arg-type]
        self.site.add(HLS, self.handle)
        self.answering = Answering(self.site, self.away, self.away, self.memory)  # type: ignore[arg-type]
        self.client = Client(7, "192.0.2.1", 8080, False)
        state = begin(self.client, SessionSettings(), 0.0)
        self.peer: Any = SimpleNamespace(client=self.client, errand=Errand(state, Event(), lambda: False))

    def handle(self, request: Request, reply: Any) -> None:
        self.here.append(request)
        if self.denial is not None:
            raise self.denial
        assert not reply.wait(Event(), 0) if hasattr(reply, "wait") else True
        reply.send(200, self.body, "type", [("A", "b")])

    def get(self) -> list[Any]:
        reply: Any = Reply(self.memory)
        self.reply = reply
        self.site.handlers[HLS](Request(HEAD, ROUTE, HEAD.parameters(), self.peer), reply)
        sent: list[Any] = reply.sent
        return sent


def test_a_channel_of_this_worker_is_answered_here() -> None:
    desk = Desk()
    assert desk.get() == [(200, b"list", "type", (("A", "b"),))]
    assert not desk.away.asked


def test_the_connection_goes_once_and_then_the_other_worker_is_asked() -> None:
    desk = Desk()
    desk.away.worker, desk.away.answer = "w2", (200, b"far", "type", ())
    for _ in range(2):
        assert desk.get() == [(200, b"far", "type", ())]
    assert desk.away.passed == [(desk.peer, "news")], "it does not go to and fro"
    assert desk.away.asked == 2 * [("w2", "hls", desk.client, HEAD, ROUTE)]
    assert not desk.here


def test_what_another_worker_answered_counts_while_it_is_sent() -> None:
    desk = Desk()
    desk.away.worker, desk.away.answer = "w2", (200, (b"far", b"away"), "type", ())
    desk.get()
    assert desk.reply.counted == [7]
    assert desk.memory.used_bytes == 0


def test_a_worker_that_leaves_is_waited_for_until_another_one_has_the_channel() -> None:
    desk = Desk()
    away = desk.away
    away.worker, away.is_there, away.next = "w2", True, "w3"
    away.answer, away.silent = (200, b"far", "type", ()), {"w2"}
    assert desk.get() == [(200, b"far", "type", ())]
    assert ([worker for worker, *_ in away.asked], away.waits) == (["w2", "w3"], 1)


def test_who_has_the_channel_next_may_be_this_worker() -> None:
    desk = Desk()
    desk.away.worker, desk.away.is_there, desk.away.silent = "w2", True, {"w2"}
    assert desk.get() == [(200, b"list", "type", (("A", "b"),))]
    assert (len(desk.here), desk.away.waits) == (1, 1)


def test_nobody_waits_for_a_change_that_came_while_a_worker_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    away = desk.away
    away.worker, away.is_there, away.answer = "w2", True, (200, b"far", "type", ())

    def ask(worker: str, question: str, *arguments: object, timeout_s: float) -> Any:
        away.worker = "w3"
        return away.answer if worker == "w3" else None

    monkeypatch.setattr(away, "ask", ask)
    assert desk.get() == [(200, b"far", "type", ())]
    assert away.waits == 0


def test_a_worker_that_is_silent_has_the_channel_or_had_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "LEAVING_S", 0.0)
    desk = Desk()
    desk.away.worker, desk.away.is_there = "w2", True
    ((status, *_),) = desk.get()
    assert status == 503
    assert not desk.here
    desk.away.is_there = False
    assert desk.get()[0][0] == 200


def test_what_another_worker_asks_is_answered_in_whole() -> None:
    desk = Desk()
    ask = desk.away.calls["hls"]
    bulk = ask(desk.client, HEAD, ROUTE)
    assert bulk[:2] == ((200, b"list", "type", (("A", "b"),)), 4)
    assert bulk.otherwise[0] == 503
    assert ("Retry-After", "1") in bulk.otherwise[3]
    (request,) = desk.here
    assert request.client is desk.client
    assert request.query == {"key": "secret", "s": "1"}
    assert request.head.query == HEAD.query
    desk.denial = AccessDenied("code", "no")
    with pytest.raises(AccessDenied):
        ask(desk.client, HEAD, ROUTE)


def test_what_goes_to_another_worker_in_pieces_counts_in_whole() -> None:
    desk = Desk()
    desk.body = (b"one", b"three")
    assert desk.away.calls["hls"](desk.client, HEAD, ROUTE).size == 8


def test_a_site_without_hls_is_left_alone() -> None:
    site, away = Site(None), Away()  # type: ignore[arg-type]
    Answering(site, away, away, Budget(1000))  # type: ignore[arg-type]
    assert site.handlers == {}
    assert away.calls == {}
