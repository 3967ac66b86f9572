"""What is told to whoever counts, by sessions and listeners."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from rtmpsrv.errors import AccessDenied, LoginAsked
from rtmpsrv.server.host import Client, Playback, Publication
from rtmpsrv.server.session_state import SessionState
from rtmpsrv.server.tally import Asking, Doing, Tally, Watched
from tests.unit.server.stage import FakeHost, Stage, eventually, make_parts


class Notes(Tally):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.bytes: list[tuple[int, int]] = []

    def handshake_failed(self, reason: str) -> None:
        self.told.append(("handshake", reason))

    def refused(self, what: Asking, client: Client, denial: AccessDenied) -> None:
        self.told.append(("refused", what, client.ip, denial.description))

    def failed(self, what: Doing) -> None:
        self.told.append(("failed", what))

    def began(self, what: Doing, client: Client, granted: Publication | Playback | Watched) -> None:
        self.told.append(("began", what))

    def ended(
        self,
        what: Doing,
        client: Client,
        granted: Publication | Playback | Watched,
        reason: str,
        received_bytes: int,
        sent_bytes: int,
    ) -> None:
        self.told.append(("ended", what, reason))
        self.bytes.append((received_bytes, sent_bytes))

    def left(self, received_bytes: int, sent_bytes: int, *, stalled: bool, form: str = "") -> None:
        self.told.append(("left", stalled))
        self.bytes.append((received_bytes, sent_bytes))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def stage(notes: Notes) -> Iterator[Stage]:
    made = Stage(parts=replace(make_parts(handshake_s=0.2), tally=notes))
    yield made
    made.close()


def test_a_tally_that_counts_nothing_can_be_told_everything() -> None:
    client, tally = Client(1, "192.0.2.1", 1935, False), Tally()
    publication: Publication = FakeHost().resume_publication(None, ("publication", []))  # type: ignore[arg-type]
    tally.accepted()
    tally.rejected("192.0.2.1", False, "why")
    tally.handshake_failed("tls")
    tally.refused("connect", client, AccessDenied("code", "no"))
    tally.failed("play")
    tally.began("publish", client, publication)
    tally.ended("publish", client, publication, "over", 1, 2)
    tally.left(1, 2, stalled=False)


@pytest.mark.parametrize("what", ["publish", "play"])
def test_what_is_granted_is_told_of_from_the_beginning_to_the_end(
    stage: Stage, notes: Notes, what: str
) -> None:
    stage.publish() if what == "publish" else stage.play()
    stage.peer.close()
    stage.greenlet.join()
    reason = "closed by the peer"
    assert notes.told == [("began", what), ("ended", what, reason), ("left", False)]
    (received, sent), last = notes.bytes
    assert min(received, sent) > 3073
    assert last == (received, sent)


def test_a_refusal_is_told_and_a_step_of_a_login_is_none(stage: Stage, notes: Notes) -> None:
    stage.host.denial = AccessDenied("NetStream.Publish.BadName", "no")
    stage.connect()
    stage.command("publish", None, "key", "live", msid=1)
    stage.read_to_end()
    assert notes.told[0] == ("refused", "publish", "192.0.2.1", "no")
    notes.told.clear()
    other = Stage(parts=stage.parts)
    other.host.denial = LoginAsked("NetStream.Play.BadName", "log in")
    other.connect()
    other.command("play", None, "key", msid=1)
    other.read_to_end()
    other.close()
    assert notes.told == [("left", False)]


@pytest.mark.parametrize("what", ["publish", "play"])
def test_a_request_that_comes_to_nothing_has_failed(
    stage: Stage, notes: Notes, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a bug")

    stage.connect()
    setattr(stage.host, what, fail)
    stage.command(what, None, "key", msid=1)
    stage.read_to_end()
    assert notes.told[0] == ("failed", what)


def say_nothing(stage: Stage) -> None:
    """Wait for the deadline."""


def speak_http(stage: Stage) -> None:
    stage.send(b"GET / HTTP/1.1\r\n" + bytes(3000))


def leave_early(stage: Stage) -> None:
    stage.send(b"\x03" + os.urandom(100))
    eventually(lambda: stage.state.bytes_in)
    stage.peer.close()


@pytest.mark.parametrize(
    ("peer", "reason"), [(say_nothing, "timeout"), (speak_http, "version"), (leave_early, "closed")]
)
def test_how_a_handshake_fails(
    stage: Stage, notes: Notes, peer: Callable[[Stage], None], reason: str
) -> None:
    peer(stage)
    stage.greenlet.join()
    assert notes.told == [("handshake", reason), ("left", False)]


def test_a_probe_and_who_is_dropped_fail_at_no_handshake(stage: Stage, notes: Notes) -> None:
    stage.peer.close()
    stage.greenlet.join()
    other = Stage(parts=stage.parts)
    eventually(lambda: other.session._greenlet)
    other.session.drop("not wanted")
    other.close()
    assert notes.told == [("left", False)] * 2


def test_bytes_count_where_the_connection_was(stage: Stage, notes: Notes) -> None:
    stage.publish()
    before = stage.session.traffic()
    assert stage.session.traffic_here() == before
    state = stage.session.freeze()
    stage.greenlet.join()
    assert notes.bytes == [before]
    stage.run(pickle.loads(pickle.dumps(state)))
    stage.ping(1)
    eventually(lambda: stage.session.traffic_here()[0] > 0)
    received, sent = stage.session.traffic_here()
    assert stage.session.traffic() == (before[0] + received, before[1] + sent)
    stage.peer.close()
    stage.greenlet.join()
    assert notes.bytes[-1] == (received, sent)


def test_a_player_that_takes_nothing_is_told_of(notes: Notes) -> None:
    stage = Stage(parts=replace(make_parts(stall_s=0.1), tally=notes))
    stage.play()
    stage.session.outlet.offer(bytes(8 << 20))
    stage.session.outlet.kick()
    stage.greenlet.join()
    stage.close()
    assert notes.told[-1] == ("left", True)


def test_a_connection_keeps_its_id_and_an_older_state_gets_one() -> None:
    client = Client(1, "192.0.2.1", 1935, False, user="alice", channel="news")
    moved = pickle.loads(pickle.dumps(client))
    assert moved == client
    assert Client(1, "192.0.2.1", 1935, False).id != client.id
    fields = {name: getattr(client, name) for name in Client.__slots__}
    older = Client.__new__(Client)
    older.__setstate__((None, {"number": 1} | {"of_later": 2}))
    assert (older.number, len(older.id), older.user, older.channel) == (1, 36, "", "")
    older.__setstate__((None, fields))
    assert older == client


def test_a_state_that_moves_has_the_client_with_its_id(stage: Stage) -> None:
    stage.publish()
    state: SessionState = stage.session.freeze()
    assert pickle.loads(pickle.dumps(state)).client.id == state.client.id
