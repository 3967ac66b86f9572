"""What comes from a process before this one, step by step; the whole way is in test_successor.py."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import partial
from posix import close
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.access.gate import Grant
from rtmpsrv.server.host import Client
from rtmpsrv.server.http import state as http_state
from rtmpsrv.workers.before import Before
from rtmpsrv.workers.conversation import Conversation
from rtmpsrv.workers.wire import Wire, WireLost
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import House, for_viewers
from tests.unit.workers.test_successor import state


class Stand:
    def __init__(self) -> None:
        near, far = gsocket.socketpair(gsocket.AF_UNIX)
        self.house = House()
        self.far = Wire(far)
        talk = Conversation(Wire(near))
        self.before = Before(self.house.estate, talk, 4711, log.get("TEST"))
        talk.listen()
        self.following: gevent.Greenlet[[], None] | None = None

    def follow(self) -> None:
        self.following = gevent.spawn(self.before.follow)
        eventually(lambda: self.house.estate.elders)

    def say(self, kind: str, fds: tuple[int, ...] = (), **values: object) -> None:
        assert self.far.post({"kind": kind} | values, fds)

    def hear(self, kind: str) -> dict[str, Any]:
        message, _descriptors = self.far.receive(PATIENCE_S)
        assert message["kind"] == kind, message
        return dict(message)

    def ended(self) -> None:
        assert self.following is not None
        self.following.get(timeout=PATIENCE_S)

    def close(self) -> None:
        self.far.close()
        if self.following is not None:
            self.following.kill()
        self.before.talk.close()
        self.house.close()
        gevent.sleep(0)


@pytest.fixture
def stand() -> Iterator[Stand]:
    logging.getLogger("rtmpsrv").setLevel(logging.INFO)
    made = Stand()
    yield made
    made.close()


def snapshot(stand: Stand) -> dict[str, object]:
    """Return a channel that was published somewhere."""
    other = House()
    channel = other.estate.registry.open("app")
    channel.start("key")
    value = channel.snapshot([])
    channel.stop()
    other.estate.registry.release("app")
    other.close()
    return value


def test_what_was_not_committed_is_let_go_when_the_other_is_lost(stand: Stand) -> None:
    stand.follow()
    near, far = gsocket.socketpair()
    moved = state()
    moved.publication = Grant("app", "key", "10.0.0.1", "id", 5)
    notes = {5: {"killed": False, "notify": True, "lent": True}}
    channels = [("app", snapshot(stand), 0, None)]
    stand.say("slice", (near.fileno(),), number=1, sessions=[moved], channels=channels, notes=notes)
    near.close()
    stand.hear("prepared")
    assert len(list(stand.house.estate.registry)) == 1
    stand.far.close()
    stand.ended()
    assert len(list(stand.house.estate.registry)) == 0
    assert not stand.house.estate.gate.kill("app", None, "nobody is here")
    estate = stand.house.estate
    assert (estate.tied, estate.elders, estate.kills.before) == ([], [], [])
    far.settimeout(PATIENCE_S)
    assert far.recv(1) == b"", "somebody has a copy"
    far.close()


def test_a_channel_whose_owner_is_gone_is_over(stand: Stand) -> None:
    stand.follow()
    stand.say("slice", number=1, sessions=[], channels=[("app", snapshot(stand), 0, 999)], notes={})
    stand.hear("prepared")
    channel = stand.house.estate.registry.find("app")
    assert channel is not None
    assert channel.live
    stand.say("commit", number=1)
    eventually(lambda: not channel.live)
    assert stand.before.channels == 1


def test_a_channel_that_stays_there_is_mirrored_from_its_place(stand: Stand) -> None:
    stand.follow()
    stand.say("slice", number=1, sessions=[], channels=[("app", snapshot(stand), 0, 4711)], notes={})
    stand.hear("prepared")
    stand.say("commit", number=1)
    stand.hear("taken")
    assert stand.hear("mirror") == {"kind": "mirror", "channel": "app", "place": (1, 0)}
    assert "app" in stand.before.mirroring


def test_each_session_goes_on_at_the_port_of_its_kind(stand: Stand) -> None:
    stand.follow()
    plain, http = stand.house.listener, for_viewers(stand.house.estate)
    pairs = [gsocket.socketpair() for _ in range(2)]
    client = Client(6, "127.0.0.1", 8080, False)
    by_http = http_state.begin(client, stand.house.estate.parts.settings, monotonic())
    fds = tuple(near.fileno() for near, _far in pairs)
    stand.say("slice", fds, number=1, sessions=[by_http, state()], channels=[], notes={})
    stand.hear("prepared")
    stand.say("commit", number=1)
    eventually(lambda: plain.sessions and http.sessions)
    for listener, number in ((plain, 5), (http, 6)):
        (session,) = listener.sessions
        assert session.client.number == number
        assert session.log.extra == log.session_logger(listener.prefix, number).extra
        assert listener.describe()["sessions"] == 1
    for pair in pairs:
        for sock in pair:
            sock.close()
    eventually(lambda: not http.sessions)
    http.close()


def counts(stand: Stand, taken: int) -> bool:
    return stand.house.slots.describe()["open"] == taken


def test_connections_that_are_left_there_count_here(stand: Stand) -> None:
    stand.follow()
    for addresses, taken in (({"a": 0}, 0), ({"10.0.0.1": 2, "10.0.0.2": 1}, 3), ({"10.0.0.2": 2}, 2)):
        stand.say("slots", addresses=addresses)
        eventually(partial(counts, stand, taken))
    stand.say("leaving")
    stand.ended()
    assert stand.house.slots.describe()["open"] == 0


def test_kills_and_requests_to_end_go_there(stand: Stand) -> None:
    stand.follow()
    assert stand.house.estate.kills.kill("app", "id", "by redis")
    assert stand.hear("kill")["stream_id"] == "id"
    stand.before.ask_to_end()
    stand.hear("end")
    near, far = gsocket.socketpair()
    stand.before.meet_heir(near.fileno())
    stand.hear("next")
    near.close()
    far.close()
    stand.before.turn_to_heir({"kept"})
    assert stand.hear("heir")["kept"] == {"kept"}


@pytest.mark.parametrize("message", [{"kind": "commit", "number": 1}, {"kind": "what"}])
def test_what_is_no_message_is_refused(stand: Stand, message: dict[str, object]) -> None:
    read, write = os.pipe()
    with pytest.raises(WireLost, match="is no message"):
        stand.before.act(message, [write])
    assert os.read(read, 1) == b"", "the descriptor was forgotten"
    close(read)
    stand.before.commit()
    assert stand.before.sessions == 0
