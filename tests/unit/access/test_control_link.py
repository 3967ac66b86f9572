from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest
from websocket import ABNF

from rtmpsrv import log
from rtmpsrv.access import control_link
from rtmpsrv.access.control_link import ControlLink, ControlSocket
from rtmpsrv.access.gate import PublishRequest
from rtmpsrv.server.turns import Turns
from tests.doubles.control_server import PATH, ControlServer, Link
from tests.doubles.secrets import KEY

from .conftest import LogLines, longest_turn_s


class Served:
    """A link that runs, and the other end of it."""

    def __init__(self, server: ControlServer, heartbeat_s: float = 20.0, silence_s: float = 60.0) -> None:
        socket = ControlSocket(None, Turns().share())
        socket.connect(f"{server.url}{PATH}", timeout=5)  # type: ignore[no-untyped-call]
        self.kills: list[tuple[str, str | None]] = []
        self.killing = True
        self.link = ControlLink(socket, log.get("CONTROL/CLIENT"), self.kill)
        self.far: Link = server.wait_for_link()
        self.greenlet = gevent.spawn(self.link.run, heartbeat_s, silence_s)

    def kill(self, channel: str, stream_id: str | None) -> bool:
        self.kills.append((channel, stream_id))
        return self.killing

    def end(self) -> str:
        return str(self.greenlet.get(timeout=4))


@pytest.fixture
def server() -> Iterator[ControlServer]:
    with ControlServer() as running:
        yield running


@pytest.fixture
def served(server: ControlServer) -> Iterator[Served]:
    one = Served(server)
    yield one
    one.greenlet.kill()
    one.link.hang_up()


def test_a_ping_is_answered_by_the_greenlet_that_writes(server: ControlServer, served: Served) -> None:
    assert served.far.connection.ping(b"hello").wait(4)


def test_a_message_above_the_limit_ends_the_link(
    server: ControlServer, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_link, "MAX_MESSAGE_BYTES", 1000)
    server.send_text(served.far, "X" * 1000)
    assert served.far.connection.ping().wait(4)
    server.send_text(served.far, "X" * 1001)
    assert served.end() == "cannot read (WebSocketPayloadException)"


def test_fragments_above_the_limit_end_the_link(
    server: ControlServer, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_link, "MAX_MESSAGE_BYTES", 1000)
    first, rest = (
        b"\x01\x7d" + b"x" * 125,
        b"\x00\x7d" + b"x" * 125,
    )  # a text frame and continuations, none final
    server.send_raw(served.far, first + rest * 7)
    gevent.sleep(0.05)
    assert not served.greenlet.ready()
    server.send_raw(served.far, rest)
    assert served.end() == "cannot read (WebSocketPayloadException)"


def test_bytes_that_are_no_frame_end_the_link(server: ControlServer, served: Served) -> None:
    server.send_raw(served.far, b"\xff" * 64)
    assert served.end().startswith("cannot read")


def frame(opcode: int, data: bytes, first_bits: int = 0x80) -> bytes:
    """A short frame as the control server sends it; `first_bits`: final by default."""
    assert len(data) < 126
    return bytes([first_bits | opcode, len(data)]) + data


def alive(served: Served) -> bool:
    """Whether the link still answers."""
    return served.far.connection.ping().wait(4)


@pytest.mark.parametrize(
    "wrong",
    [
        frame(ABNF.OPCODE_TEXT, b"", 0xC0),  # a reserved bit
        frame(3, b"x"),
        frame(ABNF.OPCODE_PING, b"x", 0),  # in fragments
        frame(ABNF.OPCODE_CONT, b"of nothing"),
        frame(ABNF.OPCODE_CLOSE, b"1"),
        b"\x89\x7e\x00\x7e" + b"x" * 126,  # a ping that is too long
    ],
)
def test_a_frame_that_is_wrong_is_ignored_and_told(
    server: ControlServer, served: Served, log_lines: LogLines, wrong: bytes
) -> None:
    for _ in range(3):
        server.send_raw(served.far, wrong)
    server.kill("news")
    assert alive(served)
    assert served.kills == [("news", None)]
    assert log_lines.count("WARNING 1 frames that are wrong ignored") == 1
    assert log_lines.count("wrong") == 1  # the other two within the same second


def test_text_that_is_no_utf_8_is_ignored_and_told(
    server: ControlServer, served: Served, log_lines: LogLines
) -> None:
    for _ in range(3):
        server.send_raw(served.far, frame(ABNF.OPCODE_TEXT, b"STREAM-KILL\nStream-Channel: \xff"))
    server.kill("news")
    assert alive(served)
    assert served.kills == [("news", None)]
    assert log_lines.count("WARNING 1 messages that are no UTF-8 ignored") == 1


@pytest.mark.parametrize(
    "flood",
    [
        frame(ABNF.OPCODE_TEXT, b"STREAM-KILL\nStream-Channel: nobody"),
        frame(ABNF.OPCODE_TEXT, b"PUBLISH-ACCEPT\nRequest-ID: 7\nStream-ID: x"),
        frame(ABNF.OPCODE_TEXT, b"PUBLISH-DENY\nRequest-ID: 7"),
        frame(ABNF.OPCODE_TEXT, b"PUBLISH-DENY\nRequest-ID: x"),
        frame(ABNF.OPCODE_TEXT, b"ERROR\nError-Code: 1"),
        frame(ABNF.OPCODE_TEXT, b"SOMETHING"),
        frame(ABNF.OPCODE_TEXT, b""),
        frame(ABNF.OPCODE_PING, b"p" * 100),
        frame(ABNF.OPCODE_CONT, b"", 0),
    ],
)
def test_a_flood_lets_others_run_and_is_told_once_a_second(
    server: ControlServer, served: Served, log_lines: LogLines, flood: bytes
) -> None:
    served.killing = False
    if flood[0] & 15 == ABNF.OPCODE_CONT:
        server.send_raw(served.far, frame(ABNF.OPCODE_TEXT, b"", 0))
    before = len(log_lines.lines)
    sending = gevent.spawn(server.send_raw, served.far, flood * 5000)
    longest_s = longest_turn_s(0.3)
    assert longest_s < 0.05  # a turn is some ms
    assert not served.greenlet.ready()
    assert len(log_lines.lines) - before <= 2
    sending.kill()


def test_the_newest_of_several_pings_is_answered(served: Served) -> None:
    socket = served.link._socket
    for payload in (b"1", b"2", b"3"):  # no switch in between: the writer waits
        socket.pong(payload)
    assert served.link._queue.qsize() == 1
    assert served.link._pong == b"3"
    socket.pong("4")
    assert served.link._pong == b"4"
    assert served.link.written.wait(4)
    assert served.link._pong is None


def test_the_limit_of_a_message_is_kept_where_the_socket_is_read() -> None:
    socket = ControlSocket(None, Turns().share())
    assert socket.sock is None
    near, far = gevent.socket.socketpair()
    with near, far:
        socket.sock = near
        assert socket.sock is not None
        assert socket.sock.fileno() == near.fileno()
        socket.sock = None
        assert socket.sock is None


def test_a_queue_that_is_full_ends_the_link(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_link, "MAX_QUEUED", 2)
    served = Served(server)
    for _ in range(3):  # no switch in between: the writer has not begun
        served.link.send_end("news", "abc")
    assert served.end() == "2 messages wait to be written"
    served.link.hang_up()


def test_silence_ends_the_link_and_what_comes_prevents_it(server: ControlServer) -> None:
    served = Served(server, silence_s=0.4)
    started = time.monotonic()
    gevent.sleep(0.25)
    server.send(served.far, "HEARTBEAT")
    assert served.end() == "silent for 0.4 s"
    assert time.monotonic() - started > 0.6
    served.link.hang_up()


def test_trickling_bytes_are_silence(server: ControlServer) -> None:
    served = Served(server, silence_s=0.4)

    def trickle() -> None:
        server.send_raw(served.far, b"\x81\x7d")  # a frame of 125 bytes
        while True:
            server.send_raw(served.far, b"x")
            gevent.sleep(0.05)

    trickling = gevent.spawn(trickle)
    try:
        assert served.end() == "silent for 0.4 s"
    finally:
        trickling.kill()
        served.link.hang_up()


def test_requests_given_up_are_bounded(
    server: ControlServer, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_link, "MAX_GIVEN_UP", 2)
    for number in (1, 2, 3):
        answer = served.link.ask(number, PublishRequest(f"mute{number}", KEY, "::1"))
        served.link.abandon(number, f"mute{number}", answer)
    requests = server.wait_for("PUBLISH-REQUEST", 3)
    for request in requests:
        server.accept(served.far, request)
    ends = server.wait_for("PUBLISH-END", 2)
    assert [end["Stream-Channel"] for end in ends] == ["mute2", "mute3"]


def test_an_answer_that_came_unused_is_taken_back(server: ControlServer, served: Served) -> None:
    answer = served.link.ask(1, PublishRequest("news", KEY, "::1"))
    assert answer.wait(4)
    served.link.abandon(1, "news", answer)
    (end,) = server.wait_for("PUBLISH-END")
    assert end["Stream-ID"] == answer.value


def test_refuse_all_answers_who_waits(served: Served) -> None:
    answer = served.link.ask(1, PublishRequest("mute", KEY, "::1"))
    served.link.refuse_all()
    assert answer.ready()
    assert answer.value is None


def test_a_handler_with_a_bug_ends_the_link(
    server: ControlServer, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(channel: str, stream_id: str | None) -> bool:
        raise ZeroDivisionError

    served.link._on_stream_kill = bug
    server.kill("news")
    assert served.end() == "internal error"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_what_was_queued_is_written_before_the_good_bye(
    server: ControlServer, served: Served, log_lines: LogLines
) -> None:
    server.send(served.far, "HEARTBEAT")  # unread bytes on our side would turn a plain close into a reset
    for number in range(100):
        served.link.send_end(f"c{number}", "abc")
    assert served.link.written.wait(4)
    served.greenlet.kill()
    served.link.hang_up()
    assert len(server.wait_for("PUBLISH-END", 100)) == 100
    assert server.wait_for_loss(served.far)
