from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError
from rtmpsrv.protocol import amf0, events, messages
from rtmpsrv.protocol.chunks import ChunkReader, pack
from rtmpsrv.protocol.client import ClientConnection
from rtmpsrv.protocol.connection import ServerConnection
from rtmpsrv.protocol.link import Link
from rtmpsrv.protocol.state import Phase, Role

YES: dict[type, Callable[[], events.Event]] = {
    events.ConnectAsked: events.ConnectAccepted,
    events.PublishAsked: lambda: events.PublishAccepted("started"),
    events.PublishStopAsked: lambda: events.PublishEnded("ended"),
    events.PlayAsked: events.PlayAccepted,
    events.PlayStopAsked: lambda: events.PlayEnded("stopped"),
}


def take(link: Link) -> list[Any]:
    taken: list[Any] = []
    while link.backlog:
        taken += link.events()
    return taken


class Pair:
    """A client's and a server's end, and what each was told."""

    def __init__(self, answers: dict[type, Callable[[], events.Event]] | None = None) -> None:
        self.client = ClientConnection(2048)
        self.server = ServerConnection(4096)
        self.answers = YES if answers is None else answers
        self.asked: list[Any] = []
        self.told: list[Any] = []

    def exchange(self) -> list[Any]:
        """Carry bytes both ways until there are none; return what the client was told."""
        before = len(self.told)
        moved = True
        while moved:
            moved = False
            if data := self.client.data_to_send():
                moved = True
                self.server.receive_data(data)
                while self.server.backlog:
                    for event in self.server.events():
                        self.asked.append(event)
                        if type(event) in self.answers:
                            self.server.send(self.answers[type(event)]())
            if data := self.server.data_to_send():
                moved = True
                self.client.receive_data(data)
                self.told += take(self.client)
        return self.told[before:]

    def ask(self, event: events.Event) -> list[Any]:
        self.client.send(event)
        return self.exchange()

    def tell(self, *values: Any, msid: int = 0) -> list[Any]:
        """Let the server say any command; return what the client is told."""
        self.client.receive_data(pack(3, 0, 20, msid, amf0.encode(*values), self.server.out_chunk_size))
        self.told += (new := take(self.client))
        return new

    def status(self, level: str, code: str, msid: int = 1) -> list[Any]:
        return self.tell("onStatus", 0.0, None, {"level": level, "code": code, "description": "d"}, msid=msid)

    def sent(self) -> list[tuple[int, int, Any]]:
        """What the client has to send: (type id, message stream id, values or body)."""
        reader = ChunkReader(self.client.out_chunk_size)
        return [
            (kind, msid, amf0.decode(body) if kind == 20 else body)
            for kind, _, msid, body, _ in reader.feed(self.client.data_to_send())
        ]


def opened(**options: Any) -> Pair:
    pair = Pair(**options)
    pair.ask(events.ClientHello())
    return pair


def connected(**options: Any) -> Pair:
    pair = opened(**options)
    assert pair.ask(events.ConnectAsked(1.0, "live", {"flashVer": "test"})) == [events.ConnectAccepted()]
    return pair


# --- handshake ------------------------------------------------------------------------------------


def test_handshake_opens_both_ends() -> None:
    pair = opened()
    assert (pair.client.phase, pair.server.phase) == (Phase.OPEN, Phase.OPEN)


def test_handshake_may_come_byte_by_byte_and_c2_goes_out_after_s1() -> None:
    client = ClientConnection()
    client.send(events.ClientHello())
    hello = client.data_to_send()
    assert (len(hello), hello[0]) == (1537, 3)
    s1, s2 = bytes(range(256)) * 6, hello[1:]
    for byte in b"\3" + s1[:-1]:
        client.receive_data(bytes((byte,)))
    client.receive_data(b"")
    assert client.data_to_send() == b""
    client.receive_data(s1[-1:])
    assert client.data_to_send() == s1
    assert client.held_bytes == 1537
    client.receive_data(s2[:-1])
    assert (client.phase, client.received_bytes) == (Phase.C2, 0)
    client.receive_data(s2[-1:] + messages.user_control(0, 1))
    assert (client.phase, client.received_bytes) == (Phase.OPEN, 18)


def test_server_of_another_protocol_is_refused() -> None:
    client = ClientConnection()
    client.send(events.ClientHello())
    with pytest.raises(RemoteProtocolError, match="version 72"):
        client.receive_data(b"HTTP/1.1 400 Bad Request")
    with pytest.raises(LocalProtocolError):
        client.send(events.ConnectAsked(1.0, "live", {}))


def test_server_that_speaks_first_is_refused() -> None:
    ClientConnection().receive_data(b"")
    with pytest.raises(RemoteProtocolError, match="before the client"):
        ClientConnection().receive_data(b"\3")


# --- connect, createStream ------------------------------------------------------------------------


def test_connect_is_answered_and_the_chunk_size_announced() -> None:
    pair = connected()
    asked = pair.asked[0]
    assert (asked.app, asked.properties) == ("live", {"app": "live", "flashVer": "test"})
    assert pair.client.server_information["code"] == "NetConnection.Connect.Success"
    assert pair.client.out_chunk_size == pair.server.reader.chunk_size == 2048


@pytest.mark.parametrize("information", [{"code": "c", "description": "d"}, None])
def test_rejected_connect_closes(information: Any) -> None:
    pair = opened()
    pair.client.send(events.ConnectAsked(1.0, "live", {}))
    known = ("c", "d") if information else ("", "")
    assert pair.tell("_error", 1.0, None, information) == [events.ConnectRejected(*known)]
    assert pair.client.phase is Phase.CLOSED
    pair.client.receive_data(b"anything")
    assert take(pair.client) == []


def test_connect_result_without_information_is_a_success() -> None:
    pair = opened()
    pair.client.send(events.ConnectAsked(1.0, "live", {}))
    assert pair.tell("_result", 1.0) == [events.ConnectAccepted()]
    assert pair.client.server_information == {}


def test_streams_are_created() -> None:
    pair = connected()
    assert pair.ask(events.StreamAsked()) == [events.StreamCreated(1)]
    assert pair.ask(events.StreamAsked()) == [events.StreamCreated(2)]


def test_stream_may_be_asked_for_before_connect_is_answered() -> None:
    pair = opened()
    pair.client.send(events.ConnectAsked(1.0, "live", {}))
    assert pair.ask(events.StreamAsked()) == [events.ConnectAccepted(), events.StreamCreated(1)]


@pytest.mark.parametrize(
    "answer", [("_error", 2.0, None, {}), ("_result", 2.0, None), ("_result", 2.0, None, "1")]
)
def test_stream_that_was_not_created_is_a_call(answer: tuple[Any, ...]) -> None:
    pair = connected()
    pair.client.send(events.StreamAsked())
    assert pair.tell(*answer) == [events.Call(0, answer[0], 2.0, None, answer[3:])]


@pytest.mark.parametrize(
    ("number", "allowed"), [(-1.0, False), (0.0, True), (2.0**32 - 1, True), (2.0**32, False)]
)
def test_message_stream_ids_have_32_bits(number: float, allowed: bool) -> None:
    pair = connected()
    pair.client.send(events.StreamAsked())
    if allowed:
        assert pair.tell("_result", 2.0, None, number) == [events.StreamCreated(int(number))]
    else:
        with pytest.raises(RemoteProtocolError, match="message stream"):
            pair.tell("_result", 2.0, None, number)


# --- publish --------------------------------------------------------------------------------------


def test_publish_and_its_end() -> None:
    pair = connected()
    assert pair.ask(events.PublishAsked(1, "key", "record")) == [events.PublishAccepted("started")]
    assert pair.asked[-1] == events.PublishAsked(1, "key", "record")
    assert pair.client.publish_role is Role.PUBLISHING
    assert pair.ask(events.PublishStopAsked()) == [events.PublishEnded("ended")]
    assert pair.ask(events.PublishAsked(1, "key")) == [events.PublishAccepted("started")]


def test_server_may_end_a_publisher() -> None:
    pair = connected()
    pair.ask(events.PublishAsked(1, "key"))
    pair.server.send(events.PublishEnded("kicked"))
    assert pair.exchange() == [events.PublishEnded("kicked")]
    assert pair.client.publish_role is Role.NONE


def test_other_statuses_change_nothing_for_a_publisher() -> None:
    pair = connected()
    pair.ask(events.PublishAsked(1, "key"))
    assert pair.status("error", "NetStream.Record.Failed") == [
        events.Status(1, "error", "NetStream.Record.Failed", "d")
    ]
    assert pair.client.publish_role is Role.PUBLISHING


def test_publish_is_refused() -> None:
    pair = connected(answers=YES | {events.PublishAsked: lambda: events.PublishRefused("c", "d")})
    assert pair.ask(events.PublishAsked(1, "key")) == [events.PublishRefused("c", "d")]
    assert pair.client.publish_role is Role.NONE


def test_second_publish_is_our_bug() -> None:
    pair = connected()
    pair.ask(events.PublishAsked(1, "key"))
    with pytest.raises(LocalProtocolError, match="PublishAsked while publishing"):
        pair.client.send(events.PublishAsked(1, "key"))


# --- play -----------------------------------------------------------------------------------------


def test_player_waits_until_the_server_starts_it() -> None:
    pair = connected()
    assert (pair.ask(events.PlayAsked(1, "key", -1.0)), pair.client.play_role) == ([], Role.PLAY_ASKED)
    assert pair.status("status", "NetStream.Play.Reset") == [
        events.Status(1, "status", "NetStream.Play.Reset", "d")
    ]
    assert pair.status("status", "NetStream.Play.Start") == [events.PlayAccepted()]
    assert pair.status("status", "NetStream.Play.Stop") == [
        events.Status(1, "status", "NetStream.Play.Stop", "d")
    ]
    assert pair.ask(events.PlayStopAsked()) == [events.PlayEnded("stopped")]
    assert pair.client.play_role is Role.NONE


def test_player_that_waits_may_pause_and_stop() -> None:
    pair = connected()
    pair.ask(events.PlayAsked(1, "key"))
    pair.ask(events.PauseAsked(True))
    assert pair.asked[-1] == events.PauseAsked(True)
    assert pair.ask(events.PlayStopAsked()) == [events.PlayEnded("stopped")]


@pytest.mark.parametrize("started", [False, True])
def test_play_is_refused(started: bool) -> None:
    pair = connected()
    pair.ask(events.PlayAsked(1, "key"))
    if started:
        pair.status("status", "NetStream.Play.Start")
    pair.server.send(events.PlayRefused("c", "d"))
    assert pair.exchange() == [events.PlayRefused("c", "d")]


def test_receive_flags_are_sent_on_the_players_stream() -> None:
    pair = connected()
    pair.ask(events.PlayAsked(3, "key"))
    pair.client.send(events.ReceiveAsked(True, False))
    pair.client.send(events.ReceiveAsked(False, True))
    assert pair.sent() == [
        (20, 3, ["receiveAudio", 0.0, None, False]),
        (20, 3, ["receiveVideo", 0.0, None, True]),
    ]


def test_answer_on_message_stream_0_counts() -> None:
    pair = connected()
    pair.client.send(events.PublishAsked(1, "key"))
    assert pair.status("status", "NetStream.Publish.Start", msid=0) == [events.PublishAccepted("d")]


def test_status_of_another_stream_is_a_status() -> None:
    pair = connected()
    pair.client.send(events.PublishAsked(1, "key"))
    assert pair.status("error", "NetStream.Publish.BadName", msid=2) == [
        events.Status(2, "error", "NetStream.Publish.BadName", "d")
    ]


# --- anything else --------------------------------------------------------------------------------


def test_calls_have_results() -> None:
    pair = connected()
    transaction = pair.client.call("releaseStream", "key")
    assert pair.exchange() == [events.Call(0, "_result", transaction, None, (None,))]
    assert pair.client.call("deleteStream", 1.0, answered=False) == 0.0
    assert pair.sent() == [(20, 0, ["deleteStream", 0.0, None, 1.0])]


def test_calls_of_the_server_are_answered_and_told() -> None:
    pair = connected()
    assert pair.tell("onBWDone", 0.0, None, 5.0) == [events.Call(0, "onBWDone", 0.0, None, (5.0,))]
    assert pair.sent() == []
    assert pair.tell("_onbwcheck", 7.0, None) == [events.Call(0, "_onbwcheck", 7.0, None, ())]
    assert pair.sent() == [(20, 0, ["_result", 7.0, None, None])]


@pytest.mark.parametrize("arguments", [(), ("text",)])
def test_status_without_information_is_a_call(arguments: tuple[Any, ...]) -> None:
    assert connected().tell("onStatus", 0.0, None, *arguments) == [
        events.Call(0, "onStatus", 0.0, None, arguments)
    ]


def test_pings_go_both_ways() -> None:
    pair = connected()
    pair.client.judged = []
    pair.client.receive_data(messages.user_control(messages.PING_REQUEST, 9))
    take(pair.client)
    assert pair.sent() == [(4, 0, bytes.fromhex("000700000009"))]
    pair.ask(events.Ping(5))
    assert pair.client.judged[-1][3] == bytes.fromhex("000700000005")


def test_received_bytes_are_acknowledged() -> None:
    pair = connected()
    pair.client.receive_data(messages.window_ack_size(1000))
    take(pair.client)
    pair.client.data_to_send()
    pair.client.receive_data(pack(6, 0, 9, 1, bytes(1000), 4096))
    assert [kind for kind, _, _ in pair.sent()] == [3]


def test_media_and_data_come_out_in_runs() -> None:
    pair = connected()
    tag = b"\x09\0\0\1" + bytes(7) + b"w" + bytes(4)
    data = pack(4, 1, 8, 1, b"a", 4096) + pack(6, 2, 9, 1, b"v", 4096) + pack(6, 3, 22, 1, tag, 4096)
    pair.client.receive_data(data)
    assert take(pair.client) == [[(8, 1, 1, b"a", 4), (9, 2, 1, b"v", 6)], [(9, 3, 1, b"w", 6)]]


def test_what_servers_say_is_not_a_clients_to_send() -> None:
    with pytest.raises(LocalProtocolError, match="Status is not a client's to send"):
        connected().client.send(events.Status(1, "status", "c", "d"))


def test_client_goes_on_after_a_pickle_at_any_moment() -> None:
    pair = Pair()
    for event in (events.ClientHello(), events.ConnectAsked(1.0, "a", {}), events.PublishAsked(1, "key")):
        pair.client.send(event)
        pair.client = pickle.loads(pickle.dumps(pair.client))
        pair.exchange()
        pair.client = pickle.loads(pickle.dumps(pair.client))
    assert pair.told == [events.ConnectAccepted(), events.PublishAccepted("started")]


def test_repr_shows_no_stream_name() -> None:
    pair = connected()
    pair.ask(events.PublishAsked(1, "a-secret"))
    assert "a-secret" not in repr(pair.client)
