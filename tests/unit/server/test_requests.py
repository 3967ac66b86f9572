from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv.bounds import session_settings
from rtmpsrv.config import Config
from rtmpsrv.errors import AccessDenied, LoginAsked
from rtmpsrv.protocol import messages
from rtmpsrv.server.host import NOTHING, Peer
from rtmpsrv.server.requests import CHOICE_UNITS, NO_ROOM, PLAY_UNITS, split_app
from rtmpsrv.server.session import Session
from rtmpsrv.server.session_state import NEVER
from tests.unit.server.stage import PATIENCE_S, FakeHost, FakePublication, Stage, audio, eventually

DENIAL = AccessDenied("NetStream.Publish.BadName", "Invalid stream key provided")


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def asked(stage: Stage) -> list[Any]:
    return stage.host.playbacks[-1].asked


# --- publishing ---------------------------------------------------------------------------------------


def test_a_publisher_is_told_that_it_is_on_the_air_and_has_all_the_time_it_wants(stage: Stage) -> None:
    stage.connect()
    assert stage.state.deadline < NEVER
    stage.command("publish", None, "key", "record", msid=1)
    assert stage.expect("onStatus")[1]["description"] == "it has begun"
    assert stage.state.deadline == NEVER
    assert stage.parts.ingest.publishers == 1
    client = stage.session.client
    assert (client.publish_mode, client.to_publish.name, client.to_play) == ("record", "key", NOTHING)
    assert client.to_publish.at > 0
    assert "key" not in repr(client)


def test_a_publisher_that_stops_is_told_and_gets_its_time_to_publish_again(stage: Stage) -> None:
    publication = stage.publish()
    before = monotonic()
    stage.command("deleteStream", None, 1.0)
    assert stage.expect("onStatus")[1] | {"level": ""} == {
        "code": "NetStream.Unpublish.Success", "description": "it is over", "level": "",
    }  # fmt: skip
    eventually(lambda: publication.ends)
    assert publication.ends == ["unpublished by the peer"]
    eventually(lambda: stage.state.deadline < NEVER)
    assert stage.state.deadline >= before + stage.parts.settings.setup_s
    assert stage.parts.ingest.publishers == 0
    stage.command("publish", None, "key", msid=1)
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"
    assert stage.parts.ingest.publishers == 1


def test_only_who_was_granted_something_may_work_as_long_as_it_likes(stage: Stage) -> None:
    stage.connect()
    assert not stage.state.account.trusted
    stage.command("publish", None, "key", msid=1)
    stage.expect("onStatus")
    assert stage.state.account.trusted


def test_what_was_asked_for_is_kept_for_both_roles(stage: Stage) -> None:
    stage.publish()
    published = stage.session.client.to_publish
    stage.command("play", None, "other", msid=1)
    eventually(lambda: stage.host.playbacks and asked(stage))
    client = stage.session.client
    assert (client.to_publish, client.to_play.name) == (published, "other")
    assert client.asked_at == client.to_play.at >= published.at > 0


def test_a_player_is_trusted_as_well(stage: Stage) -> None:
    stage.play()
    assert stage.state.account.trusted


@pytest.mark.parametrize("by", ["the peer leaves", "it is taken off the air"])
def test_whoever_reads_together_is_told_of_each_end(stage: Stage, by: str) -> None:
    publication = stage.publish()
    if by == "the peer leaves":
        stage.peer.close()
        stage.greenlet.join(PATIENCE_S)
    else:
        stage.session.end_publication("enough")
        stage.session.end_publication("enough")
    assert stage.parts.ingest.publishers == 0
    assert len(publication.ends) == 1


def test_a_publisher_that_was_taken_off_the_air_may_still_say_that_it_stops(stage: Stage) -> None:
    stage.publish()
    stage.session.end_publication("enough")
    stage.command("deleteStream", None, 1.0)
    stage.command("publish", None, "key", msid=1)
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"


def test_media_of_a_publisher_off_the_air_goes_nowhere(stage: Stage) -> None:
    publication = stage.publish()
    stage.session.end_publication("enough")
    stage.command("@setDataFrame", "onMetaData", {}, msid=1)
    stage.ping(1)
    assert stage.expect_control(messages.PING_RESPONSE) == 1
    assert publication.messages == []


def test_nobody_is_let_on_the_air_when_there_is_no_room(stage: Stage) -> None:
    budget: Any = stage.parts.budget
    budget.full = True
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    assert stage.expect("onStatus")[1]["description"] == NO_ROOM
    assert stage.host.asked == 0
    assert session_settings(Config.load({})[0]).room_variable == "GOP_CACHE_TOTAL_MB"


def test_a_publisher_that_never_reads_is_not_sent_more_and_more(stage: Stage) -> None:
    publication = stage.publish()
    heard: list[tuple[int, bool]] = []
    stage.session.outlet.reply = lambda data, owed=True, head=b"": heard.append((len(data), owed))  # type: ignore[method-assign]
    stage.send(messages.window_ack_size(1))
    for number in range(3):
        stage.send(audio(bytes(100), number))
        eventually(lambda number=number: len(publication.messages) > number)  # type: ignore[misc]
    stage.ping(1)
    stage.command("_checkbw", None)
    eventually(lambda: any(owed for _, owed in heard))
    assert {owed for length, owed in heard if length < 20} == {False}, "acknowledgements and the pong"
    assert [owed for length, owed in heard if length > 20][-1], "an answer"


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["publish", "play"])
def test_a_refusal_is_told_and_waited_for_before_the_connection_is_closed(stage: Stage, command: str) -> None:
    stage.host.denial = DENIAL
    stage.connect()
    stage.command(command, None, "key", msid=1)
    stage.send(bytes(100_000))  # unread bytes would make of the end a reset, which discards the refusal
    assert stage.expect("onStatus")[1]["description"] == "Invalid stream key provided"
    assert stage.next_message() is None
    gevent.idle()
    assert not stage.greenlet.dead, "it lets the peer read and close first"
    assert stage.mine.fileno() >= 0
    stage.peer.shutdown(gsocket.SHUT_WR)
    stage.greenlet.join(PATIENCE_S)
    assert stage.mine.fileno() == -1


def test_what_waits_to_be_written_is_written_before_the_connection_is_closed(stage: Stage) -> None:
    stage.connect()
    waiting = bytes(2_000_000)  # more than the sockets hold
    assert stage.session.outlet.offer(waiting) is False
    stage.host.denial = DENIAL
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: stage.session._ending)
    heard = stage.read_to_end()
    assert heard.startswith(waiting)
    assert b"Invalid stream key provided" in heard[len(waiting) :]


def test_a_refused_peer_that_resets_the_connection_ends_it(stage: Stage) -> None:
    stage.host.denial = DENIAL
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    gsocket.wait_read(stage.peer.fileno(), timeout=PATIENCE_S)
    stage.peer.close()  # what it has not read makes of the end a reset
    stage.greenlet.join(PATIENCE_S)
    assert stage.mine.fileno() == -1


def test_the_log_of_a_refusal_names_the_setting_and_the_peer_is_not_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    stage.host.denial = AccessDenied("NetStream.Publish.BadName", "No: too long", "A_SETTING", "alice")
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    assert stage.expect("onStatus")[1]["description"] == "No: too long"
    assert stage.next_message() is None
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert caplog.messages[-1].startswith("closed: publish refused: No: too long (A_SETTING), in=")
    fields = caplog.records[-1].__dict__["fields"]
    assert (fields["event"], fields["refused"], fields["user"]) == ("closed", "publish", "alice")


@pytest.mark.parametrize(
    ("text", "app", "query"),
    [
        ("live", "live", ""),
        ("live/", "live", ""),
        ("//live//", "live", ""),
        ("live/_definst_", "live", ""),
        ("/live/_definst_/", "live", ""),
        ("live//_definst_?a=/b/", "live", "a=/b/"),
        ("live?token=1", "live", "token=1"),
        ("live/?a=1?b=2", "live", "a=1?b=2"),
        ("live/other", "live/other", ""),
        ("_definst_", "_definst_", ""),
        ("live_definst_", "live_definst_", ""),
        ("/", "", ""),
        ("", "", ""),
    ],
)
def test_the_forms_of_an_app(text: str, app: str, query: str) -> None:
    assert split_app(text) == (app, query)


def test_the_query_of_an_app_is_kept_with_the_client(stage: Stage) -> None:
    stage.connect()
    client = stage.session.client
    assert (client.app, client.app_query) == ("live", "token=secret")
    assert "secret" not in repr(client)


def test_a_refused_connect_is_told(stage: Stage) -> None:
    stage.shake_hands()
    stage.command("connect", {})
    assert stage.expect("_error")[1]["description"] == "No application name"
    assert stage.next_message() is None


def test_what_the_table_refuses_is_told_and_the_publication_ends(stage: Stage) -> None:
    publication = stage.publish()
    stage.command("publish", None, "other", msid=1)
    assert stage.expect("onStatus")[1]["description"] == "Connection already publishing"
    eventually(lambda: publication.ends)
    assert publication.ends == ["publish refused: Connection already publishing"]


def test_the_host_says_when_a_refusal_is_told(stage: Stage) -> None:
    stage.host.denial = DENIAL
    stage.host.delay_s = 0.001
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    assert stage.expect("onStatus")[1]["description"] == "Invalid stream key provided"
    assert stage.host.delays_for == ["192.0.2.1"]


@pytest.mark.parametrize("how", ["drop", "drop_gently"])
def test_the_time_before_a_refusal_ends_when_the_connection_does(stage: Stage, how: str) -> None:
    stage.host.denial = DENIAL
    stage.host.delay_s = 10 * PATIENCE_S
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: stage.host.delays_for)
    getattr(stage.session, how)("enough")
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert stage.greenlet.dead


def test_a_connection_that_is_gone_is_not_kept_for_its_refusal(stage: Stage) -> None:
    stage.host.denial = DENIAL
    stage.host.delay_s = 10 * PATIENCE_S
    stage.host.gate.clear()
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: stage.host.asked)
    stage.session.drop("enough")
    stage.host.gate.set()
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert stage.greenlet.dead


# --- playing ------------------------------------------------------------------------------------------


def test_a_player_starts_with_the_choice_it_made_before(stage: Stage) -> None:
    stage.connect()
    stage.command("receiveVideo", None, False, msid=1)
    stage.command("play", None, "key", msid=1)
    eventually(lambda: stage.host.playbacks and asked(stage))
    assert asked(stage) == [(True, False)]
    assert stage.state.deadline == NEVER
    assert stage.session.outlet.feed is stage.host.playbacks[-1].feed


def test_what_a_player_asks_reaches_its_playback_and_counts_for_more_than_a_frame(stage: Stage) -> None:
    stage.play()
    requests = stage.session._requests
    assert requests.units == PLAY_UNITS
    stage.command("pause", None, True, 0.0, msid=1)
    stage.command("pause", None, False, 0.0, msid=1)
    stage.command("receiveAudio", None, False, msid=1)
    eventually(lambda: len(asked(stage)) == 4)
    assert asked(stage) == [(True, True), True, False, (False, True)]
    assert requests.units == PLAY_UNITS + 3 * CHOICE_UNITS


def test_a_player_that_stops_is_told_and_gets_its_time_to_play_again(stage: Stage) -> None:
    playback = stage.play()
    stage.command("closeStream", None, msid=1)
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Play.Stop"
    assert playback.ends == ["stopped by the peer"]
    assert stage.session.outlet.feed is None
    eventually(lambda: stage.state.deadline < NEVER)


def test_a_publisher_that_plays_too_keeps_its_time(stage: Stage) -> None:
    stage.publish()
    stage.command("play", None, "key", msid=1)
    eventually(lambda: stage.host.playbacks and asked(stage))
    assert stage.session.describe()["role"] == "publisher"
    stage.session.end_publication("enough")
    stage.command("deleteStream", None, 1.0)
    stage.ping(1)
    assert stage.expect_control(messages.PING_RESPONSE) == 1
    assert stage.state.deadline == NEVER


# --- during a succession ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["publish", "play"])
def test_a_request_waits_while_the_hold_is_closed(stage: Stage, command: str) -> None:
    stage.connect()
    stage.parts.hold.close()
    stage.command(command, None, "key", msid=1)
    eventually(lambda: stage.session.is_held)
    assert stage.host.asked == 0
    assert stage.session.can_move()
    stage.parts.hold.open()
    eventually(lambda: stage.host.asked)
    eventually(lambda: stage.session.role)
    assert not stage.session.is_held
    assert stage.session.role == {"publish": "publisher", "play": "player"}[command]


def test_other_requests_do_not_wait(stage: Stage) -> None:
    stage.parts.hold.close()
    playback = None
    stage.connect()
    stage.parts.hold.open()
    stage.command("play", None, "key", msid=1)
    eventually(lambda: stage.host.playbacks)
    playback = stage.host.playbacks[-1]
    stage.parts.hold.close()
    stage.command("pause", None, True, 0.0, msid=1)
    eventually(lambda: True in playback.asked)


def test_a_held_request_goes_along_and_is_handled_once_where_the_session_goes_on(stage: Stage) -> None:
    stage.connect()
    stage.parts.hold.close()
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: stage.session.is_held)
    old, greenlet = stage.session, stage.greenlet
    state = pickle.loads(pickle.dumps(old.freeze()))
    greenlet.join(PATIENCE_S)
    assert stage.host.asked == 0
    stage.run(state)
    eventually(lambda: stage.session.is_held, "waiting again")
    stage.parts.hold.open()
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"
    assert stage.host.asked == 1
    assert stage.state.asked is None


# --- to where a request is to be handled ----------------------------------------------------------------


class Guide(FakeHost):
    """Lets a session be taken elsewhere with its request to publish, until told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self.go_on = Event()

    def publish(self, peer: Peer, name: str | None, msid: int) -> FakePublication:
        assert isinstance(peer, Session)
        peer.travel(self._wait)
        return super().publish(peer, name, msid)

    def _wait(self) -> None:
        self.waits += 1
        self.go_on.wait(PATIENCE_S)


@pytest.fixture
def guided() -> Iterator[tuple[Stage, Guide]]:
    guide = Guide()
    made = Stage(guide)
    yield made, guide
    made.close()


def test_a_request_goes_along_to_where_it_is_handled_and_goes_no_further(guided: tuple[Stage, Guide]) -> None:
    stage, guide = guided
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: guide.waits)
    assert stage.session.can_move()
    old, greenlet = stage.session, stage.greenlet
    state = pickle.loads(pickle.dumps(old.freeze()))
    greenlet.join(PATIENCE_S)
    assert guide.asked == 0
    stage.run(state)
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"
    assert (guide.waits, guide.asked) == (1, 1)
    assert (stage.state.asked, stage.state.travelled) == (None, False)


def test_a_request_of_a_session_that_stays_is_handled_where_it_is(guided: tuple[Stage, Guide]) -> None:
    stage, guide = guided
    guide.go_on.set()
    stage.connect()
    for waits in (1, 2):  # the next request may go elsewhere again
        stage.command("publish", None, "key", msid=1)
        assert stage.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"
        assert (guide.waits, guide.asked) == (waits, waits)
        assert not stage.session.is_held
        stage.command("FCUnpublish", None, "key")
        assert stage.expect("onStatus")[1]["code"] == "NetStream.Unpublish.Success"


def test_who_is_in_the_middle_of_its_request_again_does_not_move(guided: tuple[Stage, Guide]) -> None:
    stage, guide = guided
    guide.go_on.set()
    guide.gate.clear()
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: guide.asked)
    assert not stage.session.can_move()
    guide.gate.set()
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Publish.Start"


def test_a_session_that_ends_while_its_request_waits_asks_nothing(stage: Stage) -> None:
    stage.connect()
    stage.parts.hold.close()
    stage.command("publish", None, "key", msid=1)
    eventually(lambda: stage.session.is_held)
    stage.session.drop("enough")
    stage.greenlet.join(PATIENCE_S)
    assert stage.greenlet.dead
    stage.parts.hold.open()
    assert stage.host.asked == 0


def test_a_step_of_a_login_is_no_refusal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    stage.host.denial = LoginAsked("NetStream.Publish.BadName", "come again")
    stage.host.delay_s = 1000.0
    stage.connect()
    stage.command("publish", None, "key", msid=1)
    assert stage.expect("onStatus")[1]["description"] == "come again"
    assert stage.next_message() is None
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert stage.host.delays_for == []
    assert caplog.messages[-1].startswith("closed: asked for a login, in=")
