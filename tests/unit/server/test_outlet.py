from __future__ import annotations

import os
import socket as plain
from collections.abc import Iterator

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.live.segment import Budget, Segment
from rtmpsrv.server.outlet import MAX_WAITING_REPLIES, Outlet, PlainTransport

PATIENCE_S = 5.0  # for what happens at once
BIG = bytes(range(256)) * 8192  # more than the socket of these tests takes


class Line:
    """An outlet on one end of a pair of sockets; the test reads the other."""

    def __init__(self, stall_s: float = PATIENCE_S) -> None:
        self.mine, self.peer = gsocket.socketpair()
        self.mine.setsockopt(plain.SOL_SOCKET, plain.SO_SNDBUF, 8192)
        self.mine.setblocking(False)
        self.peer.settimeout(PATIENCE_S)
        self.refusals: list[tuple[str, str]] = []
        self.outlet = Outlet(
            PlainTransport(self.mine), stall_s, lambda code, text: self.refusals.append((code, text))
        )

    def read(self, count: int) -> bytes:
        """Read exactly so many bytes; meanwhile the outlet's greenlet runs."""
        data = b""
        while len(data) < count:
            piece = self.peer.recv(min(65536, count - len(data)))
            assert piece, "closed too early"
            data += piece
        return data

    def read_to_end(self) -> bytes:
        data = b""
        while piece := self.peer.recv(65536):
            data += piece
        return data

    def close(self) -> None:
        self.outlet.close()
        self.mine.close()
        self.peer.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


class LogFeed:
    """A feed of messages in a segment, as a player is one, without its channel."""

    def __init__(self, outlet: Outlet, *messages: bytes) -> None:
        self.segment = Segment(0, 0, (), Budget(1 << 30))
        for message in messages:
            self.segment.append(message, 1, 0.0)
        self.offset = 0
        self.falls = 0
        self.outlet = outlet

    @property
    def at_boundary(self) -> bool:
        return self.segment.is_boundary(self.offset)

    def fall_behind(self) -> None:
        self.falls += 1

    def step(self, to_boundary: bool) -> bool | None:
        end = self.segment.size
        if self.offset == end:
            return None
        if to_boundary:
            end = self.segment.next_boundary(self.offset)
        count = end - self.offset
        sent = self.outlet.sendfile(self.segment.file(), self.offset, count)
        self.offset += sent
        return sent == count


def test_reply_is_written_at_once(line: Line) -> None:
    line.outlet.reply(b"one")
    line.outlet.reply(b"")
    line.outlet.reply(b"two")
    assert line.peer.recv(100) == b"onetwo"
    assert line.outlet.sent_bytes == 6


def test_offer_takes_all_and_says_whether_it_kept_some(line: Line) -> None:
    assert line.outlet.offer(b"small") is True
    assert line.outlet.offer(BIG) is False
    assert line.outlet.offer(b"behind") is False
    line.outlet.kick()
    assert line.read(5 + len(BIG) + 6) == b"small" + BIG + b"behind"
    assert line.outlet.drain(PATIENCE_S)
    assert line.outlet.sent_bytes == 5 + len(BIG) + 6
    assert line.outlet.offer(b"again") is True


def test_sendfile_sends_what_the_socket_takes(line: Line) -> None:
    segment = Segment(0, 0, (), Budget(1 << 30))
    segment.append(BIG, 1, 0.0)
    sent = line.outlet.sendfile(segment.file(), 0, len(BIG))
    assert 0 < sent < len(BIG)
    assert line.outlet.sendfile(segment.file(), sent, len(BIG) - sent) == 0
    assert line.read(sent) == BIG[:sent]
    assert line.outlet.sent_bytes == sent


def test_offer_to_a_full_socket_keeps_everything(line: Line) -> None:
    segment = Segment(0, 0, (), Budget(1 << 30))
    segment.append(BIG, 1, 0.0)
    sent = line.outlet.sendfile(segment.file(), 0, len(BIG))
    while more := line.outlet.sendfile(segment.file(), sent, len(BIG) - sent):
        sent += more
    assert line.outlet.offer(b"kept") is False
    line.outlet.kick()
    assert line.read(sent + 4) == BIG[:sent] + b"kept"


def test_sendfile_does_not_overtake_what_was_kept(line: Line) -> None:
    segment = Segment(0, 0, (), Budget(1 << 30))
    segment.append(b"message", 1, 0.0)
    line.outlet.offer(BIG)
    line.peer.recv(65536)
    assert line.outlet.sendfile(segment.file(), 0, 7) == 0


def test_answers_wait_for_the_end_of_a_message(line: Line) -> None:
    messages = [bytes((number,)) * 50_000 for number in range(1, 9)]
    line.outlet.feed = feed = LogFeed(line.outlet, *messages)
    line.outlet.kick()
    assert 0 < feed.offset < feed.segment.size
    line.outlet.reply(b"answer")
    data = line.read(sum(map(len, messages)) + 6)
    at = data.index(b"answer")
    assert at % 50_000 == 0
    assert at < 4 * 50_000
    assert data.replace(b"answer", b"") == b"".join(messages)


def test_outlet_can_be_full_again_and_again(line: Line) -> None:
    for _ in range(3):
        line.outlet.reply(BIG)
        assert line.outlet.drain(0) is False
        assert line.read(len(BIG)) == BIG
        assert line.outlet.drain(PATIENCE_S)
        line.outlet.reply(b"small")
        assert line.read(5) == b"small"
        gevent.idle()


def test_drain_of_nothing_is_done(line: Line) -> None:
    assert line.outlet.drain(0)


def test_answers_are_bounded(line: Line) -> None:
    line.outlet.offer(BIG)
    line.outlet.kick()
    for _ in range(MAX_WAITING_REPLIES):
        line.outlet.reply(b"x")
    assert line.outlet.failure is None
    line.outlet.reply(b"x")
    assert line.outlet.failure == f"{MAX_WAITING_REPLIES} answers not read"
    assert line.outlet.drain(0)


def test_peer_that_takes_nothing_is_given_up() -> None:
    line = Line(stall_s=0.01)
    line.outlet.reply(BIG)
    assert line.outlet.drain(PATIENCE_S)
    assert line.outlet.failure == "took nothing for 0.01 s"
    assert len(line.read_to_end()) < len(BIG)
    line.close()


@pytest.mark.parametrize("lane", ["offer", "reply", "sendfile"])
def test_dead_socket_fails_the_outlet_and_wakes_its_reader(line: Line, lane: str) -> None:
    line.peer.close()
    segment = Segment(0, 0, (), Budget(1 << 30))
    segment.append(b"message", 1, 0.0)
    for _ in range(2):
        if lane == "offer":
            assert line.outlet.offer(b"x") is False
        elif lane == "reply":
            line.outlet.reply(b"x")
        else:
            assert line.outlet.sendfile(segment.file(), 0, 7) == 0
    assert line.outlet.failure == "write failed: Broken pipe"
    line.outlet.kick()
    assert line.outlet.drain(0)
    assert os.read(line.mine.fileno(), 1) == b""


def test_first_reason_of_a_failure_counts(line: Line) -> None:
    line.outlet.fail("first")
    line.outlet.fail("second")
    assert line.outlet.failure == "first"
    line.outlet.reply(b"never")
    assert line.outlet.offer(b"never") is False
    assert line.read_to_end() == b""


def test_failure_while_the_greenlet_waits_ends_it(line: Line) -> None:
    line.outlet.reply(BIG)
    gevent.idle()
    line.outlet.fail("enough")
    assert line.outlet.drain(0)
    assert len(line.read_to_end()) < len(BIG)


def test_socket_is_shut_down_when_everything_was_written(line: Line) -> None:
    line.outlet.reply(BIG)
    line.outlet.end_when_empty()
    assert line.read_to_end() == BIG


def test_socket_is_shut_down_at_once_where_nothing_waits(line: Line) -> None:
    line.outlet.end_when_empty()
    assert line.read_to_end() == b""


def test_refusal_of_the_host_reaches_the_session(line: Line) -> None:
    line.outlet.refuse("code", "description")
    assert line.refusals == [("code", "description")]


def test_closed_outlet_writes_nothing_more(line: Line) -> None:
    line.outlet.reply(BIG)
    gevent.idle()
    line.outlet.close()
    line.outlet.close()
    assert line.outlet.failure == "closed"
    line.outlet.reply(b"never")
    line.outlet.kick()
    assert line.outlet.offer(b"never") is False


def test_shutdown_of_a_dead_socket_does_not_raise(line: Line) -> None:
    transport = PlainTransport(line.mine)
    line.peer.close()
    transport.shutdown()
    line.mine.close()
    transport.shutdown()


def test_a_reply_that_the_full_socket_refuses_takes_the_feed_off_the_fast_lane(line: Line) -> None:
    feed = LogFeed(line.outlet)
    line.outlet.feed = feed
    line.outlet.reply(b"small")
    assert feed.falls == 0
    line.outlet.reply(BIG)
    assert feed.falls == 1
    assert line.read(5 + len(BIG)) == b"small" + BIG


def test_coalescing_turns_nodelay_off() -> None:
    with gsocket.create_server(("127.0.0.1", 0)) as listener:
        sock = gsocket.create_connection(listener.getsockname())
        sock.setsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY, 1)
        outlet = Outlet(PlainTransport(sock), PATIENCE_S, lambda code, text: None)
        outlet.coalesce()
        outlet.coalesce()
        assert not sock.getsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY)
        outlet.close()
        sock.close()
        outlet.coalesce()  # a dead socket is no error
