"""The new side, with an old side that is real, or played by hand."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from posix import close
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent import subprocess

from rtmpsrv import log
from rtmpsrv.access.gate import Grant
from rtmpsrv.errors import CannotMove
from rtmpsrv.server.host import Client
from rtmpsrv.server.session_state import SessionSettings, SessionState, begin
from rtmpsrv.workers import remainder, schema, successor
from rtmpsrv.workers.parcel import MOST_MADE_BYTES
from rtmpsrv.workers.successor import Abandoned, Successor
from rtmpsrv.workers.wire import Wire, WireLost
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import CHUNK_SIZE, Handover, House, Lines
from tests.unit.workers.test_predecessor import answers

QUICK_S = 0.1


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("rtmpsrv")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(successor, "DEATH_S", QUICK_S)
    monkeypatch.setattr(remainder, "LOOK_S", 0.001)


# --- with a real old side -----------------------------------------------------------------------------


@pytest.fixture
def handover() -> Iterator[Handover]:
    made = Handover()
    yield made
    made.close()


def test_everybody_goes_on_in_the_new_house(handover: Handover, lines: Lines) -> None:
    clients = [handover.client(), handover.publisher(), handover.player(), handover.player("other")]
    clients[0].shake_hands()
    clients[0].connect("app")
    ids = {session.client.id for session in handover.old.sessions}
    handover.old.estate.turned_away.add("192.0.2.1 app", 60.0, monotonic())
    running = handover.begin()
    following = handover.succeed()
    assert running.get(timeout=PATIENCE_S)
    following.get(timeout=PATIENCE_S)
    old, new = handover.old, handover.new
    assert new is not None
    assert handover.served == ["new"]
    assert not new.estate.parts.hold.closed
    for client in clients:
        answers(client)
    assert (len(old.sessions), len(new.sessions)) == (0, 4)
    assert {session.client.id for session in new.sessions} == ids
    assert 50 < new.estate.turned_away.left_s("192.0.2.1 app", monotonic()) <= 60
    assert new.slots.describe()["open"] == 4
    eventually(lambda: old.slots.describe()["open"] == 0)
    assert (len(list(old.estate.registry)), len(list(new.estate.registry))) == (0, 2)
    assert not old.estate.gate.kill("app", None, "nothing is here")
    assert (old.desk.ended_ids, new.desk.ended_ids) == ([], [])
    before = {session.client.number for session in new.sessions}
    handover.old.listener = new.listener
    late = handover.client()
    late.shake_hands()
    late.connect("app")
    assert max(session.client.number for session in new.sessions) > max(before)
    clients[1].close()
    eventually(lambda: new.desk.ended_ids)
    assert new.desk.ended_ids == ["id-1"]
    assert any("took over from process" in text for text in lines.lines)
    handover.old.listener = handover.predecessor._estate.listeners[0]


def test_a_kill_that_comes_meanwhile_is_done_in_the_end(handover: Handover) -> None:
    handover.publisher()
    running, following = handover.begin(), handover.succeed()
    new = handover.new
    assert new is not None
    eventually(lambda: new.estate.kills._held is not None)
    new.estate.kills.kill("app", None, "by redis")
    assert running.get(timeout=PATIENCE_S)
    following.get(timeout=PATIENCE_S)
    eventually(lambda: new.desk.ended_ids)
    assert new.desk.ended_ids == ["id-1"]


def test_what_a_link_granted_is_reported_by_its_old_holder_and_killed_through_it(handover: Handover) -> None:
    old = handover.old
    old.estate.tied.append(old.desk)
    publishers = [handover.publisher(name) for name in ("one", "two", "three")]
    running, following = handover.begin(), handover.succeed()
    new = handover.new
    assert new is not None
    eventually(lambda: handover.predecessor.serving)
    eventually(lambda: handover.served)
    assert len(new.estate.tied) == 1
    publishers[0].close()
    eventually(lambda: old.desk.ended_ids)
    assert old.estate.kills.kill("two", None, "by the control server")
    eventually(lambda: len(old.desk.ended_ids) == 2)
    assert not running.dead
    old.estate.link_lost(old.desk)
    eventually(lambda: len(list(new.estate.registry)) == 0)
    assert running.get(timeout=PATIENCE_S)
    following.get(timeout=PATIENCE_S)
    assert (len(old.desk.ended_ids), new.desk.ended_ids, new.estate.tied) == (2, [], [])


def test_the_end_of_a_link_s_holder_ends_what_it_granted(handover: Handover) -> None:
    handover.old.estate.tied.append(handover.old.desk)
    handover.publisher()
    handover.begin()
    following = handover.succeed()
    new = handover.new
    assert new is not None
    eventually(lambda: handover.served)
    eventually(lambda: handover.predecessor.serving)
    handover.predecessor._talk.close()
    following.get(timeout=PATIENCE_S)
    eventually(lambda: len(list(new.estate.registry)) == 0)
    assert new.desk.ended_ids == []


def test_a_form_that_is_not_known_moves_nobody(handover: Handover, monkeypatch: pytest.MonkeyPatch) -> None:
    client = handover.publisher()
    monkeypatch.setattr(schema, "SCHEMA", 99)
    running, following = handover.begin(), handover.succeed()
    eventually(lambda: handover.served)
    eventually(lambda: handover.predecessor.serving)
    answers(client)
    assert len(handover.old.sessions) == 1
    assert not handover.old.estate.parts.hold.closed
    client.close()
    assert running.get(timeout=PATIENCE_S)
    following.get(timeout=PATIENCE_S)


# --- with an old side that is played ------------------------------------------------------------------


class Played:
    """The old side says what a test says; its process is another one, which can be ended."""

    def __init__(self) -> None:
        near, far = gsocket.socketpair(gsocket.AF_UNIX)
        self.wire = Wire(near)
        self.process = subprocess.Popen(["sleep", "100"])
        self.house = House()
        self.successor = Successor(Wire(far), log.get("TEST"), patience_s=PATIENCE_S)
        self.served: list[bool] = []
        self.running: gevent.Greenlet[..., None] | None = None

    def hello(self, **changed: object) -> None:
        hello = {
            "kind": "hello", "schema": schema.SCHEMA, "clock": schema.clock_identity(),
            "agreed": {"RTMP_CHUNK_SIZE": CHUNK_SIZE}, "pid": self.process.pid, "listeners": [],
        }  # fmt: skip
        self.wire.post(hello | changed)

    def begin(self) -> dict[str, Any]:
        self.hello()
        self.successor.greet()
        self.running = gevent.spawn(self.successor.run, self.house.estate, lambda: self.served.append(True))
        return self.hear("ready")

    def say(self, kind: str, fds: tuple[int, ...] = (), **values: object) -> None:
        assert self.wire.post({"kind": kind} | values, fds)

    def hear(self, kind: str) -> dict[str, Any]:
        message, _descriptors = self.wire.receive(PATIENCE_S)
        assert message["kind"] == kind, message
        return dict(message)

    def end_process(self) -> None:
        self.process.kill()
        self.process.wait()

    def result(self) -> None:
        assert self.running is not None
        self.running.get(timeout=PATIENCE_S)

    def close(self) -> None:
        self.end_process()
        self.wire.close()
        if self.running is not None:
            self.running.kill()
        self.successor.close()
        self.house.close()
        gevent.sleep(0)


@pytest.fixture
def played() -> Iterator[Played]:
    made = Played()
    yield made
    made.close()


def test_it_tells_when_it_is_ready_and_what_is_in_the_way(played: Played) -> None:
    assert played.begin() == {
        "kind": "ready", "schema": schema.SCHEMA, "obstacle": "", "reports": False,
    }  # fmt: skip
    assert played.house.estate.parts.hold.closed
    played.say("serve", number=77, moves=True, blocks={"news": 30.0})
    played.hear("serving")
    eventually(lambda: played.served)
    assert next(played.house.estate.numbers) == 77
    assert 0 < played.house.estate.gate.blocks()["news"] <= 30.0
    played.say("leaving")
    played.result()


def test_the_predecessor_lets_go_and_lives(played: Played) -> None:
    played.begin()
    played.wire.close()
    with pytest.raises(Abandoned):
        played.result()
    assert not played.served


def test_a_message_that_is_none_is_the_end(played: Played) -> None:
    played.begin()
    played.say("what")
    with pytest.raises(Abandoned, match="'what' is no message"):
        played.result()


@pytest.mark.parametrize(
    "greeting", ["nothing", {"kind": "slice"}, {"kind": "hello", "listeners": [("a", 1)]}]
)
def test_a_greeting_that_is_none_is_refused(played: Played, greeting: object) -> None:
    played.wire.post(greeting)
    with pytest.raises(WireLost):
        played.successor.greet()


@pytest.mark.parametrize(
    ("told", "secret"), [({"login_secret": b"s"}, b"s"), ({"login_secret": 1}, b""), ({}, b"")]
)
def test_what_logins_are_signed_with_goes_along(
    played: Played, told: dict[str, object], secret: bytes
) -> None:
    played.hello(**told)
    played.successor.greet()
    assert played.successor.login_secret == secret


def test_sockets_that_nobody_takes_are_closed(played: Played) -> None:
    read, write = os.pipe()
    played.wire.post(
        {"kind": "hello", "listeners": [("::", 1935), ("::", 443)], "pid": played.process.pid}, [write, write]
    )
    played.successor.greet()
    assert played.successor.take_listening("::", 80) is None
    taken = played.successor.take_listening("[::]", 443)
    assert taken is not None
    os.fstat(taken)
    assert played.successor.take_listening("::", 443) is None
    played.successor.close()
    close(taken)
    close(write)
    gevent.sleep(0)
    os.set_blocking(read, False)
    assert os.read(read, 1) == b""
    close(read)


def test_it_serves_with_what_it_has_got_when_the_predecessor_has_died(played: Played, lines: Lines) -> None:
    played.begin()
    near, far = gsocket.socketpair()
    with near, far:
        moved = state()
        played.say("slice", (near.fileno(),), number=1, sessions=[moved], channels=[], notes={})
        played.hear("prepared")
        played.end_process()
        played.wire.close()
        eventually(lambda: played.served)
        eventually(lambda: played.house.sessions)
        far.sendall(b"\3" + bytes(1536))
        far.settimeout(PATIENCE_S)
        assert far.recv(1) == b"\3"
    played.result()
    assert any("has died on the way" in text for text in lines.lines)


def test_a_channel_that_cannot_be_taken_is_refused_and_nothing_is_left_of_the_slice(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = played.house.estate.registry
    adopted: list[str] = []
    abandoned: list[str] = []

    def adopt(name: str, value: object, descriptors: list[int]) -> Any:
        if name == "bad":
            raise CannotMove("somebody publishes bad here")
        adopted.append(name)
        return type("Channel", (), {"take_news": lambda self: []})()

    monkeypatch.setattr(registry, "adopt", adopt)
    monkeypatch.setattr(registry, "abandon", abandoned.append)
    played.begin()
    read, write = os.pipe()
    channels = [
        (name, dict[str, object](), count, None) for name, count in (("good", 0), ("bad", 1), ("never", 1))
    ]
    played.say("slice", (write, write, write), number=1, sessions=[state()], channels=channels, notes={})
    close(write)
    refused = played.hear("refused")
    assert (refused["number"], refused["reason"]) == (1, "somebody publishes bad here")
    assert adopted == abandoned == ["good"]
    gevent.sleep(0)
    os.set_blocking(read, False)
    assert os.read(read, 1) == b"", "a descriptor was forgotten"
    close(read)
    played.say("commit", number=1)
    with pytest.raises(Abandoned):
        played.result()


def test_unsent_reports_are_taken_over(played: Played) -> None:
    estate = played.house.estate
    grant = Grant("app", "key", "10.0.0.1", "id")
    played.begin()
    played.say("stops", grants=[grant])
    estate.reports = played.house.desk  # type: ignore[assignment]
    played.say("stops", grants=[grant])
    played.say("serve", number=1, moves=True, blocks={})
    played.hear("serving")
    assert played.house.desk.ended_ids.count("id") >= 1
    played.say("kill", channel="app", stream_id=None, reason="enough")
    assert not estate.kills.kill("app", None, "x") or played.hear("kill")
    played.say("leaving")
    played.result()


def state() -> SessionState:
    return begin(Client(5, "127.0.0.1", 1935, False), SessionSettings(chunk_size=CHUNK_SIZE), monotonic())


class Workshop:
    """Something that is made of channels."""

    def __init__(self, made: dict[str, object] | None = None) -> None:
        self.made = made or {}
        self.gone: list[str] = []
        self.rooms: list[int] = []
        self.inherited: list[dict[str, object]] = []

    def state_of(self, channel: str, most: int) -> tuple[object, int]:
        self.rooms.append(most)
        return self.made.get(channel), 1000

    def let_go(self, channel: str) -> None:
        self.gone.append(channel)

    def adopt(self, channel: str, value: object) -> None:
        assert channel not in self.made
        self.made[channel] = value

    def numbers(self) -> dict[str, object]:
        return {"numbers of": sorted(self.made)}

    def inherit(self, value: dict[str, object]) -> None:
        self.inherited.append(value)


@pytest.mark.parametrize("makes", [True, False])
def test_what_is_made_of_channels_goes_on_in_the_new_process(handover: Handover, makes: bool) -> None:
    handover.publisher()
    handover.publisher("plain")
    old = handover.old.estate.made = Workshop({"app": [b"segment"], "gone": 1})
    running, following = handover.begin(), handover.succeed()
    new = handover.new
    assert new is not None
    workshop = Workshop()
    new.estate.made = workshop if makes else None
    assert running.get(timeout=PATIENCE_S)
    following.join(PATIENCE_S)
    assert workshop.made == ({"app": [b"segment"]} if makes else {})
    assert [MOST_MADE_BYTES - room for room in old.rooms] == [0, 1000], "they share what there may be"
    assert sorted(old.gone) == ["app", "plain"]
    assert workshop.inherited == ([{"numbers of": ["app", "gone"]}] if makes else [])
