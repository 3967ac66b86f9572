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


def meet(scripted: Scripted) -> Wire:
    """Let it meet the successor of its successor, whose end this returns."""
    near, far = gsocket.socketpair(gsocket.AF_UNIX)
    assert scripted.wire.post({"kind": "next"}, [near.fileno()])
    near.close()
    return Wire(far)


def serving(scripted: Scripted, slices: int = 0) -> gevent.Greenlet[[], bool]:
    running = scripted.begin()
    scripted.ready()
    for _ in range(slices):
        scripted.commit()
    scripted.hear("serve")
    scripted.say("serving")
    return running


def test_players_that_stay_follow_their_channel_to_the_successor_s_successor(scripted: Scripted) -> None:
    clients = [fixed_player(scripted, "one"), fixed_player(scripted, "two")]
    running = serving(scripted)
    assert {scripted.hear("mirror")["channel"] for _ in range(2)} == {"one", "two"}
    heir = meet(scripted)
    scripted.say("heir", kept={"two"})
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


def moved(scripted: Scripted, name: str) -> None:
    scripted.say("tapped", channel=name, message={"kind": "moved"})


def test_what_moves_to_the_successor_s_successor_is_followed_before_that_serves(scripted: Scripted) -> None:
    for app in ("one", "two", "three"):
        fixed_player(scripted, app)
    running = serving(scripted)
    assert {scripted.hear("mirror")["channel"] for _ in range(3)} == {"one", "two", "three"}
    moved(scripted, "three")  # nobody knows yet where to
    heir = meet(scripted)
    moved(scripted, "one")
    assert heir.receive(PATIENCE_S)[0] == {"kind": "mirror", "channel": "one", "place": (0, 0)}
    assert scripted.hear("unmirror")["channel"] == "one"
    scripted.say("heir", kept={"two"})
    assert heir.receive(PATIENCE_S)[0]["channel"] == "three"
    assert scripted.hear("unmirror")["channel"] == "three"
    assert heir.receive(PATIENCE_S)[0]["kind"] == "slots"
    moved(scripted, "two")  # later than the others: its publisher was busy
    assert heir.receive(PATIENCE_S)[0]["channel"] == "two"
    assert scripted.hear("unmirror")["channel"] == "two"
    scripted.say("end")
    assert running.get(timeout=PATIENCE_S)
    heir.close()


def test_when_the_successor_is_gone_without_a_word_its_own_successor_is_followed(scripted: Scripted) -> None:
    for app in ("one", "two"):
        fixed_player(scripted, app)
    running = serving(scripted)
    assert {scripted.hear("mirror")["channel"] for _ in range(2)} == {"one", "two"}
    heir = meet(scripted)
    moved(scripted, "one")
    assert heir.receive(PATIENCE_S)[0] == {"kind": "mirror", "channel": "one", "place": (0, 0)}
    scripted.wire.close()
    assert heir.receive(PATIENCE_S)[0] == {"kind": "mirror", "channel": "two", "place": (0, 0)}
    assert heir.receive(PATIENCE_S)[0] == {"kind": "slots", "addresses": {"127.0.0.1": 2}}
    assert scripted.old.estate.parts.hold.closed, "there is somebody who takes what can go"
    assert heir.post({"kind": "end"})
    assert running.get(timeout=PATIENCE_S)
    heir.close()


def test_what_mirrors_have_not_seen_is_kept_while_they_move(scripted: Scripted) -> None:
    client = scripted.publisher()
    (session,) = scripted.old.sessions
    session._transport.can_move = False
    channel = scripted.old.estate.registry.find("app")
    assert channel is not None
    assert channel.output is not None
    running = serving(scripted, slices=1)
    scripted.say("mirror", channel="app", place=(0, 0))
    assert scripted.hear("tapped")["message"]["kind"] == "start"
    channel.output.let_go()  # of what was handed over
    assert not channel.output.is_needed
    heir = meet(scripted)
    eventually(lambda: channel.output is not None and channel.output.is_needed)
    assert heir.post({"kind": "mirror", "channel": "app", "place": (1, 0)})
    assert heir.receive(PATIENCE_S)[0]["message"]["kind"] == "flush"
    assert not channel.output.is_needed
    client.close()
    scripted.say("end")
    assert running.get(timeout=PATIENCE_S)
    heir.close()


def test_when_the_successor_s_successor_fails_what_it_had_is_over_and_the_rest_goes_on(
    scripted: Scripted,
) -> None:
    for app in ("one", "two"):
        fixed_player(scripted, app)
    running = serving(scripted)
    assert {scripted.hear("mirror")["channel"] for _ in range(2)} == {"one", "two"}
    heir = meet(scripted)
    moved(scripted, "one")
    assert heir.receive(PATIENCE_S)[0]["channel"] == "one"
    assert scripted.hear("unmirror")["channel"] == "one"
    heir.close()
    assert scripted.hear("mirror") == {"kind": "mirror", "channel": "one", "place": (0, 0)}
    scripted.say("heir", kept=set())
    scripted.say("end")
    scripted.hear("leaving")
    assert running.get(timeout=PATIENCE_S)


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
