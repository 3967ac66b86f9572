from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError
from rtmpsrv.protocol import amf0, events, messages
from rtmpsrv.protocol.amf_values import UNDEFINED
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.connection import (
    MAX_MESSAGE_STREAMS,
    ServerConnection,
)
from rtmpsrv.protocol.link import MAX_PENDING_OUTPUT
from rtmpsrv.protocol.state import Phase
from tests.unit.protocol.peer import (
    CHUNK_SIZE,
    HANDSHAKE,
    MALFORMED,
    SERVER_HANDSHAKE_BYTES,
    Peer,
    command,
    connect,
    connected,
    flat,
    members,
    playing,
    publishing,
    video,
)

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
def test_object_encoding_that_is_no_number_is_0(encoding: Any) -> None:
    peer = Peer()
    peer.receive(HANDSHAKE + connect(objectEncoding=encoding))
    assert peer.replies()[0][3]["objectEncoding"] == 0.0


def test_client_that_announces_nothing_gets_the_values_that_every_reader_knows() -> None:
    peer = connected()
    peer.call("releaseStream", "key", transaction=2.0)
    kinds = {type(value) for reply in peer.replies() for item in reply for value in members(item)}
    assert kinds == {str, float, type(None)}


@pytest.mark.parametrize("key", ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"])
def test_client_that_announces_enhanced_rtmp_is_told_what_is_forwarded(key: str) -> None:
    peer = Peer()
    peer.receive(HANDSHAKE + connect(**{key: 0.0}))
    information = peer.replies()[0][3]
    assert "hvc1" in information["fourCcList"]
    assert information.keys() >= {"videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"}


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


# --- courtesies -----------------------------------------------------------------------------------


def test_release_stream_has_a_result() -> None:
    peer = connected()
    peer.call("releaseStream", "key", transaction=2.0)
    assert peer.replies()[1:] == [["_result", 2.0, None, None]]


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
    assert peer.replies()[1:] == [["_result", 5.0, None, None]]


def test_command_without_a_name_is_ignored() -> None:
    peer = connected()
    for name in ("empty command", "command name is a number"):
        assert peer.receive(pack(3, 0, 20, 0, bytes.fromhex(MALFORMED[name]["hex"]))) == []


# Names only, ids of other types, commands of a server, nothing at all.
@pytest.mark.parametrize(
    "payload",
    [b"", b"\x05", b"\x02", amf0.encode("FCUnpublishX"), amf0.encode("FCUnpublish"), amf0.encode("x", None),
     amf0.encode("foo", "1", None), amf0.encode("foo", float("nan"), None), amf0.encode(1.0, 2.0),
     amf0.encode("_result", 0.0, None), amf0.encode("onStatus", 0.0, None, {"code": "x"}),
     amf0.encode("deleteStream"), amf0.encode("closeStream") + b"\x04",
     amf0.encode("FCUnpublish", 1.0, None, "other")],
)  # fmt: skip
def test_odd_commands_do_not_end_a_publication(payload: bytes) -> None:
    peer = publishing()
    for type_id in (17, 20):
        assert peer.receive(pack(3, 0, type_id, 0, payload)) == []
    assert flat(peer.receive(video(b"frame"))) == [(9, 0, 1, b"frame", 6)]


@pytest.mark.parametrize("name", ["key", "key?token=1"])
def test_publisher_that_stops_with_fcunpublish_alone_may_publish_again(name: str) -> None:
    peer = publishing()
    assert peer.call("FCUnpublish", name, transaction=6.0) == [events.PublishStopAsked()]
    assert [values[0] for values in peer.replies()[-3:]] == ["_result", "onFCUnpublish", "onStatus"]
    assert peer.statuses()[-1][1] == "NetStream.Unpublish.Success"
    peer.call("createStream", transaction=7.0)
    assert peer.call("publish", "key", "live", msid=2) == [events.PublishAsked(2, "key", "live")]
    assert peer.statuses()[-1][1] == "NetStream.Publish.Start"


def test_fcunpublish_ends_no_playing() -> None:
    peer = playing()
    assert peer.call("FCUnpublish", "key", transaction=6.0) == []


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


def test_what_nobody_asked_for_is_not_owed() -> None:
    peer = publishing()
    connection = peer.connection
    ping = messages.user_control(messages.PING_REQUEST, 1)
    connection.receive_data(messages.window_ack_size(1) + ping)
    assert list(connection.events()) == []
    connection.receive_data(ping)
    connection.send(events.Ping(1))
    assert (len(connection.outbox), connection.owed) == (3, False)
    connection.receive_data(command("_checkbw", 5.0, None) + ping)
    assert list(connection.events()) == []
    assert connection.owed
    connection.data_to_send()
    assert not connection.owed


def test_answers_that_nobody_reads_are_bounded() -> None:
    peer = publishing()
    ping = messages.user_control(messages.PING_REQUEST, 1)
    count = MAX_PENDING_OUTPUT // len(ping)
    with pytest.raises(RemoteProtocolError, match="bytes of answers asked for"):
        peer.receive(ping * (count + 1))


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
