"""What is left in a process whose successor is succeeded itself; the rest is in test_predecessor.py."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.client import Client
from rtmpsrv.workers import remainder
from rtmpsrv.workers.wire import Wire
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.test_predecessor import Scripted


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remainder, "LOOK_S", 0.001)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


def fixed_player(scripted: Scripted, app: str) -> Client:
    """Connect a player that cannot move, as on TLS."""
    before = set(scripted.old.sessions)
    client = scripted.player(app)
    eventually(lambda: any(session.role for session in scripted.old.sessions - before))
    (session,) = scripted.old.sessions - before
    session._transport.can_move = False
    return client


def serving(scripted: Scripted) -> gevent.Greenlet[[], bool]:
    running = scripted.begin()
    scripted.ready()
    scripted.hear("serve")
    scripted.say("serving")
    return running


def test_players_that_stay_follow_their_channel_to_the_successor_s_successor(scripted: Scripted) -> None:
    clients = [fixed_player(scripted, "one"), fixed_player(scripted, "two")]
    running = serving(scripted)
    assert {scripted.hear("mirror")["channel"] for _ in range(2)} == {"one", "two"}
    near, far = gsocket.socketpair(gsocket.AF_UNIX)
    assert scripted.wire.post({"kind": "heir", "kept": {"two"}}, [near.fileno()])
    near.close()
    heir = Wire(far)
    assert heir.receive(PATIENCE_S)[0] == {"kind": "mirror", "channel": "one", "place": (0, 0)}
    assert scripted.hear("unmirror")["channel"] == "one"
    assert heir.receive(PATIENCE_S)[0] == {"kind": "slots", "addresses": {"127.0.0.1": 2}}
    clients[1].close()
    assert scripted.hear("unmirror")["channel"] == "two"
    clients[0].close()
    kinds: list[str] = []
    while not kinds or kinds[-1] != "leaving":
        kinds.append(heir.receive(PATIENCE_S)[0]["kind"])
    assert running.get(timeout=PATIENCE_S)
    scripted.hear("leaving")
    heir.close()


def test_it_ends_when_the_server_is_told_to_stop(scripted: Scripted) -> None:
    fixed_player(scripted, "one")
    running = serving(scripted)
    scripted.hear("mirror")
    scripted.say("end")
    scripted.hear("leaving")
    assert running.get(timeout=PATIENCE_S)
    assert len(scripted.old.sessions) == 1


def test_who_asks_to_play_but_cannot_move_is_served_by_a_mirror(scripted: Scripted) -> None:
    client = scripted.client()
    client.shake_hands()
    client.connect("app")
    (session,) = scripted.old.sessions
    session._transport.can_move = False
    running = serving(scripted)
    client.ask_play("key", 1)
    client.flush()
    assert scripted.hear("mirror")["channel"] == "app"
    assert session.role == "player"
    client.close()
    assert running.get(timeout=PATIENCE_S)


def test_who_asks_to_publish_but_cannot_move_is_let_go(scripted: Scripted) -> None:
    client = scripted.client()
    client.shake_hands()
    client.connect("app")
    (session,) = scripted.old.sessions
    session._transport.can_move = False
    running = serving(scripted)
    client.ask_publish("key", "live", 1)
    client.flush()
    assert running.get(timeout=PATIENCE_S)
    eventually(lambda: not scripted.old.sessions)
