from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError
from rtmpsrv.protocol import amf0, events, messages
from rtmpsrv.protocol.amf_values import UNDEFINED
from rtmpsrv.protocol.chunks import ChunkReader, Limits, pack
from rtmpsrv.protocol.connection import MAX_MESSAGE_STREAMS, MAX_MESSAGES_BEFORE_ROLE, ServerConnection
from rtmpsrv.protocol.link import BYTES_PER_UNIT, DEFAULT_PEER_WINDOW, MAX_PENDING_OUTPUT, MESSAGES_PER_CALL
from rtmpsrv.protocol.state import Phase, Role
from tests.vectors import load, name_of

CHUNK_SIZE = 4096
HANDSHAKE = b"\3" + bytes(1536 + 1536)
SERVER_HANDSHAKE_BYTES = 1 + 1536 + 1536
CAPTURES = load("captures")["captures"]
MALFORMED = {v["name"]: v for v in load("commands")["malformed"]}

Sent = tuple[int, int, int, Any]  # type id, message stream id, timestamp, decoded values or control body


class Peer:
    """A client in front of a connection, and the session behind it, which says yes to everything."""

    def __init__(self, *, answers: bool = True, limits: Limits | None = None) -> None:
        self.connection = ServerConnection(CHUNK_SIZE, publisher_limits=limits or Limits())
        self.reader = ChunkReader()  # of what the server sends
        self.events: list[Any] = []
        self.answers = answers
        self.handshake_left = SERVER_HANDSHAKE_BYTES
        self.sent: list[Sent] = []

    def receive(self, data: bytes) -> list[Any]:
        """Let the connection receive; return the new events."""
        self.connection.receive_data(data)
        before = len(self.events)
        while self.connection.backlog:
            for event in self.connection.events():
                self.events.append(event)
                if self.answers:
                    answer(self.connection, event)
        self.collect()
        return self.events[before:]

    def collect(self) -> None:
        data = self.connection.data_to_send()
        skipped = min(self.handshake_left, len(data))
        self.handshake_left -= skipped
        for kind, timestamp, msid, payload, _csid in self.reader.feed(data[skipped:]):
            body = amf0.decode(payload) if kind in (18, 20) else payload
            self.sent.append((kind, msid, timestamp, body))

    def call(self, name: str, *values: Any, transaction: float = 0.0, msid: int = 0) -> list[Any]:
        """Let the client call a command with a null command object; return the new events."""
        return self.receive(command(name, transaction, None, *values, msid=msid))

    def statuses(self) -> list[tuple[str, str, str]]:
        """What the server said with onStatus, as (level, code, description)."""
        return [tuple(v[3].values()) for kind, _, _, v in self.sent if kind == 20 and v[0] == "onStatus"]

    def replies(self) -> list[Any]:
        return [values for kind, _, _, values in self.sent if kind == 20]


def answer(connection: ServerConnection, event: Any) -> None:
    reply = REPLIES.get(type(event))
    if reply is not None:
        connection.send(reply())


REPLIES: dict[type, Callable[[], events.Event]] = {
    events.ConnectAsked: events.ConnectAccepted,
    events.PublishAsked: lambda: events.PublishAccepted("started"),
    events.PublishStopAsked: lambda: events.PublishEnded("ended"),
    events.PlayAsked: events.PlayAccepted,
    events.PlayStopAsked: lambda: events.PlayEnded("stopped"),
}


def command(name: str, transaction: float, *values: Any, msid: int = 0, type_id: int = 20) -> bytes:
    return pack(3, 0, type_id, msid, amf0.encode(name, transaction, *values))


def connect(**properties: Any) -> bytes:
    return command("connect", 1.0, {"app": "live", **properties})


def connected(**options: Any) -> Peer:
    peer = Peer(**options)
    peer.receive(HANDSHAKE + connect())
    return peer


def publishing(**options: Any) -> Peer:
    peer = connected(**options)
    peer.call("createStream", transaction=2.0)
    assert peer.call("publish", "key", "live", msid=1) == [events.PublishAsked(1, "key", "live")]
    return peer


def playing() -> Peer:
    peer = connected()
    peer.call("createStream", transaction=2.0)
    assert peer.call("play", "key", msid=1) == [events.PlayAsked(1, "key")]
    return peer


def video(payload: bytes, timestamp: int = 0) -> bytes:
    return pack(6, timestamp, 9, 1, payload)


# --- handshake ------------------------------------------------------------------------------------


def test_answer_to_c1_is_s0_s1_s2() -> None:
    connection = ServerConnection(CHUNK_SIZE)
    connection.receive_data(HANDSHAKE[:1536])
    assert connection.data_to_send() == b""
    connection.receive_data(HANDSHAKE[1536:1537])
    data = connection.data_to_send()
    assert (data[0], len(data)) == (3, SERVER_HANDSHAKE_BYTES)
    assert data[1537:] == HANDSHAKE[1:1537]
    assert connection.data_to_send() == b""


def test_wrong_version_is_refused_at_the_first_byte() -> None:
    with pytest.raises(RemoteProtocolError, match="version 22"):
        ServerConnection(CHUNK_SIZE).receive_data(b"\x16")


def test_nothing_received_means_nothing() -> None:
    connection = ServerConnection(CHUNK_SIZE)
    connection.receive_data(b"")
    assert connection.phase is Phase.C1


def test_whatever_is_in_c2_is_accepted() -> None:
    peer = Peer()
    peer.receive(HANDSHAKE[:1537] + b"\xff" * 1536)
    assert peer.connection.phase is Phase.OPEN


def test_handshake_and_first_command_may_come_in_one_read_or_byte_by_byte() -> None:
    data = HANDSHAKE + connect()
    whole, single = Peer(), Peer()
    whole.receive(data)
    for byte in data:
        single.receive(bytes((byte,)))
    assert whole.events == single.events
    assert whole.events == [events.ConnectAsked(1.0, "live", {"app": "live"})]


# --- connect --------------------------------------------------------------------------------------


def test_accepted_connect_is_answered_in_the_order_that_clients_need() -> None:
    peer = connected()
    assert [kind for kind, *_ in peer.sent] == [5, 6, 1, 20]
    assert peer.sent[2][3] == CHUNK_SIZE.to_bytes(4, "big")
    result = peer.replies()[0]
    assert result[:2] == ["_result", 1.0]
    assert result[3]["code"] == "NetConnection.Connect.Success"


@pytest.mark.parametrize("encoding", [0.0, 3.0])
def test_object_encoding_is_given_back(encoding: float) -> None:
    peer = Peer()
    peer.receive(HANDSHAKE + connect(objectEncoding=encoding))
    assert peer.replies()[0][3]["objectEncoding"] == encoding


@pytest.mark.parametrize("encoding", [None, "3", UNDEFINED])
def test_object_encoding_that_is_no_number_is_undefined(encoding: Any) -> None:
    peer = Peer()
    peer.receive(HANDSHAKE + connect(objectEncoding=encoding))
    assert peer.replies()[0][3]["objectEncoding"] is UNDEFINED


@pytest.mark.parametrize("name", ["connect without object", "connect object null"])
def test_connect_without_an_app_is_the_sessions_to_refuse(name: str) -> None:
    peer = Peer(answers=False)
    data = pack(3, 0, 20, 0, bytes.fromhex(MALFORMED[name]["hex"]))
    assert peer.receive(HANDSHAKE + data) == [events.ConnectAsked(1.0, None, {})]
    peer.connection.send(events.ConnectRejected("NetConnection.Connect.Rejected", "why"))
    peer.collect()
    assert peer.replies()[0][:3] == ["_error", 1.0, None]
    assert peer.replies()[0][3]["code"] == "NetConnection.Connect.Rejected"
    assert peer.receive(connect()) == []


def test_app_that_is_no_string_counts_as_none() -> None:
    peer = Peer(answers=False)
    assert peer.receive(HANDSHAKE + connect(app=5.0))[0].app is None


def test_second_connect_closes() -> None:
    with pytest.raises(RemoteProtocolError, match="ConnectAsked while connected"):
        connected().receive(connect())


# --- requests that the table refuses --------------------------------------------------------------


def check_refused(peer: Peer, new: list[Any], name: str, code: str, description: str) -> None:
    assert new == [events.Refused(name, code, description, peer.sent[-1][1])]
    assert peer.statuses()[-1] == ("error", code, description)
    assert peer.receive(connect()) == []
    assert peer.connection.phase is Phase.CLOSED


def test_publish_before_connect_is_refused() -> None:
    peer = Peer()
    peer.receive(HANDSHAKE)
    new = peer.call("publish", "key", msid=1)
    check_refused(peer, new, "publish", "NetStream.Publish.BadConnection", "No channel is selected")


def test_second_publish_is_refused() -> None:
    peer = publishing()
    new = peer.call("publish", "key", msid=1)
    check_refused(peer, new, "publish", "NetStream.Publish.BadConnection", "Connection already publishing")


def test_play_before_connect_is_refused() -> None:
    peer = Peer()
    peer.receive(HANDSHAKE)
    new = peer.call("play", "key", msid=1)
    check_refused(peer, new, "play", "NetStream.Play.BadConnection", "No channel is selected")


def test_second_play_is_refused() -> None:
    peer = playing()
    new = peer.call("play", "key", msid=1)
    check_refused(peer, new, "play", "NetStream.Play.BadConnection", "Connection already playing")


def test_refusal_goes_out_on_the_message_stream_of_the_command() -> None:
    peer = Peer()
    peer.receive(HANDSHAKE)
    peer.call("play", "key", msid=7)
    assert peer.sent[-1][1] == 7


@pytest.mark.parametrize(
    "event",
    [
        events.ConnectAccepted(),
        events.ConnectRejected("c", "d"),
        events.PublishAccepted("d"),
        events.PublishRefused("c", "d"),
        events.PublishEnded(),
        events.PlayAccepted(),
        events.PlayRefused("c", "d"),
        events.PlayEnded(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_answer_that_nobody_asked_for_is_our_bug(event: events.Event) -> None:
    peer = connected()
    with pytest.raises(LocalProtocolError, match="while"):
        peer.connection.send(event)


# --- streams --------------------------------------------------------------------------------------


def test_created_streams_count_from_1() -> None:
    peer = connected()
    for transaction in (2.0, 3.0, -1.5):
        peer.call("createStream", transaction=transaction)
    assert peer.replies()[1:] == [["_result", t, None, n] for t, n in ((2.0, 1.0), (3.0, 2.0), (-1.5, 3.0))]


def test_streams_are_refused_one_past_their_limit() -> None:
    peer = connected()
    for _ in range(MAX_MESSAGE_STREAMS):
        peer.call("createStream", transaction=2.0)
    peer.call("deleteStream", 1.0)
    peer.call("createStream", transaction=2.0)
    with pytest.raises(RemoteProtocolError, match="message stream"):
        peer.call("createStream", transaction=2.0)


# --- publishing -----------------------------------------------------------------------------------


def test_accepted_publish_is_answered_on_its_stream() -> None:
    peer = publishing()
    assert peer.sent[-2] == (4, 0, 0, bytes.fromhex("000000000001"))
    assert peer.sent[-1][1] == 1
    assert peer.statuses() == [("status", "NetStream.Publish.Start", "started")]


def test_refused_publish_may_be_tried_again() -> None:
    peer = connected(answers=False)
    peer.connection.send(events.ConnectAccepted())
    peer.call("publish", "key", msid=1)
    peer.connection.send(events.PublishRefused("NetStream.Publish.BadName", "why"))
    peer.collect()
    assert peer.statuses() == [("error", "NetStream.Publish.BadName", "why")]
    assert peer.call("publish", "key", "live", msid=1) == [events.PublishAsked(1, "key", "live")]


@pytest.mark.parametrize(
    ("arguments", "name", "mode"),
    [
        ((), None, ""),
        (("",), "", ""),
        (({"a": 1.0},), "", ""),
        (("k?a=b",), "k?a=b", ""),
        (("k", "append"), "k", "append"),
        (("k", 5.0), "k", ""),
    ],
)
def test_name_and_mode_of_a_publish(arguments: tuple[Any, ...], name: str | None, mode: str) -> None:
    assert connected().call("publish", *arguments, msid=1) == [events.PublishAsked(1, name, mode)]


def test_media_comes_in_runs_between_commands() -> None:
    peer = publishing()
    data = [pack(4, 1, 8, 1, b"a"), video(b"v", 2), command("_checkbw", 0.0, None), video(b"w", 3)]
    assert peer.receive(b"".join(data)) == [
        [(8, 1, 1, b"a", 4), (9, 2, 1, b"v", 6)],
        [(9, 3, 1, b"w", 6)],
    ]


def test_media_before_and_after_publishing_is_dropped() -> None:
    peer = connected()
    assert peer.receive(video(b"early")) == []
    peer.call("createStream", transaction=2.0)
    data = command("publish", 0.0, None, "key", msid=1) + video(b"v")
    data += command("deleteStream", 0.0, None, 1.0) + video(b"late")
    new = peer.receive(data)
    assert [type(event) for event in new] == [events.PublishAsked, list, events.PublishStopAsked]
    assert new[1] == [(9, 0, 1, b"v", 6)]
    assert peer.statuses()[-1] == ("status", "NetStream.Unpublish.Success", "ended")


def tag(type_id: int, payload: bytes) -> bytes:
    return bytes((type_id,)) + len(payload).to_bytes(3, "big") + bytes(7) + payload + bytes(4)


def test_aggregate_is_split_in_its_place() -> None:
    tags = tag(9, b"v") + tag(9, b"w")
    peer = publishing()
    assert flat(peer.receive(video(b"u") + pack(6, 50, 22, 1, tags) + video(b"x"))) == [
        (9, 0, 1, b"u", 6),
        (9, 50, 1, b"v", 6),
        (9, 50, 1, b"w", 6),
        (9, 0, 1, b"x", 6),
    ]


def test_data_sent_as_a_command_is_data() -> None:
    peer = publishing()
    payload = amf0.encode("@setDataFrame", "onMetaData", {"width": 1.0})
    for type_id, body in ((20, payload), (17, b"\0" + payload), (17, payload)):
        assert peer.receive(pack(3, 5, type_id, 1, body)) == [[(18, 5, 1, payload, 3)]]
    assert connected().receive(pack(3, 5, 20, 1, payload)) == []


def test_limits_widen_when_a_peer_may_publish() -> None:
    big = video(bytes(1 << 17))
    with pytest.raises(RemoteProtocolError, match="limit 65536"):
        connected().receive(big)
    peer = publishing(limits=Limits(media_bytes=1 << 17))
    assert len(peer.receive(big)[0]) == 1
    with pytest.raises(RemoteProtocolError, match="limit 131072"):
        peer.receive(video(bytes((1 << 17) + 1)))


def test_keyframe_may_come_in_one_read_with_the_publish_before_it() -> None:
    big = video(bytes(1 << 17))
    peer = connected()
    new = peer.receive(command("publish", 0.0, None, "key", msid=1) + big + video(b"next"))
    assert [type(event) for event in new] == [events.PublishAsked, list]
    assert [len(message[3]) for message in new[1]] == [1 << 17, 4]


def test_peer_that_does_not_say_what_it_wants_may_send_200_messages() -> None:
    peer = connected()
    used = peer.connection.messages_before_role
    peer.receive(video(b"v") * (MAX_MESSAGES_BEFORE_ROLE - used - 1))
    assert peer.call("publish", "key", "live", msid=1)
    peer.receive(video(b"v") * (MAX_MESSAGES_BEFORE_ROLE + 1))
    assert len(flat(peer.events)) == 2 + MAX_MESSAGES_BEFORE_ROLE + 1
    peer.call("closeStream", msid=1)
    peer.receive(video(b"v") * MAX_MESSAGES_BEFORE_ROLE)  # counted anew
    with pytest.raises(RemoteProtocolError, match="limit 200 before publish or play"):
        peer.receive(video(b"v"))


def test_player_may_send_more_than_200_messages() -> None:
    peer = playing()
    peer.receive(messages.user_control(messages.PING_RESPONSE, 1) * (MAX_MESSAGES_BEFORE_ROLE + 1))
    peer.call("closeStream", msid=1)
    with pytest.raises(RemoteProtocolError, match="limit 200"):
        peer.receive(command("_checkbw", 0.0, None) * (MAX_MESSAGES_BEFORE_ROLE + 1))


def test_too_long_message_behind_other_commands_is_refused_all_the_same() -> None:
    peer = connected()
    with pytest.raises(RemoteProtocolError, match="131072 bytes, limit 65536"):
        peer.receive(command("createStream", 3.0, None) + video(bytes(1 << 17)))
    assert peer.connection.created_streams == 1


@pytest.mark.parametrize(
    ("name", "arguments", "msid"),
    [
        ("deleteStream", (1.0,), 0),
        ("deleteStream", ("key",), 0),  # GStreamer
        ("closeStream", (), 1),
        ("publish", (False,), 1),  # Wirecast
        ("publish", ("",), 1),
    ],
)
def test_publisher_may_stop_and_publish_again(name: str, arguments: tuple[Any, ...], msid: int) -> None:
    peer = publishing()
    assert peer.call(name, *arguments, msid=msid) == [events.PublishStopAsked()]
    assert peer.call("publish", "key", "live", msid=1) == [events.PublishAsked(1, "key", "live")]


@pytest.mark.parametrize(
    ("name", "arguments", "msid"),
    [
        ("deleteStream", (), 0),
        ("deleteStream", (2.0,), 0),
        ("deleteStream", (float("nan"),), 0),
        ("deleteStream", (float("inf"),), 0),
        ("deleteStream", (-1e300,), 0),
        ("deleteStream", ("another",), 0),
        ("deleteStream", (None,), 0),
        ("closeStream", (), 2),
    ],
)
@pytest.mark.parametrize("make", [publishing, playing])
def test_other_streams_may_be_closed(
    make: Callable[[], Peer], name: str, arguments: tuple[Any, ...], msid: int
) -> None:
    assert make().call(name, *arguments, msid=msid) == []


# --- playing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "msid"),
    [("deleteStream", (1.0,), 0), ("deleteStream", ("key",), 0), ("closeStream", (), 1)],
)
def test_player_may_stop_and_play_again(name: str, arguments: tuple[Any, ...], msid: int) -> None:
    peer = playing()
    assert peer.call(name, *arguments, msid=msid) == [events.PlayStopAsked()]
    assert peer.statuses()[-1] == ("status", "NetStream.Play.Stop", "stopped")
    assert peer.call("play", "key", msid=1) == [events.PlayAsked(1, "key")]


def test_play_name_that_is_no_string_is_empty() -> None:
    data = pack(3, 0, 20, 1, bytes.fromhex(MALFORMED["play name is a number"]["hex"]))
    assert connected().receive(data) == [events.PlayAsked(1, "")]


def test_play_without_a_name() -> None:
    assert connected().call("play", msid=1) == [events.PlayAsked(1, None)]


@pytest.mark.parametrize("waited", [False, True])
def test_refused_play_is_said_on_its_stream(waited: bool) -> None:
    peer = playing() if waited else connected(answers=False)
    if not waited:
        peer.connection.send(events.ConnectAccepted())
        peer.call("play", "key", msid=1)
    peer.connection.send(events.PlayRefused("NetStream.Play.BadName", "why"))
    peer.collect()
    assert peer.sent[-1][1] == 1
    assert peer.statuses()[-1] == ("error", "NetStream.Play.BadName", "why")


def test_silent_ends_say_nothing() -> None:
    for peer, event in ((publishing(), events.PublishEnded()), (playing(), events.PlayEnded())):
        before = len(peer.sent)
        peer.connection.send(event)
        peer.collect()
        assert len(peer.sent) == before


def test_pause_concerns_players_only() -> None:
    peer = playing()
    assert peer.call("pause", True, 0.0, msid=1) == [events.PauseAsked(True)]
    assert peer.call("pauseRaw", 0.0, 0.0, msid=1) == [events.PauseAsked(False)]
    assert peer.call("pause", msid=1) == []
    assert connected().call("pause", True, msid=1) == []


def test_receive_flags_may_come_before_play() -> None:
    peer = connected()
    assert peer.call("receiveAudio", False) == [events.ReceiveAsked(True, False)]
    assert peer.call("receiveVideo", True) == [events.ReceiveAsked(False, True)]
    assert peer.call("receiveVideo") == []


def test_one_connection_may_publish_and_play() -> None:
    peer = publishing()
    assert peer.call("play", "key", msid=2) == [events.PlayAsked(2, "key")]
    assert peer.call("closeStream", msid=2) == [events.PlayStopAsked()]
    assert peer.call("closeStream", msid=1) == [events.PublishStopAsked()]


# --- courtesies -----------------------------------------------------------------------------------


def test_release_stream_has_a_result() -> None:
    peer = connected()
    peer.call("releaseStream", "key", transaction=2.0)
    assert peer.replies()[1:] == [["_result", 2.0, None, UNDEFINED]]


@pytest.mark.parametrize(
    ("name", "notice", "code"),
    [
        ("FCPublish", "onFCPublish", "NetStream.Publish.Start"),
        ("FCUnpublish", "onFCUnpublish", "NetStream.Unpublish.Success"),
        ("FCSubscribe", "onFCSubscribe", "NetStream.Play.Start"),
    ],
)
def test_fmle_calls_have_a_result_and_a_notice(name: str, notice: str, code: str) -> None:
    peer = connected()
    peer.call(name, "key", transaction=3.0)
    assert [values[:2] for values in peer.replies()[1:]] == [["_result", 3.0], [notice, 3.0]]
    assert peer.replies()[-1][3]["code"] == code
    assert peer.call(name) == []  # neither name nor transaction


def test_get_stream_length_is_0() -> None:
    peer = connected()
    peer.call("getStreamLength", "key", transaction=3.0)
    assert peer.replies()[-1] == ["_result", 3.0, None, 0.0]


def test_unknown_call_has_a_null_result_if_it_wants_one() -> None:
    peer = connected()
    peer.call("_checkbw", transaction=5.0)
    peer.call("unknown", transaction=0.0)
    peer.call("_result", transaction=5.0)
    assert peer.replies()[1:] == [["_result", 5.0, None, UNDEFINED]]


def test_command_without_a_name_is_ignored() -> None:
    peer = connected()
    for name in ("empty command", "command name is a number"):
        assert peer.receive(pack(3, 0, 20, 0, bytes.fromhex(MALFORMED[name]["hex"]))) == []


def test_unknown_message_types_up_to_22_are_ignored() -> None:
    peer = connected()
    for type_id in (0, 6, 7, 10, 11, 12, 13, 14, 16, 19, 21):
        assert peer.receive(pack(3, 0, type_id, 0, bytes(12))) == []
    with pytest.raises(RemoteProtocolError, match="message type 23"):
        peer.receive(pack(3, 0, 23, 0, b""))


def test_ping_of_the_peer_is_answered() -> None:
    peer = connected()
    peer.receive(messages.user_control(messages.PING_REQUEST, 0xFFFFFFFF))
    assert peer.sent[-1][3].hex() == "0007ffffffff"


@pytest.mark.parametrize("body", ["", "00", "0006", "0006000000", "00030000000100000bb8", "ffff00000000"])
def test_other_user_control_is_ignored(body: str) -> None:
    peer = connected()
    before = len(peer.sent)
    assert peer.receive(pack(2, 0, 4, 0, bytes.fromhex(body))) == []
    assert len(peer.sent) == before


def test_ping_of_the_session_goes_out() -> None:
    peer = connected()
    peer.connection.send(events.Ping(123456))
    peer.collect()
    assert peer.sent[-1] == (4, 0, 123456, bytes.fromhex("00060001e240"))


def test_answers_that_nobody_reads_are_bounded() -> None:
    peer = publishing()
    ping = messages.user_control(messages.PING_REQUEST, 1)
    count = MAX_PENDING_OUTPUT // len(ping)
    with pytest.raises(RemoteProtocolError, match="bytes of answers asked for"):
        peer.receive(ping * (count + 1))


# --- work in pieces -------------------------------------------------------------------------------


def test_messages_of_one_call_are_bounded() -> None:
    connection = publishing().connection
    connection.receive_data(video(b"v") * (MESSAGES_PER_CALL + 1))
    before = connection.work
    assert [len(run) for run in connection.events()] == [MESSAGES_PER_CALL]
    assert (connection.work - before, connection.backlog) == (MESSAGES_PER_CALL, True)
    assert [len(run) for run in connection.events()] == [1]
    assert not connection.backlog
    assert list(connection.events()) == []


def test_aggregate_is_split_by_calls_and_can_move_between_them() -> None:
    connection = publishing().connection
    tags = [tag(9, bytes((number,))) for number in range(10)]
    connection.receive_data(pack(6, 0, 22, 1, b"".join(tags)) + video(b"behind"))
    taken: list[Any] = []
    held = []
    while connection.backlog:
        new = flat(connection.events(3))
        assert len(new) <= 3
        taken += new
        held.append(connection.held_bytes)
        connection = pickle.loads(pickle.dumps(connection))
    assert [message[3] for message in taken] == [bytes((number,)) for number in range(10)] + [b"behind"]
    assert held[0] >= sum(map(len, tags))
    assert held[-1] == 0


def test_tags_that_an_aggregate_may_not_carry_are_work_too() -> None:
    connection = publishing().connection
    connection.receive_data(pack(6, 0, 22, 1, tag(20, b"") * 10 + tag(18, bytes(BYTES_PER_UNIT)) + b"cut"))
    before = connection.work
    calls = 0
    while connection.backlog:
        calls += 1
        for run in connection.events(4):
            assert run == [(18, 0, 1, bytes(BYTES_PER_UNIT), 6)]
    assert connection.work - before == 1 + 10 + 2
    assert calls > 3


def test_rest_of_an_aggregate_goes_with_its_publication() -> None:
    connection = publishing().connection
    connection.receive_data(pack(6, 0, 22, 1, tag(9, b"v") * 10))
    assert sum(len(run) for run in connection.events(3)) == 2
    connection.send(events.PublishEnded())
    while connection.backlog:
        assert list(connection.events(3)) == []
    assert connection.held_bytes == 0
    connection.receive_data(pack(6, 0, 22, 1, tag(9, b"v") * 10))
    assert list(connection.events()) == []
    assert not connection.backlog


def test_long_commands_and_data_count_by_their_bytes() -> None:
    connection = publishing().connection
    for type_id in (15, 17, 18, 20):
        before = connection.work
        connection.receive_data(pack(3, 0, type_id, 1, b"\2\0\0" + b"\5" * (BYTES_PER_UNIT * 9 - 3)))
        while connection.backlog:
            list(connection.events())
        assert connection.work - before == 10


def test_caller_that_stops_loses_nothing_and_gets_nothing_twice() -> None:
    data = [video(b"u"), command("play", 0.0, None, "key", msid=2), pack(6, 0, 22, 1, tag(9, b"v") * 3)]
    data += [video(b"w"), command("closeStream", 0.0, None, msid=1), video(b"late")]
    connection = publishing().connection
    connection.receive_data(b"".join(data))
    taken: list[Any] = []
    while connection.backlog:
        for event in connection.events():
            taken.append(event)
            break
        connection = pickle.loads(pickle.dumps(connection))
    assert flat(taken) == [
        (9, 0, 1, b"u", 6),
        events.PlayAsked(2, "key"),
        *[(9, 0, 1, b"v", 6)] * 3,
        (9, 0, 1, b"w", 6),
        events.PublishStopAsked(),
    ]


def test_held_bytes_are_all_that_waits() -> None:
    connection = ServerConnection(CHUNK_SIZE)
    connection.receive_data(HANDSHAKE[:100])
    assert connection.held_bytes == 100
    connection = publishing().connection
    assert connection.held_bytes == 0
    half = video(bytes(100))[:50]
    connection.receive_data(half)
    assert (connection.held_bytes, connection.backlog) == (50, True)
    list(connection.events())
    assert (connection.held_bytes, connection.backlog) == (38, False)
    connection.receive_data(video(bytes(100))[50:] + command("play", 1.0, None, "k", msid=2) + half[:5])
    list(connection.events(1))
    list(connection.events(1))
    assert connection.waiting is not None
    assert connection.held_bytes >= len(connection.waiting[3])
    assert (list(connection.events()), connection.held_bytes) == ([events.PlayAsked(2, "k")], 5)


def test_bytes_that_wait_are_joined() -> None:
    connection = publishing().connection
    connection.receive_data(video(b"v")[:5])
    connection.receive_data(video(b"v")[5:])
    assert list(connection.events()) == [[(9, 0, 1, b"v", 6)]]


def test_log_sees_every_message_before_its_event() -> None:
    connection = publishing().connection
    connection.judged = []
    connection.receive_data(video(b"v") + command("play", 0.0, None, "key", msid=2) + video(b"w"))
    seen = []
    for _ in connection.events():
        seen.append([message[0] for message in connection.judged])
        connection.judged.clear()
    assert seen == [[9, 20], [], [9]]


# --- after an error, after the end ----------------------------------------------------------------


def broken() -> ServerConnection:
    peer = connected()
    with pytest.raises(RemoteProtocolError):
        peer.receive(pack(3, 0, 23, 0, b""))
    return peer.connection


def test_what_clients_say_is_not_a_servers_to_send() -> None:
    connection = connected().connection
    with pytest.raises(LocalProtocolError, match="StreamAsked is not a server's"):
        connection.send(events.StreamAsked())


def test_nothing_is_done_on_a_connection_that_is_broken() -> None:
    connection = broken()
    assert (connection.phase, connection.backlog, connection.held_bytes) == (Phase.ERROR, False, 0)
    with pytest.raises(LocalProtocolError, match="broken"):
        connection.receive_data(b"x")
    with pytest.raises(LocalProtocolError, match="broken"):
        list(connection.events())
    with pytest.raises(LocalProtocolError, match="broken"):
        connection.send(events.Ping(1))
    assert connection.data_to_send() == b""


def test_answers_of_a_broken_connection_can_still_be_sent() -> None:
    connection = connected().connection
    connection.receive_data(messages.user_control(messages.PING_REQUEST, 1) + pack(3, 0, 23, 0, b""))
    with pytest.raises(RemoteProtocolError):
        list(connection.events())
    assert connection.data_to_send() == messages.user_control(messages.PING_RESPONSE, 1)


def test_error_in_the_handshake_breaks_the_connection() -> None:
    connection = ServerConnection(CHUNK_SIZE)
    with pytest.raises(RemoteProtocolError):
        connection.receive_data(b"\x16")
    assert connection.phase is Phase.ERROR


def test_too_many_answers_break_the_connection_wherever_they_are_made() -> None:
    connection = connected().connection
    connection.outbox_bytes = MAX_PENDING_OUTPUT
    with pytest.raises(RemoteProtocolError, match="bytes of answers"):
        connection.send(events.Ping(1))
    assert connection.phase is Phase.ERROR
    connection = connected().connection
    connection.outbox_bytes = MAX_PENDING_OUTPUT
    connection.peer_window = 2
    with pytest.raises(RemoteProtocolError, match="bytes of answers"):
        connection.receive_data(b"x")
    assert connection.phase is Phase.ERROR


def test_closed_connection_takes_nothing() -> None:
    peer = Peer(answers=False)
    peer.receive(HANDSHAKE + connect())
    peer.connection.send(events.ConnectRejected("NetConnection.Connect.Rejected", "why"))
    peer.connection.receive_data(connect())
    assert (peer.connection.backlog, peer.connection.held_bytes) == (False, 0)
    assert list(peer.connection.events()) == []


# --- acknowledgements -----------------------------------------------------------------------------


def acknowledgements(peer: Peer) -> list[int]:
    return [int.from_bytes(body, "big") for kind, _, _, body in peer.sent if kind == 3]


def test_half_the_window_is_acknowledged() -> None:
    peer = publishing()
    total = peer.connection.received_bytes
    frame = video(bytes(1000))
    while not acknowledgements(peer):
        peer.receive(frame)
        total += len(frame)
    assert acknowledgements(peer) == [total]
    assert 0 <= total - DEFAULT_PEER_WINDOW // 2 < len(frame)


def test_window_of_the_peer_counts_from_its_message_on() -> None:
    peer = connected()
    peer.receive(messages.window_ack_size(200))
    start = peer.connection.received_bytes
    for _ in range(12):
        peer.receive(pack(2, 0, 3, 0, bytes(4)))  # 16 bytes
    acknowledged = acknowledgements(peer)
    assert acknowledged[0] <= start + 100
    assert all(100 <= b - a <= 112 for a, b in itertools.pairwise(acknowledged))


def test_window_0_wants_no_acknowledgements() -> None:
    peer = publishing()
    peer.receive(messages.window_ack_size(0))
    for _ in range(60):
        peer.receive(video(bytes(60000)))
    assert acknowledgements(peer) == []


def test_acknowledged_count_wraps() -> None:
    peer = connected()
    peer.connection.received_bytes = peer.connection.acknowledged_bytes = (1 << 32) - 30
    peer.receive(messages.window_ack_size(64))  # 16 bytes
    peer.receive(pack(2, 0, 3, 0, bytes(4)))
    assert acknowledgements(peer) == [2]
    peer.receive(pack(2, 0, 3, 0, bytes(4)) * 2)
    assert acknowledgements(peer) == [2, 34]


# --- captures of real clients ---------------------------------------------------------------------


def flat(received: Iterable[Any]) -> list[Any]:
    """Join the runs of media: where they are cut depends on the reads."""
    return [item for event in received for item in (event if isinstance(event, list) else (event,))]


@pytest.mark.parametrize("capture", CAPTURES, ids=name_of)
def test_capture_is_understood(capture: dict[str, Any]) -> None:
    peer = Peer()
    peer.receive(bytes.fromhex(capture["client_to_server_hex"]))
    kinds = [type(event) for event in peer.events if not isinstance(event, list)]
    if "play" in capture["name"]:
        assert kinds[:2] == [events.ConnectAsked, events.PlayAsked]
        assert not [event for event in peer.events if isinstance(event, list)]
    else:
        assert kinds == [events.ConnectAsked, events.PublishAsked, events.PublishStopAsked]
        media = [m for m in capture["messages"] if m["type"] in (8, 9, 15, 18)]
        received = [event for event in flat(peer.events) if isinstance(event, tuple)]
        assert [(m[0], m[1], len(m[3])) for m in received] == [
            (m["type"], m["timestamp"], m["length"]) for m in media
        ]
        assert peer.statuses()[0][1] == "NetStream.Publish.Start"


@pytest.mark.parametrize("capture", CAPTURES, ids=name_of)
def test_capture_means_the_same_however_it_is_cut(capture: dict[str, Any]) -> None:
    data = bytes.fromhex(capture["client_to_server_hex"])
    whole, single, random_cuts = Peer(), Peer(), Peer()
    whole.receive(data)
    for byte in data:
        single.receive(bytes((byte,)))
    edges = sorted(random.Random(1).sample(range(len(data)), 25))
    for start, end in zip([0, *edges], [*edges, len(data)], strict=True):
        random_cuts.receive(data[start:end])
    assert flat(single.events) == flat(whole.events) == flat(random_cuts.events)


# --- a session can move ---------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 700, 1536, 1537, 2000, 3072, 3073, 3080, 3300, 4000, 4500, 5000, 9000])
def test_connection_goes_on_after_a_pickle(cut: int) -> None:
    data = bytes.fromhex(CAPTURES[1]["client_to_server_hex"])  # chunk size 128: cuts are inside chunks
    peer, moved = Peer(), Peer()
    peer.receive(data)
    moved.receive(data[:cut])
    moved.connection = pickle.loads(pickle.dumps(moved.connection))
    moved.receive(data[cut:])
    assert flat(moved.events) == flat(peer.events)
    assert moved.sent == peer.sent


def test_pickle_holds_what_was_not_yet_taken() -> None:
    connection = ServerConnection(CHUNK_SIZE)
    connection.receive_data(HANDSHAKE + connect()[:40])
    connection.receive_data(connect()[40:])
    moved: ServerConnection = pickle.loads(pickle.dumps(connection))
    assert moved.data_to_send() == connection.data_to_send()
    assert list(moved.events()) == list(connection.events()) != []
    assert moved.publish_role is Role.NONE


def test_repr_shows_no_stream_name() -> None:
    for peer in (publishing(), playing()):
        assert "'key'" not in repr(peer.connection)
