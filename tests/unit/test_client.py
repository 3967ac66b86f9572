from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtmpsrv import client as client_module
from rtmpsrv import errors
from rtmpsrv.client import Client, ClientSettings, connect, open_client
from rtmpsrv.errors import ConnectionClosed, RemoteProtocolError, RequestRefused
from rtmpsrv.protocol import amf0, events, messages
from rtmpsrv.protocol.chunks import Limits, pack
from rtmpsrv.protocol.connection import ServerConnection
from rtmpsrv.protocol.link import MediaMessage

QUICK = ClientSettings(answer_s=0.05)


class Server:
    """A server for one client on the other end of a socket pair; says yes unless told what to say."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.connection = ServerConnection(4096)
        self.asked: list[Any] = []
        self.media: list[MediaMessage] = []
        self.error: Exception | None = None
        self.on: dict[type, Callable[[], bytes]] = {}  # bytes to send behind the answer
        self.say: dict[type, Callable[[], events.Event | None]] = {
            events.ConnectAsked: events.ConnectAccepted,
            events.PublishAsked: lambda: events.PublishAccepted("started"),
            events.PublishStopAsked: lambda: events.PublishEnded("ended"),
            events.PlayAsked: events.PlayAccepted,
            events.PlayStopAsked: lambda: events.PlayEnded("stopped"),
        }
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def serve(self) -> None:
        with self.socket:
            try:
                while data := self.socket.recv(65536):
                    self.receive(data)
            except OSError as exc:
                self.error = exc

    def receive(self, data: bytes) -> None:
        self.connection.receive_data(data)
        while self.connection.backlog:
            for event in self.connection.events():
                self.act(event)
        self.socket.sendall(self.connection.data_to_send())

    def act(self, event: Any) -> None:
        if isinstance(event, list):
            self.media += event
            return
        self.asked.append(event)
        if type(event) in self.say and (answer := self.say[type(event)]()) is not None:
            self.connection.send(answer)
        if type(event) in self.on:
            self.socket.sendall(self.connection.data_to_send() + self.on[type(event)]())
        if isinstance(event, events.Refused):
            self.socket.shutdown(socket.SHUT_WR)


@pytest.fixture
def pair() -> Iterator[tuple[Server, socket.socket]]:
    theirs, ours = socket.socketpair()
    server = Server(theirs)
    server.thread.start()
    yield server, ours
    ours.close()
    server.thread.join(5)
    assert not server.thread.is_alive()


@pytest.fixture
def server(pair: tuple[Server, socket.socket]) -> Server:
    return pair[0]


@pytest.fixture
def client(pair: tuple[Server, socket.socket]) -> Client:
    made = Client(pair[1], url="rtmp://test:1935")
    made.shake_hands()
    return made


def status(level: str, code: str, msid: int = 1) -> bytes:
    information = {"level": level, "code": code, "description": "why"}
    return pack(3, 0, 20, msid, amf0.encode("onStatus", 0.0, None, information), 4096)


def finish(server: Server, client: Client) -> None:
    """Close the client and wait until the server has seen everything."""
    client.close()
    server.thread.join(5)


# --- sequences ------------------------------------------------------------------------------------


def test_publisher_gets_on_the_air_and_off_again(server: Server, client: Client) -> None:
    assert client.connect("live", pageUrl="x")["code"] == "NetConnection.Connect.Success"
    client.publish("key", "record")
    client.send_data("@setDataFrame", "onMetaData", {"width": 1.0})
    client.send_audio(1, b"a" * 5000)
    client.send_video(0x1000000, b"v" * 5000)
    client.send_bytes(pack(6, 9, 9, 1, b"ready", 4096) * 2)
    client.stop_publishing()
    finish(server, client)
    connected, published, stopped = server.asked
    assert connected.properties["tcUrl"] == "rtmp://test:1935/live"
    assert (connected.app, connected.properties["pageUrl"]) == ("live", "x")
    assert (published, stopped) == (events.PublishAsked(1, "key", "record"), events.PublishStopAsked())
    assert [(kind, stamp, len(body)) for kind, stamp, _, body, _ in server.media[1:]] == [
        (8, 1, 5000),
        (9, 0x1000000, 5000),
        (9, 9, 5),
        (9, 9, 5),
    ]
    assert client.sent_bytes > 10_000
    assert client.received_bytes > 3073


def test_player_reads_until_the_server_closes(server: Server, client: Client) -> None:
    frames = pack(4, 1, 8, 1, b"a", 4096) + pack(6, 2, 9, 1, b"v", 4096)
    server.on[events.PlayAsked] = lambda: status("status", "NetStream.Play.Start") + frames
    server.on[events.PauseAsked] = lambda: status("status", "NetStream.Pause.Notify")
    client.connect("live")
    client.play("key")
    client.receive_audio(False)
    client.receive_video(True)
    client.pause()
    assert [client.read().payload, client.read().payload] == [b"a", b"v"]
    client.stop_playing()
    assert client.inbox.statuses[-1].code == "NetStream.Pause.Notify"
    server.socket.shutdown(socket.SHUT_WR)
    assert list(client.messages()) == []
    with pytest.raises(ConnectionClosed, match="closed by the server"):
        client.read()
    finish(server, client)
    assert server.asked[2:] == [
        events.ReceiveAsked(True, False),
        events.ReceiveAsked(False, True),
        events.PauseAsked(True),
        events.PlayStopAsked(),
    ]


def test_messages_are_yielded_while_they_come(server: Server, client: Client) -> None:
    server.on[events.PlayAsked] = lambda: pack(6, 2, 9, 1, b"v", 4096)
    client.connect("live")
    client.play("key", wait=False)
    assert next(client.messages()).payload == b"v"


def test_publish_and_play_on_streams_that_exist(server: Server, client: Client) -> None:
    server.on[events.PlayAsked] = lambda: status("status", "NetStream.Play.Start", 2)
    client.connect("live")
    assert [client.create_stream(), client.create_stream()] == [1, 2]
    client.publish("key", msid=1)
    client.play("key", msid=2)
    client.delete_stream(1)
    client.close_stream(2)
    client.close_stream(3)
    client.wait_result(client.call("releaseStream", "key"))
    assert server.asked[1:] == [
        events.PublishAsked(1, "key"),
        events.PlayAsked(2, "key"),
        events.PublishStopAsked(),
        events.PlayStopAsked(),
    ]
    assert server.connection.live_streams == {2}


def test_calls_have_results(server: Server, client: Client) -> None:
    client.connect("live")
    assert client.wait_result(client.call("getStreamLength", "key")) == (0.0,)
    transaction = client.call("FCPublish", "key")
    assert len(client.wait_result(transaction)) == 1
    assert client.wait_result(client.call("unknown")) != ()
    assert [call.name for call in client.inbox.calls] == ["onFCPublish"]


def test_all_messages_can_be_read(pair: tuple[Server, socket.socket]) -> None:
    pair[0].on[events.PlayAsked] = lambda: pack(6, 2, 9, 1, b"v", 4096)
    client = Client(pair[1], ClientSettings(every_message=True))
    client.shake_hands()
    client.connect("live")
    client.ping(7)
    assert [client.read().type_id for _ in range(4)] == [5, 6, 1, 20]
    assert client.read().payload == bytes.fromhex("000700000007")
    client.ask_play("key", 1)
    assert client.read().payload == b"v"


def test_client_may_be_rude(pair: tuple[Server, socket.socket]) -> None:
    ping = messages.user_control(messages.PING_REQUEST, 9)
    pair[0].on[events.ConnectAsked] = lambda: messages.window_ack_size(10) + ping
    client = Client(pair[1], ClientSettings(courteous=False, chunk_size=128))
    client.shake_hands()
    client.connect("live")
    sent = client.sent_bytes
    client.create_stream()
    assert client.sent_bytes - sent == len(pack(3, 0, 20, 0, amf0.encode("createStream", 2.0, None)))


# --- refusals, ends and bounds --------------------------------------------------------------------


def test_refusals_carry_the_code(server: Server, client: Client) -> None:
    server.say[events.PublishAsked] = lambda: events.PublishRefused("NetStream.Publish.BadName", "why")
    client.connect("live")
    with pytest.raises(RequestRefused, match=r"NetStream.Publish.BadName: why") as caught:
        client.publish("key")
    assert caught.value.code == "NetStream.Publish.BadName"


def test_rejected_connect_is_refused(server: Server, client: Client) -> None:
    server.say[events.ConnectAsked] = lambda: events.ConnectRejected("c", "d")
    with pytest.raises(RequestRefused, match="c: d"):
        client.connect("live")


def test_player_that_waits_is_refused_while_it_reads(server: Server, client: Client) -> None:
    server.on[events.PlayAsked] = lambda: status("error", "NetStream.Play.Failed")
    client.connect("live")
    client.play("key", wait=False)
    with pytest.raises(RequestRefused, match=r"NetStream.Play.Failed"):
        client.read()


def test_silence_has_a_deadline(pair: tuple[Server, socket.socket]) -> None:
    pair[0].say[events.ConnectAsked] = lambda: None
    client = Client(pair[1], QUICK)
    client.shake_hands()
    with pytest.raises(TimeoutError, match="in time"):
        client.connect("live")
    with pytest.raises(TimeoutError, match="in time"):
        client.read(0.0)


def test_server_that_reads_nothing_has_a_deadline() -> None:
    theirs, ours = socket.socketpair()
    with theirs, Client(ours, QUICK) as client, pytest.raises(TimeoutError):
        client.send_bytes(bytes(1 << 26))


def test_lost_connection_is_closed() -> None:
    theirs, ours = socket.socketpair()
    client = Client(ours)
    theirs.close()
    with pytest.raises(ConnectionClosed, match="lost"):
        client.send_bytes(b"x")
    client.close()
    with pytest.raises(ConnectionClosed, match="lost"):
        client.read()


def test_answer_behind_which_the_server_closed_counts() -> None:
    theirs, ours = socket.socketpair()
    client = Client(ours)
    client.say_hello()
    theirs.sendall(b"\3" + theirs.recv(4096)[1:] + bytes(1536))
    client.finish_handshake()
    client.ask_connect("live")
    theirs.sendall(pack(3, 0, 20, 0, amf0.encode("_result", 1.0, None, {"code": "c"})))
    theirs.close()  # the chunk size that the client announces finds nobody
    assert client.wait_connected() == {"code": "c"}
    client.close()


def test_messages_that_nobody_reads_are_bounded(pair: tuple[Server, socket.socket]) -> None:
    pair[0].on[events.PlayAsked] = lambda: pack(6, 2, 9, 1, bytes(101), 4096)
    client = Client(pair[1], ClientSettings(inbox_bytes=100))
    client.shake_hands()
    client.connect("live")
    with pytest.raises(RemoteProtocolError, match="101 bytes received and not read, limit 100"):
        client.play("key")


def test_messages_of_the_server_are_bounded(pair: tuple[Server, socket.socket]) -> None:
    limits = Limits(media_bytes=100)
    pair[0].on[events.PlayAsked] = lambda: pack(6, 2, 9, 1, bytes(101), 4096)
    client = Client(pair[1], ClientSettings(limits=limits))
    client.shake_hands()
    client.connect("live")
    with pytest.raises(RemoteProtocolError, match="101 bytes, limit 100"):
        client.play("key")


# --- opening --------------------------------------------------------------------------------------


class Dialler:
    """Stands in for `socket.create_connection`."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.called: list[Any] = []

    def __call__(self, address: tuple[str, int], timeout_s: float) -> Any:
        self.called.append((address, timeout_s))
        return self

    def setsockopt(self, *option: int) -> None:
        self.called.append(option)

    def close(self) -> None:
        self.called.append("closed")
        self.socket.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)


class Wrapper:
    """Stands in for a TLS context."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.names: list[str | None] = []

    def wrap_socket(self, sock: Any, server_hostname: str | None) -> Any:
        if self.fails:
            raise OSError("no TLS")
        self.names.append(server_hostname)
        return sock


def test_connect_does_it_all(pair: tuple[Server, socket.socket]) -> None:
    dialler = Dialler(pair[1])
    settings = ClientSettings(connect_s=3.0)
    with connect("host", 1935, "live", settings=settings, create_connection=dialler) as client:
        client.create_stream()
    assert dialler.called == [(("host", 1935), 3.0), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), "closed"]
    assert pair[0].asked[0].properties["tcUrl"] == "rtmp://host:1935/live"


def test_connect_that_fails_closes(pair: tuple[Server, socket.socket]) -> None:
    pair[0].say[events.ConnectAsked] = lambda: events.ConnectRejected("c", "d")
    dialler = Dialler(pair[1])
    with pytest.raises(RequestRefused):
        connect("host", 1935, "live", create_connection=dialler)
    assert dialler.called[-1] == "closed"


@pytest.mark.parametrize(("name", "expected"), [(None, "host"), ("other", "other")])
def test_rtmps_names_the_server(pair: tuple[Server, socket.socket], name: str | None, expected: str) -> None:
    tls: Any = Wrapper()
    connect("host", 443, "a", tls=tls, server_name=name, create_connection=Dialler(pair[1]))
    assert tls.names == [expected]
    assert pair[0].asked[0].properties["tcUrl"] == "rtmps://host:443/a"


def test_failed_tls_closes(pair: tuple[Server, socket.socket]) -> None:
    dialler = Dialler(pair[1])
    tls: Any = Wrapper(fails=True)
    with pytest.raises(OSError, match="no TLS"):
        open_client("host", 443, tls=tls, create_connection=dialler)
    assert dialler.called[-1] == "closed"


def test_user_control_of_the_server_is_no_event(server: Server, client: Client) -> None:
    server.on[events.ConnectAsked] = lambda: messages.user_control(messages.STREAM_BEGIN, 0)
    client.connect("live")
    assert client.create_stream() == 1


def test_the_errors_of_a_client_can_be_had_beside_it() -> None:
    for name in ("ConnectionClosed", "RemoteProtocolError", "RequestRefused"):
        assert getattr(client_module, name) is getattr(errors, name)
