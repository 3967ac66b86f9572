"""A request that may go along to another process while it waits for its answer."""

from __future__ import annotations

import pytest
from gevent.event import Event

from rtmpsrv.errors import AccessDenied, PeerLost
from rtmpsrv.server.ending import Moved
from rtmpsrv.server.host import Client
from rtmpsrv.server.http.errand import Errand
from rtmpsrv.server.http.state import HttpState, begin
from rtmpsrv.server.session_state import SessionSettings


class Session:
    """What an errand belongs to."""

    def __init__(self, unread: bytes = b"") -> None:
        self.state: HttpState = begin(Client(7, "192.0.2.1", 8080, False), SessionSettings(), 0.0)
        self.state.unread = unread
        self.left = Event()
        self.moved = False
        self.errand = Errand(self.state, self.left, lambda: self.moved)


def begin_with(session: Session) -> bytes:
    raw, session.state.unread = session.state.unread[:4], session.state.unread[4:]
    return session.errand.begin(raw)


def test_what_is_asked_is_put_back_while_it_waits() -> None:
    session = Session(b"one two")
    errand, state = session.errand, session.state
    assert begin_with(session) == b"one "
    assert errand.is_under_way
    seen: list[tuple[bytes, bool]] = []
    errand.travel(lambda: seen.append((state.unread, errand.is_under_way)))
    assert seen == [(b"one two", False)]
    assert state.unread == b"two"
    assert errand.is_under_way
    state.is_passed_on = True
    errand.end()
    assert (errand.is_under_way, state.is_passed_on) == (False, False)
    errand.travel(lambda: seen.append((state.unread, errand.is_under_way)))
    assert seen[1] == (b"two", False), "there is nothing to go along"


def test_what_has_moved_is_left_alone() -> None:
    session = Session(b"one two")
    begin_with(session)

    def freeze() -> None:
        session.moved = True

    with pytest.raises(Moved):
        session.errand.travel(freeze)
    assert session.state.unread == b"one two"


def test_what_ends_the_wait_passes() -> None:
    session = Session(b"one two")
    begin_with(session)
    with pytest.raises(PeerLost):
        session.errand.travel(lost)
    assert session.state.unread == b"two"


def lost() -> None:
    raise PeerLost("gone")


def test_why_it_is_over() -> None:
    session = Session()
    assert isinstance(session.errand.why_over(), PeerLost)
    session.errand.refuse("code", "no")
    assert session.left.is_set()
    assert isinstance(session.errand.why_over(), AccessDenied)


def test_it_is_passed_on_once() -> None:
    session = Session(b"one two")
    session.errand.begin(b"one ")
    passed: list[bool] = []
    for _ in range(2):
        session.errand.pass_on(lambda: passed.append(True))
    assert passed == [True]
    session.errand.end()
    session.errand.pass_on(lambda: passed.append(True))
    assert len(passed) == 2
