"""One session between two workers, and all that may go wrong on its way. Real clients, one hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied
from rtmpsrv.server.host import Client
from rtmpsrv.server.http import state as http_state
from rtmpsrv.server.session import Session
from rtmpsrv.workers import moving
from rtmpsrv.workers.calls import CallLost, Calls
from tests.client import keyframe
from tests.unit.workers.crew import Crew, Hand, Watcher, crew
from tests.unit.workers.houses import for_viewers
from tests.unit.workers.lines import PATIENCE_S, eventually


def waiting(made: Crew) -> tuple[Watcher, Session]:
    """Let a player wait in the first worker; return it with its session."""
    one = made.hands[0]
    watcher = made.play(one)
    eventually(lambda: one.players == 1 and session_of(one).can_move(), "it waits")
    return watcher, session_of(one)


def session_of(hand: Hand) -> Session:
    (session,) = hand.listeners[0].sessions
    assert isinstance(session, Session)
    return session


def move(made: Crew, session: Session, worker: str = "w2") -> bool:
    return made.hands[0].membership.moving.move(session, worker)


def plays_on(made: Crew, watcher: Watcher, hand: Hand) -> None:
    """Let somebody publish where the player should be."""
    publisher = made.publish(hand)
    watcher.hear_video(publisher.some()[-1])


def counted(made: Crew) -> list[int]:
    return [len(hand.membership.slots.held()) for hand in made.hands]


def test_a_session_goes_on_in_the_other_worker_with_its_slot(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        watcher, session = waiting(made)
        assert move(made, session)
        eventually(lambda: made.hands[1].players == 1, "arrival")
        assert (made.hands[0].players, counted(made)) == (0, [0, 1])
        assert session_of(made.hands[1]).client.number == 1
        plays_on(made, watcher, made.hands[1])
        assert made.cluster.keeper.slots.of("w2") == list(made.hands[1].membership.slots.held())


def test_a_viewer_by_http_goes_on_at_the_port_for_those(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        http = for_viewers(other.estate)
        client = Client(9, "127.0.0.1", 8080, False)
        state = http_state.begin(client, other.parts.settings, monotonic())
        line = one.membership.neighbours.line("w2")
        near, far = gsocket.socketpair()
        with near, far:
            line.call("offer", 1, state, timeout_s=PATIENCE_S, fds=[near.fileno()])
            line.tell("go_on", 1)
            eventually(lambda: http.sessions or other.listeners[0].sessions, "arrival")
            assert (len(http.sessions), len(other.listeners[0].sessions)) == (1, 0)
            (session,) = http.sessions
            assert session.log.extra == log.session_logger("SERVER:HTTP", session.client.number).extra
        eventually(lambda: not http.sessions, "the end")
        http.close()


def test_no_descriptor_is_left_by_a_move(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        watcher, session = waiting(made)
        inode = os.fstat(session.fileno()).st_ino
        assert move(made, session)
        eventually(lambda: made.hands[1].players == 1 and inodes().count(inode) == 1, "arrival")
        assert made.hands[1].membership.moving.move(session_of(made.hands[1]), "w1")
        eventually(lambda: made.hands[0].players == 1 and inodes().count(inode) == 1, "return")
        plays_on(made, watcher, made.hands[0])


@pytest.mark.parametrize("what", ["refuses", "fails", "is silent", "hangs up"])
def test_a_session_goes_on_here_when_the_other_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(moving, "ANSWER_S", 0.05 if what == "is silent" else PATIENCE_S)
    with crew(tmp_path) as made:
        watcher, session = waiting(made)
        tells, calls, over = made.hands[1].membership.neighbours.on_calls()
        forgotten: list[int] = []

        def answer(number: int, state: object, fds: list[int]) -> None:
            if what == "refuses":
                raise AccessDenied("", "no")
            if what == "fails":
                calls["offer"](number, state, fds)
                raise CallLost("a third one")
            if what == "is silent":
                calls["offer"](number, state, fds)
                gevent.sleep(0.1)
            if what == "hangs up":
                calls["offer"](number, state, fds)
                made.hands[0].membership.neighbours._lines["w2"].close()

        def forget(number: int) -> None:
            forgotten.append(number)
            tells["forget"](number)

        made.hands[1].membership.neighbours.on_calls = lambda: (
            tells | {"forget": forget},
            calls | {"offer": answer},
            over,
        )
        assert not move(made, session)
        eventually(lambda: made.hands[0].players == 1, "return")
        assert counted(made) == [1, 0]
        if what != "hangs up":
            eventually(lambda: forgotten == [1], "the last word")
        assert made.hands[1].players == 0
        plays_on(made, watcher, made.hands[0])


def test_a_session_goes_on_here_when_the_last_word_was_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crew(tmp_path) as made:
        watcher, session = waiting(made)
        monkeypatch.setattr(Calls, "flush", lambda self, timeout_s: False)
        monkeypatch.setattr(
            Calls, "tell", told_nobody_else(Calls.tell, "go_on")
        )  # it is still in the queue when the line is closed
        assert not move(made, session)
        monkeypatch.undo()
        eventually(lambda: made.hands[0].players == 1, "return")
        assert made.hands[1].players == 0
        plays_on(made, watcher, made.hands[0])


def told_nobody_else(tell: Callable[..., bool], name: str) -> Callable[..., bool]:
    return lambda self, what, *arguments: True if what == name else tell(self, what, *arguments)


def test_who_is_stopped_in_the_middle_lets_the_session_go_on_here(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        watcher, session = waiting(made)
        tells, calls, over = made.hands[1].membership.neighbours.on_calls()
        asked: list[int] = []

        def answer(number: int, state: object, fds: list[int]) -> None:
            asked.append(number)
            gevent.sleep(PATIENCE_S)

        made.hands[1].membership.neighbours.on_calls = lambda: (tells, calls | {"offer": answer}, over)
        moves = gevent.spawn(move, made, session)
        eventually(lambda: asked, "asked")
        moves.kill()
        eventually(lambda: made.hands[0].players == 1, "return")
        assert counted(made) == [1, 0]
        made.hands[0].membership.neighbours._lines["w2"].kill_answers()
        plays_on(made, watcher, made.hands[0])


def test_a_worker_that_is_not_there_takes_nobody(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        watcher, session = waiting(made)
        assert not move(made, session, "w9")
        assert made.hands[0].membership.moving.room("w9", "news") == 0
        plays_on(made, watcher, made.hands[0])


def test_a_session_that_cannot_move_stays(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        watcher, session = waiting(made)
        session._requests.busy = True
        assert not move(made, session)
        session._requests.busy = False
        assert counted(made) == [1, 0]
        plays_on(made, watcher, made.hands[0])
        watcher.client.close()
        eventually(lambda: made.hands[0].players == 0, "the end")
        assert not move(made, session)


def test_offers_are_bounded_and_those_of_a_worker_that_is_gone_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MAX_OFFERED", 1)
    with crew(tmp_path) as made:
        _, session = waiting(made)
        line = made.hands[0].membership.neighbours.line("w2")
        state: Any = None
        line.call("offer", 1, state, timeout_s=PATIENCE_S, fds=[session.fileno()])
        with pytest.raises(AccessDenied, match="too many sessions are on the way"):
            line.call("offer", 2, state, timeout_s=PATIENCE_S, fds=[session.fileno()])
        line.tell("forget", 1)
        line.tell("forget", 1)
        line.call("offer", 3, state, timeout_s=PATIENCE_S, fds=[session.fileno()])
        inode = os.fstat(session.fileno()).st_ino
        eventually(lambda: inodes().count(inode) == 2, "one is kept")
        line.close()
        eventually(lambda: inodes().count(inode) == 1, "it is closed")


def inodes() -> list[int]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.fstat(int(fd)).st_ino)
        except OSError:
            continue
    return found


def test_room_is_what_is_left_of_the_limit(tmp_path: Path) -> None:
    with crew(tmp_path, spread=3) as made:
        waiting(made)
        assert made.hands[1].membership.moving.room("w1", "news") == 2
        assert made.hands[1].membership.moving.room("w1", "sport") == 3


def test_a_worker_that_leaves_takes_nobody_in(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        other.membership.moving.is_leaving = lambda: True
        made.publish(other)
        watcher = made.play(one)
        gevent.sleep(0.1)
        assert (one.players, other.players) == (1, 0)
        other.membership.moving.is_leaving = lambda: False
        watcher.hear_video(keyframe(b"first"))
        assert (one.players, other.players) == (0, 1)
