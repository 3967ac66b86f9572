"""Answers on paper; over a connection they are in the tests of the session."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gevent.event import Event
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage

from rtmpsrv.errors import PeerLost
from rtmpsrv.server.host import Client
from rtmpsrv.server.http import reply as reply_module
from rtmpsrv.server.http.errand import Errand
from rtmpsrv.server.http.frames import PING, frame
from rtmpsrv.server.http.head import BadRequest, Head, read_head
from rtmpsrv.server.http.reply import MAX_PIECE_BYTES, Answered, Reply
from rtmpsrv.server.http.session import WRITE_AHEAD_BYTES
from rtmpsrv.server.http.state import begin
from rtmpsrv.server.session_state import SessionSettings
from tests.unit.server.http.test_frames import KEY, PROOF


class Paper:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.left = Event()
        state = begin(Client(7, "192.0.2.1", 8080, False), SessionSettings(), 0.0)
        self.errand = Errand(state, self.left, lambda: False)
        self.written = b""
        self.puts: list[bytes] = []  # what goes out together
        self.goodbyes: list[tuple[int, str]] = []
        self.hears: Callable[[str], None] | None = None
        self.listens = self.gone = False
        self.looks = 0

    def put(self, data: bytes, head: bytes = b"") -> None:
        self.puts.append(head + data)
        self.written += head + data

    def converse(self, heard: Callable[[str], None]) -> None:
        self.hears = heard

    def listen(self) -> None:
        self.listens = True

    def has_left(self) -> bool:
        self.looks += 1
        return self.gone

    def say_goodbye(self, code: int, why: str) -> None:
        self.goodbyes.append((code, why))


def asked(method: str = "GET", *lines: str, version: str = "1.1") -> Head:
    raw = [f"{method} / HTTP/{version}", "Host: x", *lines, "", ""]
    return read_head("\r\n".join(raw).encode())


def reply(paper: Paper, head: Head | None = None, *, keeps: bool = True) -> Reply:
    return Reply(paper, head or asked(), [("X-Shared", "1")], keeps=keeps)


def lines(paper: Paper) -> list[bytes]:
    return paper.written.partition(b"\r\n\r\n")[0].split(b"\r\n")


def body(paper: Paper) -> bytes:
    return paper.written.partition(b"\r\n\r\n")[2]


def test_a_whole_answer() -> None:
    paper = Paper()
    one = reply(paper)
    one.send(200, b"abc", "text/x", [("X-Own", "2")])
    one.finish()
    assert lines(paper)[0] == b"HTTP/1.1 200 OK"
    assert set(lines(paper)) >= {
        b"Content-Type: text/x", b"Content-Length: 3", b"X-Own: 2", b"X-Shared: 1", b"Connection: keep-alive",
    }  # fmt: skip
    assert body(paper) == b"abc"


def test_a_whole_answer_may_come_in_pieces() -> None:
    paper = Paper()
    reply(paper).send(200, (b"abc", b"", b"de"))
    assert b"Content-Length: 5" in lines(paper)
    assert body(paper) == b"abcde"


def test_small_pieces_go_out_together_and_large_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "MAX_JOINED_BYTES", 4)
    paper = Paper()
    reply(paper).send(200, (b"ab", b"cd", b"e", b"large", b"f", b"", b"gh"))
    assert paper.puts[0].endswith(b"\r\n\r\nabcd")
    assert paper.puts[1:] == [b"e", b"large", b"fgh"]


def test_a_large_answer_is_not_copied_and_goes_out_with_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "MAX_JOINED_BYTES", 4)
    paper = Paper()
    given: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(paper, "put", lambda data, head=b"": given.append((data, head)))
    body = b"large"
    reply(paper).send(200, body)
    assert len(given) == 1
    assert given[0][0] is body
    assert given[0][1].endswith(b"\r\n\r\n")


def test_the_answer_to_head_has_the_same_head_and_nothing_more() -> None:
    full, bare = Paper(), Paper()
    reply(full).send(200, b"abc")
    reply(bare, asked("HEAD")).send(200, b"abc")
    assert lines(full) == lines(bare)
    assert body(bare) == b""


@pytest.mark.parametrize("status", [204, 304])
def test_some_have_no_body(status: int) -> None:
    paper = Paper()
    reply(paper, keeps=False).send(status, b"abc")
    assert body(paper) == b""
    assert not any(line.startswith(b"Content-") for line in lines(paper))
    assert b"Connection: close" in lines(paper)


def test_a_stream_is_in_chunks_where_they_are_known() -> None:
    paper, old, raw = Paper(), Paper(), Paper()
    for where, head, chunked in ((paper, None, True), (old, asked(version="1.0"), True), (raw, None, False)):
        one = reply(where, head)
        one.begin(200, "video/x", chunked=chunked)
        assert not one.keeps
        one.write(b"abc")
        one.write(b"")
        one.finish()
        one.finish()
    assert body(paper) == b"3\r\nabc\r\n0\r\n\r\n"
    assert body(old) == body(raw) == b"abc"
    assert paper.listens


def test_only_the_head_of_a_stream() -> None:
    paper = Paper()
    with pytest.raises(Answered):
        reply(paper, asked("HEAD")).begin(200, "video/x")
    assert lines(paper)[0] == b"HTTP/1.1 200 OK"


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)


def test_a_websocket() -> None:
    paper = Paper()
    one = reply(paper, asked("GET", *UPGRADE))
    one.accept()
    assert lines(paper) == [
        b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + PROOF.encode(),
    ]  # fmt: skip
    assert paper.hears is not None
    paper.hears("to nobody")
    heard: list[str] = []
    one.heard = heard.append
    paper.hears("x")
    assert heard == ["x"]
    one.write(b"ab")
    one.write_text("ä")
    assert body(paper) == b"\x82\x02ab\x81\x02\xc3\xa4"
    one.close(1008, "no")
    one.close(1008, "no")
    one.finish()
    assert paper.goodbyes == [(1008, "no")]


def test_a_ping_may_come_in_the_middle_of_what_is_large() -> None:
    class Pinging(Paper):
        def put(self, data: bytes, head: bytes = b"") -> None:
            assert len(head) + len(data) <= WRITE_AHEAD_BYTES, "it goes out as a whole"
            super().put(data + frame(PING, 0) * self.listens, head)

    paper = Pinging()
    one = reply(paper, asked("GET", *UPGRADE))
    one.accept()
    sent = bytes(range(256)) * (MAX_PIECE_BYTES // 100)
    one.write(sent)
    one.write(b"next")
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(body(paper))
    messages = [b""]
    for event in client.events():
        if isinstance(event, BytesMessage):
            messages[-1] += event.data
            if event.message_finished:
                messages.append(b"")
    assert messages == [sent, b"next", b""]
    assert client.state is ConnectionState.OPEN


def test_what_is_large_is_several_chunks() -> None:
    paper = Paper()
    one = reply(paper)
    one.begin(200, "video/x")
    one.write(bytes(MAX_PIECE_BYTES + 1))
    assert body(paper) == b"20000\r\n" + bytes(MAX_PIECE_BYTES) + b"\r\n1\r\n\0\r\n"


def test_the_end_of_a_handler_is_the_end_of_a_websocket() -> None:
    paper = Paper()
    one = reply(paper, asked("GET", *UPGRADE))
    one.accept()
    one.finish()
    assert paper.goodbyes == [(1000, "the stream is over")]


@pytest.mark.parametrize("without", range(2))
def test_what_is_no_request_for_one(without: int) -> None:
    given = [line for number, line in enumerate(UPGRADE) if number != without + 1]
    with pytest.raises(BadRequest):
        reply(Paper(), asked("GET", *given)).accept()
    with pytest.raises(BadRequest):
        reply(Paper(), asked("HEAD", *UPGRADE)).accept()


def test_another_version_is_told_which_there_is() -> None:
    with pytest.raises(BadRequest) as caught:
        reply(Paper(), asked("GET", *UPGRADE[:-1], "Sec-WebSocket-Version: 8")).accept()
    assert caught.value.status == 426


def test_waiting_ends_with_the_viewer() -> None:
    paper = Paper()
    one = reply(paper)
    event = Event()
    assert not one.wait(event, 0.0)
    assert not paper.listens, "an answer that has not begun may be one of many"
    event.set()
    assert one.wait(event)
    one.begin(200, "video/x")
    paper.left.set()
    with pytest.raises(PeerLost):
        one.wait(event)
    with pytest.raises(PeerLost):
        one.write(b"x")
    assert one.left is paper.left


def test_who_leaves_before_there_is_an_answer_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "FIRST_LOOK_S", 0.0)
    monkeypatch.setattr(reply_module, "LOOK_EVERY_S", 0.001)
    paper = Paper()
    one = reply(paper)
    assert not one.wait(Event(), 0.02)
    assert paper.looks > 1
    assert not paper.listens, "what comes may be the next request"
    paper.gone = True
    with pytest.raises(PeerLost):
        one.wait(Event())


def test_what_is_there_is_not_waited_for() -> None:
    paper = Paper()
    event = Event()
    event.set()
    assert reply(paper).wait(event, 0)
    assert not reply(paper).wait(Event(), 0)
    assert paper.looks == 0
