"""The old side, with a new side that a test plays by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from posix import close
from typing import Any

import gevent
import pytest

from rtmpsrv.client import Client
from rtmpsrv.protocol import messages
from rtmpsrv.workers import handing, remainder, schema
from rtmpsrv.workers import predecessor as module
from rtmpsrv.workers.wire import Wire
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import Handover

QUICK_S = 0.1


class Scripted(Handover):
    """The new side says what a test says."""

    def __init__(self, **times: float) -> None:
        super().__init__(**times)
        self.wire = Wire(self.far)
        self.counted: list[dict[str, int]] = []  # connections that are left, by address
        self.heir.on_kill = self.wire.close

    def hear(self, kind: str) -> dict[str, Any]:
        message, descriptors = self.wire.receive(PATIENCE_S)
        for descriptor in descriptors:
            close(descriptor)
        if message["kind"] == "slots" != kind:
            self.counted.append(message["addresses"])
            return self.hear(kind)
        assert message["kind"] == kind, message
        return dict(message)

    def say(self, kind: str, **values: object) -> None:
        assert self.wire.post({"kind": kind} | values)

    def ready(self, obstacle: str = "") -> dict[str, Any]:
        hello = self.hear("hello")
        self.say("ready", schema=schema.SCHEMA, obstacle=obstacle, reports=False)
        return hello

    def commit(self) -> None:
        """Take one slice."""
        self.say("prepared", number=self.hear("slice")["number"])
        self.say("taken", number=self.hear("commit")["number"])

    def goes_on(self) -> None:
        """See to it that the old side serves as before, old clients and new ones."""
        old = self.old
        assert not old.estate.parts.hold.closed
        for client in self.clients:
            answers(client)
        self.player("another").close()

    def close(self) -> None:
        self.wire.close()
        super().close()


def answers(client: Client) -> None:
    """Return when the server has answered a ping."""
    client.ping(7)
    pong = messages.PING_RESPONSE.to_bytes(2, "big")
    while (message := client.read()).type_id != messages.USER_CONTROL or not message.payload.startswith(pong):
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "SETTLE_S", QUICK_S)
    monkeypatch.setattr(remainder, "LOOK_S", 0.001)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


def test_it_says_what_it_is_and_where_it_listens(scripted: Scripted) -> None:
    scripted.old.estate.gate.block("news", 30.0)
    scripted.old.estate.login_secret = b"of this server"
    running = scripted.begin()
    hello = scripted.ready()
    assert hello["schema"] == schema.SCHEMA
    assert hello["clock"] == schema.clock_identity()
    assert hello["agreed"] == {"RTMP_CHUNK_SIZE": 4096}
    assert hello["login_secret"] == b"of this server"
    assert hello["listeners"] == [("127.0.0.1", scripted.old.listener.port)]
    assert list(scripted.hear("serve")["blocks"]) == ["news"]
    assert scripted.old.estate.parts.hold.closed
    scripted.say("serving")
    scripted.hear("leaving")
    assert running.get(timeout=PATIENCE_S)
    assert scripted.old.listener.closed
    assert scripted.heir.kills == 0


@pytest.mark.parametrize("step", ["hello", "slice", "commit", "second slice", "serve"])
@pytest.mark.parametrize("how", ["dies", "hangs", "babbles", "is no part of it"])
def test_whatever_goes_wrong_everybody_that_was_not_committed_goes_on(
    how: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP_S", QUICK_S)
    monkeypatch.setattr(handing, "STEP_S", QUICK_S)
    scripted = Scripted(start_s=QUICK_S if (how, step) == ("hangs", "hello") else 2 * QUICK_S)
    idle = scripted.client()
    idle.shake_hands()
    idle.connect("app")
    scripted.publisher()
    scripted.player()
    everybody = list(scripted.clients)
    running = scripted.begin()
    if step == "hello":
        scripted.hear("hello")
    else:
        scripted.ready()
    if step in ("second slice", "serve"):
        scripted.commit()
        scripted.clients[:] = [idle]
    if step == "serve":
        scripted.commit()
        scripted.clients.clear()
    if "slice" in step:
        scripted.hear("slice")
    if step == "commit":
        scripted.say("prepared", number=scripted.hear("slice")["number"])
        scripted.hear("commit")
    if step == "serve":
        scripted.hear("serve")
    if how == "dies":
        scripted.wire.close()
    elif how == "babbles":
        scripted.say("what")
    elif how == "is no part of it":
        scripted.wire.post("what")
    assert not running.get(timeout=PATIENCE_S)
    assert scripted.heir.kills == 1
    scripted.goes_on()
    scripted.clients += everybody
    scripted.close()


def test_a_refused_first_slice_is_the_end_of_it(scripted: Scripted) -> None:
    scripted.publisher()
    running = scripted.begin()
    scripted.ready()
    scripted.say("refused", number=scripted.hear("slice")["number"], reason="not this one")
    assert not running.get(timeout=PATIENCE_S)
    scripted.goes_on()


def test_a_refused_later_slice_stays(scripted: Scripted) -> None:
    scripted.client()
    scripted.publisher()
    running = scripted.begin()
    scripted.ready()
    scripted.commit()
    scripted.say("refused", number=scripted.hear("slice")["number"], reason="not this one")
    scripted.hear("serve")
    scripted.say("serving")
    scripted.commit()  # tried again
    scripted.hear("leaving")
    assert running.get(timeout=PATIENCE_S)
    assert not scripted.old.sessions
    assert len(list(scripted.old.estate.registry)) == 0


def test_a_session_in_the_middle_of_a_request_goes_when_that_is_answered(scripted: Scripted) -> None:
    asked, answer = gevent.event.Event(), gevent.event.Event()

    def authorise(request: object) -> str:
        asked.set()
        answer.wait()
        return "id"

    scripted.old.desk.authorise = authorise  # type: ignore[method-assign]
    client = scripted.client()
    client.shake_hands()
    client.connect("app")
    publishing = gevent.spawn(client.publish, "key")
    assert asked.wait(PATIENCE_S)
    running = scripted.begin()
    scripted.ready()
    scripted.hear("serve")
    scripted.say("serving")
    assert scripted.old.sessions
    answer.set()
    publishing.get(timeout=PATIENCE_S)
    late = scripted.hear("slice")
    assert [name for name, _value, _count, _owner in late["channels"]] == ["app"]
    assert [note["lent"] for note in late["notes"].values()] == [False]
    scripted.say("refused", number=late["number"], reason="somebody publishes app there")
    eventually(lambda: not scripted.old.sessions)
    assert running.get(timeout=PATIENCE_S)
    assert scripted.old.desk.ended_ids == ["id"]


def test_what_does_not_end_is_given_up_after_its_time() -> None:
    scripted = Scripted(linger_s=QUICK_S)
    scripted.publisher()
    running = scripted.begin()
    scripted.ready("its form is another")
    message = scripted.hear("serve")
    assert message["moves"] is False
    scripted.say("serving")
    scripted.hear("leaving")
    assert running.get(timeout=PATIENCE_S)
    assert len(scripted.old.sessions) == 1
    assert scripted.counted == [{"127.0.0.1": 1}]
    assert not scripted.old.estate.parts.hold.closed
    scripted.close()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="rtmpsrv")
    return caplog


@pytest.mark.parametrize(
    ("code", "says"),
    [(1, "ended with exit code 1"), (-9, "was ended by signal 9"), (None, "closed by the other")],
)
def test_it_says_how_the_successor_ended(
    scripted: Scripted, told: pytest.LogCaptureFixture, code: int | None, says: str
) -> None:
    running = scripted.begin()
    scripted.hear("hello")
    scripted.heir.code = code
    scripted.wire.close()
    assert not running.get(timeout=PATIENCE_S)
    (failed,) = [line for line in told.messages if line.startswith("succession failed: ")]
    assert says in failed


def test_a_successor_that_hangs_is_named_as_one(told: pytest.LogCaptureFixture) -> None:
    scripted = Scripted(start_s=QUICK_S)
    scripted.heir.code = -9  # ours, not its own
    assert not scripted.begin().get(timeout=PATIENCE_S)
    (failed,) = [line for line in told.messages if line.startswith("succession failed: ")]
    assert failed.startswith(
        "succession failed: no answer within 0.1 s. This process goes on with 0 sessions"
    )
    scripted.close()


def test_it_can_be_cancelled_which_is_no_failure(scripted: Scripted, told: pytest.LogCaptureFixture) -> None:
    scripted.publisher()
    running = scripted.begin()
    scripted.hear("hello")
    scripted.predecessor.cancel("this process is to end")
    assert not running.get(timeout=PATIENCE_S)
    assert not [record for record in told.records if record.levelname == "ERROR"]
    assert scripted.heir.kills == 1
    scripted.goes_on()


def test_when_the_successor_is_lost_later_what_is_here_is_served_here() -> None:
    scripted = Scripted(linger_s=PATIENCE_S)
    scripted.publisher()
    (session,) = scripted.old.sessions
    session._requests.busy = True
    running = scripted.begin()
    scripted.ready()
    scripted.hear("serve")
    scripted.say("serving")
    eventually(lambda: scripted.predecessor.serving)
    scripted.wire.close()
    eventually(lambda: not scripted.old.estate.parts.hold.closed)
    session._requests.busy = False
    assert len(scripted.old.sessions) == 1
    scripted.clients[0].close()
    assert running.get(timeout=PATIENCE_S)
    scripted.close()


def test_a_successor_that_is_lost_with_a_late_slice_gives_it_back() -> None:
    scripted = Scripted(linger_s=PATIENCE_S)
    scripted.publisher()
    (session,) = scripted.old.sessions
    session._requests.busy = True
    running = scripted.begin()
    scripted.ready()
    scripted.hear("serve")
    scripted.say("serving")
    eventually(lambda: scripted.predecessor.serving)
    session._requests.busy = False
    scripted.hear("slice")
    scripted.wire.close()
    eventually(lambda: scripted.old.sessions)
    client = scripted.clients[0]
    answers(client)
    assert scripted.heir.kills == 0, "it serves others"
    client.close()
    assert running.get(timeout=PATIENCE_S)
    scripted.close()


def test_ends_and_kills_go_both_ways_while_publications_are_lent(scripted: Scripted) -> None:
    old = scripted.old
    old.estate.tied.append(old.desk)
    scripted.publisher("one")
    scripted.publisher("two")
    scripted.publisher("three")
    eventually(lambda: len(list(old.estate.registry)) == 3)
    running = scripted.begin()
    scripted.ready()
    slice_ = scripted.hear("slice")
    serials = sorted(slice_["notes"])
    assert [slice_["notes"][serial]["lent"] for serial in serials] == [True] * 3
    scripted.say("prepared", number=slice_["number"])
    scripted.say("taken", number=scripted.hear("commit")["number"])
    scripted.hear("serve")
    scripted.say("serving")
    eventually(lambda: scripted.predecessor.serving)
    assert old.estate.kills.kill("one", "id-1", "killed")
    kill = scripted.hear("kill")
    assert (kill["channel"], kill["stream_id"], kill["reason"]) == ("one", "id-1", "killed")
    for _ in range(2):
        scripted.say("ended", serial=serials[0])
    eventually(lambda: old.desk.ended_ids)
    assert old.desk.ended_ids == ["id-1"]
    asked: list[str] = []

    def before(channel: str, stream_id: str | None, reason: str) -> bool:
        asked.append(channel)
        return True

    old.estate.kills.before = [before]
    scripted.say("kill", channel="four", stream_id=None, reason="by redis")
    eventually(lambda: asked)
    other = type(old.desk)()
    old.estate.link_lost(other)
    assert not running.dead
    old.estate.link_lost(old.desk)
    assert sorted(scripted.hear("link lost")["serials"]) == serials[1:]
    scripted.hear("leaving")
    assert running.get(timeout=PATIENCE_S)
    assert old.desk.ended_ids == ["id-1"]


class Door:
    """A port for something else than streams."""

    bound_to = ("127.0.0.1", 9997)

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor
        self.done: list[str] = []

    def pause(self) -> None:
        self.done.append("pause")

    def resume(self) -> None:
        self.done.append("resume")

    def retire(self) -> None:
        self.done.append("retire")


@pytest.mark.parametrize("succeeds", [True, False])
def test_other_ports_go_along_and_clients_there_wait_meanwhile(succeeds: bool, scripted: Scripted) -> None:
    with socket.socket() as sock:
        door, closed = Door(sock.fileno()), Door(None)
        scripted.old.estate.doors += [door, closed]
        running = scripted.begin()
        assert scripted.ready()["listeners"][1:] == [("127.0.0.1", 9997)]
        scripted.hear("serve")
        assert door.done == ["pause"]
        if succeeds:
            scripted.say("serving")
            scripted.hear("leaving")
        else:
            scripted.say("nonsense")
        assert running.get(timeout=PATIENCE_S) is succeeds
    assert door.done == ["pause", "retire" if succeeds else "resume"]
