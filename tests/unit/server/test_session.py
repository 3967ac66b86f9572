from __future__ import annotations

import logging
import pickle
import random
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.errors import AccessDenied, CannotMove
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import ChunkReader, pack
from rtmpsrv.server.ending import Ended
from tests.unit.server.stage import (
    HANDSHAKE_SIZE,
    PATIENCE_S,
    FakePublication,
    Stage,
    audio,
    command,
    eventually,
)

BIG = bytes(range(256)) * 8192  # more than a socket takes


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    return lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def move(stage: Stage) -> None:
    """Freeze the session; go on with a copy of its state in another one, on the same socket."""
    old, greenlet = stage.session, stage.greenlet
    data = pickle.dumps(old.freeze())
    stage.run(pickle.loads(data))
    greenlet.join(PATIENCE_S)
    assert greenlet.dead
    assert stage.mine.fileno() >= 0, "the old one leaves the socket alone"


# --- ends ---------------------------------------------------------------------------------------------


def test_the_last_line_says_why_and_how_much(stage: Stage, lines: Callable[[], list[str]]) -> None:
    stage.shake_hands()
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert lines() == [
        "INFO Connection accepted from 192.0.2.1",
        f"INFO closed: closed by the peer, in={1 + 2 * HANDSHAKE_SIZE} out={1 + 2 * HANDSHAKE_SIZE} bytes",
    ]
    assert stage.mine.fileno() == -1


def test_a_probe_that_says_nothing_is_two_lines_of_debug(
    stage: Stage, lines: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "rtmpsrv")
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert lines() == [
        "DEBUG Connection accepted from 192.0.2.1",
        "DEBUG closed: closed by the peer, in=0 out=0 bytes",
    ]


def test_who_says_nothing_and_stays_is_told_of_at_the_end(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    stage.session.drop("enough")
    stage.greenlet.join(PATIENCE_S)
    assert lines() == [
        "INFO Connection accepted from 192.0.2.1",
        "INFO closed: enough, in=0 out=0 bytes",
    ]


def test_a_drop_ends_the_session_from_anywhere(stage: Stage, lines: Callable[[], list[str]]) -> None:
    publication = stage.publish()
    stage.session.drop("enough")
    stage.session.drop("more than enough")
    stage.greenlet.join(PATIENCE_S)
    assert publication.ends == ["enough"]
    assert lines()[-1].startswith("INFO closed: enough, in=")


@pytest.mark.parametrize(
    ("role", "code"), [("publish", "NetStream.Unpublish.Success"), ("play", "NetStream.Play.Stop")]
)
def test_who_is_dismissed_is_told_why_first(
    stage: Stage, lines: Callable[[], list[str]], role: str, code: str
) -> None:
    granted = getattr(stage, role)()
    stage.session.dismiss("enough")
    stage.session.dismiss("more than enough")
    assert granted.ends == []
    status = stage.expect("onStatus")[1]
    assert (status["code"], status["description"]) == (code, "enough")
    assert stage.next_message() is None
    assert granted.ends == ["enough"]
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert lines()[-1].startswith("INFO closed: enough, in=")


def test_who_was_granted_nothing_is_dismissed_without_a_word(stage: Stage) -> None:
    stage.connect()
    stage.session.dismiss("enough")
    assert stage.next_message() is None


def test_one_that_leaves_already_is_not_thrown_out(stage: Stage) -> None:
    stage.play()
    stage.send(b"\xff" * 100)
    stage.session.dismiss("enough")
    eventually(lambda: stage.session._ending or stage.greenlet.dead)
    stage.session._throw_out()
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert stage.greenlet.successful()


def test_a_session_that_has_not_begun_is_dropped(stage: Stage) -> None:
    stage.session.dismiss("enough")
    stage.greenlet.join(PATIENCE_S)
    assert stage.greenlet.dead


def test_a_drop_lets_go_of_what_waits_at_once(stage: Stage) -> None:
    stage.play()
    stage.session.outlet.reply(BIG)
    stage.session.drop("enough")
    assert stage.session.outlet.waiting_bytes == 0


def test_a_gentle_drop_lets_everything_be_written(stage: Stage, lines: Callable[[], list[str]]) -> None:
    stage.play()
    stage.session.outlet.reply(BIG)
    stage.session.drop_gently("enough")
    assert stage.read_to_end().endswith(BIG)
    stage.greenlet.join(PATIENCE_S)
    assert lines()[-1].startswith("INFO closed: enough, in=")


def test_a_session_that_is_killed_undoes_everything(stage: Stage, lines: Callable[[], list[str]]) -> None:
    publication = stage.publish()
    stage.greenlet.kill(timeout=PATIENCE_S)
    assert publication.ends == ["server is shutting down"]
    assert stage.mine.fileno() == -1
    assert lines()[-1].startswith("INFO closed: server is shutting down")


def test_a_protocol_error_ends_it_when_what_was_answered_is_read(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    publication = stage.publish()
    stage.ping(5)
    stage.send(b"\xff" * 100)
    assert stage.expect_control(messages.PING_RESPONSE) == 5
    assert stage.next_message() is None
    assert publication.ends[0].startswith("protocol error: ")
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert lines()[-1].startswith("INFO closed: protocol error: ")


def test_a_dead_writer_ends_the_session(stage: Stage, lines: Callable[[], list[str]]) -> None:
    playback = stage.play()
    stage.session.outlet.fail("took nothing for 30 s")
    stage.greenlet.join(PATIENCE_S)
    assert playback.ends == ["took nothing for 30 s"]
    assert lines()[-1].startswith("INFO closed: took nothing for 30 s")


def test_a_session_that_is_over_can_be_called_and_does_nothing(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    stage.play()
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    session, said_so_far = stage.session, lines()
    session.drop("late")
    session.drop_gently("late")
    session.dismiss("late")
    session.end_publication("late")
    session.refuse_play("NetStream.Play.BadName", "late")
    assert session.has_left()
    assert lines() == said_so_far


@pytest.mark.parametrize("end", ["player closes", "publisher closes", "publisher breaks the protocol"])
def test_nothing_of_an_ended_session_is_left(stage: Stage, end: str) -> None:
    if end == "player closes":
        stage.play()
    else:
        publication = stage.publish()
        stage.send(audio(b"x"))
        eventually(lambda: publication.messages)
    if end == "publisher breaks the protocol":
        stage.send(b"\xff" * 100)
        stage.read_to_end()
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    stage.host.playbacks.clear()
    stage.host.publications.clear()
    stage.host.peers.clear()
    session = weakref.ref(stage.session)
    del stage.session, stage.greenlet
    assert session() is None, "and no collector is needed for it"
    stage.greenlet = gevent.spawn(lambda: None)


# --- what a host asks of its peer ---------------------------------------------------------------------


def test_a_session_is_unwanted_when_others_end_it(stage: Stage) -> None:
    stage.connect()
    assert not stage.session.is_unwanted()
    stage.session.outlet.fail("dead")
    assert not stage.session.is_unwanted()
    for end in ("drop", "dismiss"):
        other = Stage()
        getattr(other.session, end)("enough")
        assert other.session.is_unwanted()
        other.close()


def test_a_peer_is_silent_since_its_last_byte(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    publication = stage.publish()
    heard_at = stage.state.heard_at
    stage.send(audio(b"x"))
    eventually(lambda: publication.messages)
    assert stage.state.heard_at > heard_at
    monkeypatch.setattr("rtmpsrv.server.base_session.monotonic", lambda: stage.state.heard_at + 7.5)
    assert stage.session.silence_s() == pytest.approx(7.5)


def test_a_peer_that_is_dropped_or_cannot_be_written_to_has_left(stage: Stage) -> None:
    stage.connect()
    assert not stage.session.has_left()
    stage.session.outlet.fail("dead")
    assert stage.session.has_left()
    other = Stage()
    other.session.drop("enough")
    assert other.session.has_left()
    other.close()


def test_a_player_that_waits_can_be_refused(stage: Stage, lines: Callable[[], list[str]]) -> None:
    playback = stage.play()
    stage.session.refuse_play("NetStream.Play.BadName", "Invalid stream key provided")
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Play.BadName"
    assert stage.next_message() is None
    stage.greenlet.join(PATIENCE_S)
    assert playback.ends == ["play refused: Invalid stream key provided"]
    assert lines()[-1].startswith("INFO closed: play refused: Invalid stream key provided")


def test_a_fault_in_a_late_refusal_does_not_reach_the_publisher(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    stage.connect()
    stage.session.refuse_play("NetStream.Play.BadName", "it does not play at all")
    stage.greenlet.join(PATIENCE_S)
    assert lines()[1] == "ERROR refusal failed"
    assert lines()[-1].startswith("INFO closed: internal error")


def test_description(stage: Stage) -> None:
    description = stage.session.describe()
    assert description["phase"] == "waiting for C0 and C1"
    assert description["role"] == ""
    playback = stage.play()
    stage.session.outlet.reply(b"12345")
    playback.feed.uncounted_bytes = 1_000_000
    eventually(lambda: stage.session.describe()["waiting_bytes"] == 0)
    eventually(lambda: not stage.session.describe()["backlog"])  # its turn may be over before it has looked
    description = stage.session.describe()
    facts = {name: description[name] for name in ("number", "ip", "port", "secure", "app", "role", "phase")}
    assert facts == {
        "number": 7,
        "ip": "192.0.2.1",
        "port": 1935,
        "secure": False,
        "app": "live",
        "role": "player",
        "phase": "connected",
    }
    assert 0 <= description["seconds"] < PATIENCE_S
    assert description["bytes_in"] == stage.state.bytes_in
    assert description["bytes_out"] == stage.session.outlet.bytes_out + 1_000_000
    assert description["backlog"] is False
    assert description["held_bytes"] == 0
    assert description["work"] >= 2
    assert "secret" not in repr(description)
    pickle.dumps(description)


# --- moving -------------------------------------------------------------------------------------------


def dialogue() -> tuple[list[bytes], list[bytes]]:
    """Return what a publisher sends, in pieces that need no answer in between, and its payloads."""
    contents = [bytes((number,)) * (number * 37) for number in range(40)]
    pieces = [
        b"\x03" + bytes(HANDSHAKE_SIZE) + bytes(HANDSHAKE_SIZE),
        command("connect", 1.0, {"app": "live"}),
        command("createStream", 2.0, None),
        command("publish", 3.0, None, "key", "live", msid=1),
    ]
    pieces += [audio(content, 20 * number) for number, content in enumerate(contents)]
    pieces += [messages.user_control(messages.PING_REQUEST, 99)]
    return pieces, [b"\xaf\x01" + content for content in contents]


def said(data: bytes) -> list[Any]:
    """Return what the server said after the handshake, without what differs between two runs."""
    received = ChunkReader().feed(data[1 + 2 * HANDSHAKE_SIZE :])
    assert data[0] == 3
    return [
        amf0.decode(payload) if type_id == messages.COMMAND_AMF0 else (type_id, payload)
        for type_id, _timestamp, _msid, payload, _csid in received
    ]


def published(stage: Stage, cuts: list[int]) -> tuple[list[bytes], list[Any]]:
    """Hold a dialogue and move the session after so many bytes; return what came out on both sides."""
    pieces, _payloads = dialogue()
    data = b"".join(pieces)
    sent = 0
    for cut in [*cuts, len(data)]:
        stage.send(data[sent:cut])
        sent = cut
        eventually(lambda: stage.state.bytes_in == cut)  # noqa: B023 - called at once
        if cut != len(data):
            move(stage)
    answers = b""
    while b"\x00\x07" + (99).to_bytes(4, "big") not in answers:
        answers += stage.peer.recv(65536)
    return stage.host.publications[-1].payloads(), said(answers)


def test_a_publisher_moves_at_any_byte_and_nothing_is_lost_or_doubled() -> None:
    def run(cuts: list[int]) -> tuple[list[bytes], list[Any]]:
        stage = Stage()
        try:
            return published(stage, cuts)
        finally:
            stage.close()

    pieces, payloads = dialogue()
    total = sum(map(len, pieces))
    expected = run([])
    assert expected[0] == payloads
    numbers = random.Random(7)
    for _ in range(12):
        cuts = sorted(numbers.sample(range(1, total), 6))
        assert run(cuts) == expected, f"cuts {cuts}"
    handshake = [1, 700, 1 + HANDSHAKE_SIZE, 2 * HANDSHAKE_SIZE]
    assert run(handshake) == expected


def test_the_end_comes_to_the_session_that_has_the_connection_now(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    first = stage.publish()
    move(stage)
    accepted = lines()
    assert len(accepted) == 1, "the old one has nothing more to say"
    assert first.ends == []
    assert stage.parts.ingest.publishers == 1
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert stage.host.publications[-1].ends == ["closed by the peer"]
    assert stage.parts.ingest.publishers == 0
    (line,) = lines()[1:]
    assert line.startswith(f"INFO closed: closed by the peer, in={stage.state.bytes_in} ")


def test_a_publication_that_was_ended_meanwhile_is_not_resumed(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    stage.publish()
    stage.host.denial = AccessDenied("NetStream.Publish.BadName", "Invalid stream key provided")
    stage.run(stage.session.freeze())
    stage.greenlet.join(PATIENCE_S)
    assert lines()[-1].startswith("INFO closed: publish refused: Invalid stream key provided, in=")


def test_times_and_counters_move_along(stage: Stage) -> None:
    stage.publish()
    before = stage.state
    before.account.units = 100.0
    move(stage)
    after = stage.state
    assert after is not before
    assert (after.accepted_at, after.heard_at, after.next_ping) == (
        before.accepted_at, before.heard_at, before.next_ping,
    )  # fmt: skip
    assert (after.bytes_in, after.client) == (before.bytes_in, before.client)
    assert after.account.units < 1000, "no new allowance"
    eventually(lambda: stage.host.publications[-1] is not stage.host.publications[0])
    assert after.publication is None


def test_answers_that_wait_move_along(stage: Stage) -> None:
    stage.play()
    stage.session.outlet.reply(BIG)
    stage.session.outlet.reply(b"behind")
    assert stage.session.outlet.waiting_bytes > 0
    begun = stage.peer.recv(100_000)
    for _ in range(3):
        move(stage)
        begun += stage.peer.recv(100_000)
    while not begun.endswith(b"behind"):
        begun += stage.peer.recv(1_000_000)
    assert begun.endswith(BIG + b"behind")
    assert begun.count(b"behind") == 1


def test_a_player_moves_with_its_choice_and_plays_on(stage: Stage) -> None:
    stage.connect()
    stage.command("receiveVideo", None, False, msid=1)
    stage.command("play", None, "key", msid=1)
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    move(stage)
    eventually(lambda: len(stage.host.playbacks) == 2)
    assert stage.host.playbacks[0].ends == []
    assert stage.session.outlet.feed is stage.host.playbacks[1].feed
    assert stage.session.describe()["role"] == "player"
    stage.command("receiveAudio", None, False, msid=1)
    eventually(lambda: len(stage.host.playbacks[1].asked) == 4)
    assert stage.host.playbacks[1].asked == [(True, False), "moved", "resumed", (False, False)]
    # It waits for its publisher, whose key turns out to be another.
    stage.session.refuse_play("NetStream.Play.BadName", "Invalid stream key provided")
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Play.BadName"


def test_nobody_can_talk_to_the_peer_through_a_session_that_has_moved(stage: Stage) -> None:
    stage.play()
    old = stage.session
    move(stage)
    old.refuse_play("NetStream.Play.BadName", "no")
    old.drop("enough")
    old.drop_gently("enough")
    old.end_publication("enough")
    stage.ping(3)
    assert stage.expect_control(messages.PING_RESPONSE) == 3


def test_a_feed_is_asked_for_more_after_the_move(stage: Stage) -> None:
    stage.play()
    frozen = stage.session.freeze()
    resume = stage.host.resume_playback

    def resume_with_media(*args: Any) -> Any:
        playback = resume(*args)
        outlet = args[2]
        playback.feed.steps = [lambda: outlet.offer(b"media")]
        return playback

    stage.host.resume_playback = resume_with_media  # type: ignore[method-assign, assignment]
    stage.run(frozen)
    assert stage.read(5) == b"media"


def test_a_publisher_at_rest_moves(stage: Stage) -> None:
    stage.publish()
    for _ in range(30):
        stage.parts.ingest.publisher_began()
    stage.send(audio(b"brings it to rest"))
    eventually(lambda: len(stage.parts.ingest))
    stage.send(audio(b"unread"))
    move(stage)
    publication = stage.host.publications[-1]
    eventually(lambda: len(stage.host.publications[-1].messages) == 2)
    publication = stage.host.publications[-1]
    assert publication.payloads() == [b"\xaf\x01brings it to rest", b"\xaf\x01unread"]
    assert stage.host.publications[0].ends == []


def test_a_flooder_moves_in_the_middle_of_its_backlog(stage: Stage) -> None:
    publication = stage.publish()
    stage.state.account.units = -50
    contents = [number.to_bytes(2, "big") for number in range(600)]
    stage.send(b"".join(audio(content) for content in contents))
    eventually(lambda: publication.messages)
    assert stage.state.connection.backlog
    stage.session.freeze()
    stage.state.account.units = 0
    state = pickle.loads(pickle.dumps(stage.state))
    old = stage.greenlet
    seen = len(publication.messages)
    assert seen < 600
    stage.run(state)
    eventually(lambda: len(stage.host.publications[-1].messages) == 600)
    assert stage.host.publications[-1].payloads() == [b"\xaf\x01" + content for content in contents]
    old.join(PATIENCE_S)
    assert len(publication.messages) == seen, "the old one takes nothing any more"


def test_a_session_may_move_before_it_begins() -> None:
    stage = Stage()
    move(stage)
    stage.connect()
    stage.close()


def test_what_cannot_move_goes_on(stage: Stage) -> None:
    publication = stage.publish()
    stage.host.stays = True
    with pytest.raises(CannotMove, match="the host stays"):
        stage.session.freeze()
    stage.send(audio(b"x"))
    eventually(lambda: publication.messages)
    stage.host.stays = False
    move(stage)


def test_tls_cannot_move(stage: Stage) -> None:
    stage.connect()
    transport: Any = stage.session._transport
    transport.can_move = False
    with pytest.raises(CannotMove, match="TLS"):
        stage.session.freeze()
    transport.can_move = True


def test_a_publisher_whose_request_waits_for_units_cannot_move(stage: Stage) -> None:
    publication = stage.publish()
    eventually(lambda: stage.session._reader._wait._waiting)
    stage.state.account.units = -1_000_000
    stage.send(audio(b"x") + command("deleteStream", 5.0, None, 1.0))
    eventually(lambda: stage.session._reader.is_busy)
    assert publication.ends == []
    with pytest.raises(CannotMove, match="in the middle of a request"):
        stage.session.freeze()


def test_a_session_that_waits_for_its_host_cannot_move(stage: Stage) -> None:
    stage.host.gate.clear()
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: stage.host.asked)
    with pytest.raises(CannotMove, match="in the middle of a request"):
        stage.session.freeze()
    stage.host.gate.set()
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"
    move(stage)


@pytest.mark.parametrize("how", ["drop", "drop_gently", "fail", "freeze", "refused", "over"])
def test_a_session_that_is_ending_cannot_move(stage: Stage, how: str) -> None:
    stage.connect()
    if how == "fail":
        stage.session.outlet.fail("dead")
    elif how == "freeze":
        stage.session.freeze()
    elif how == "refused":
        stage.host.denial = AccessDenied("NetStream.Publish.BadName", "no")
        stage.command("publish", None, "key", msid=1)
        stage.read_to_end()
    elif how == "over":
        stage.peer.close()
        stage.greenlet.join(PATIENCE_S)
    else:
        getattr(stage.session, how)("enough")
    with pytest.raises(CannotMove, match="ending"):
        stage.session.freeze()


def test_reasons_are_kept() -> None:
    assert str(Ended("because")) == "because"
    assert not Ended("because").told


def test_media_in_one_read_with_the_publish_is_taken(stage: Stage) -> None:
    stage.shake_hands()
    stage.send(
        command("connect", 1.0, {"app": "live"})
        + command("publish", 2.0, None, "key", msid=1)
        + pack(6, 0, messages.VIDEO, 1, bytes(100_000), 128)
    )
    eventually(lambda: stage.host.publications and stage.host.publications[0].messages)
    publication: FakePublication = stage.host.publications[0]
    assert publication.payloads() == [bytes(100_000)]


def test_a_peer_that_reads_nothing_does_not_hold_up_the_end(stage: Stage) -> None:
    stage.connect()
    stage.session.outlet.reply(BIG)
    stage.peer.shutdown(gsocket.SHUT_WR)
    stage.greenlet.join(PATIENCE_S)
    assert stage.greenlet.dead


def test_a_peer_with_unread_bytes_is_sounded_by_a_ping_and_others_are_left_alone(stage: Stage) -> None:
    publication = stage.publish()
    eventually(lambda: not stage.state.connection.backlog)  # its turn may be over before it has looked
    assert not stage.session.sound()
    stage.state.account.units = -1_000_000
    stage.send(b"".join(audio(b"") for _ in range(5000)))
    eventually(lambda: publication.messages)
    assert stage.session.sound()
    stage.expect_control(messages.PING_REQUEST)
    stage.session.drop("enough")
    assert not stage.session.sound()
    stage.greenlet.join(PATIENCE_S)
    assert not stage.session.sound()
