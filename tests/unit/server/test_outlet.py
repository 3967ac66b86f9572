from __future__ import annotations

import logging
import os
import pickle
import socket as plain
import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.live.player import EVERYTHING, Player, PlayerState
from rtmpsrv.server import outlet as outlet_module
from rtmpsrv.server.held import ANSWERS
from rtmpsrv.server.outlet import (
    MAX_ANSWER_BYTES,
    MAX_COURTESY_BYTES,
    UNREAD_BYTES,
    Outlet,
    OutletState,
)
from rtmpsrv.server.transport import PlainTransport
from rtmpsrv.server.turns import TURN_S
from tests.unit.live.stage import AVC, framed, inter, key
from tests.unit.live.stage import Stage as House
from tests.unit.server.far_end import FarEnd
from tests.unit.server.stage import FakeBudget, FakeFeed, eventually

PATIENCE_S = 5.0  # for what happens at once
BIG = bytes(range(256)) * 8192  # more than the socket of these tests takes


class Holder:
    """The session that owns an outlet."""

    def __init__(self) -> None:
        self.log = log.get("TEST")
        self.dropped: list[str] = []

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


class Line(FarEnd):
    """An outlet on one end of a pair of sockets; the test reads the other."""

    def __init__(self, stall_s: float = PATIENCE_S) -> None:
        self.holder = Holder()
        self.budget = FakeBudget()
        self.stall_s = stall_s
        self.mine, self.peer = gsocket.socketpair()
        self.mine.setsockopt(plain.SOL_SOCKET, plain.SO_SNDBUF, 8192)
        self.mine.setblocking(False)
        self.peer.settimeout(PATIENCE_S)
        self.outlet = self.make()

    def make(self, state: OutletState | None = None) -> Outlet:
        return Outlet(PlainTransport(self.mine), self.holder, self.budget, self.stall_s, state)

    def fill(self) -> bytes:
        """Write until the socket takes no more; return what it took."""
        data = b""
        while True:
            piece = bytes((len(data) // 1000 % 251,)) * 1000
            try:
                data += piece[: os.write(self.mine.fileno(), piece)]
            except BlockingIOError:
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


def failure(line: Line) -> str | None:
    """Return it as it is now: type checkers do not expect that calls change it."""
    return line.outlet.failure


class MediaFile:
    """Messages in a file of memory, as a log keeps them."""

    def __init__(self, *messages: bytes) -> None:
        self.data = b"".join(messages)
        self.boundaries = [0, *accumulate(map(len, messages))]
        self.descriptor = os.memfd_create("messages")
        os.write(self.descriptor, self.data)

    def __del__(self) -> None:
        os.close(self.descriptor)


class LogFeed:
    """A feed of messages in a file, as a player is one, without its channel."""

    def __init__(self, outlet: Outlet, *messages: bytes) -> None:
        self.file = MediaFile(*messages)
        self.offset = 0
        self.falls = 0
        self.uncounted_bytes = 0
        self.outlet = outlet

    @property
    def at_boundary(self) -> bool:
        return self.offset in self.file.boundaries

    def fall_behind(self) -> None:
        self.falls += 1

    def step(self, to_boundary: bool) -> bool | None:
        ends = [end for end in self.file.boundaries if end > self.offset]
        if not ends:
            return None
        count = (ends[0] if to_boundary else ends[-1]) - self.offset
        sent = self.outlet.sendfile(self.file.descriptor, self.offset, count)
        self.offset += sent
        return sent == count


def test_reply_is_written_at_once(line: Line) -> None:
    line.outlet.reply(b"one")
    line.outlet.reply(b"")
    line.outlet.reply(b"two")
    assert line.read(6) == b"onetwo"
    assert line.outlet.bytes_out == 6


def counted_calls(line: Line) -> list[list[bytes]]:
    """Return what will be written, by the calls of the system that it takes."""
    calls: list[list[bytes]] = []
    one, some = line.outlet._write, line.outlet._write_together

    def write(data: bytes | memoryview) -> int:
        calls.append([bytes(data)])
        return one(data)

    def write_together(pieces: Sequence[bytes | memoryview]) -> int:
        calls.append([bytes(piece) for piece in pieces])
        return some(pieces)

    line.outlet._write, line.outlet._write_together = write, write_together
    return calls


def test_answer_and_its_head_are_written_by_one_call(line: Line) -> None:
    calls = counted_calls(line)
    line.outlet.reply(b"body", head=b"head")
    assert calls == [[b"head", b"body"]]
    assert line.read(8) == b"headbody"
    assert line.outlet.bytes_out == 8
    assert line.outlet.waiting_bytes == 0


def test_small_answers_that_wait_go_out_together_and_a_large_one_is_the_last(line: Line) -> None:
    filled = line.fill()
    small = [bytes((number,)) * 100 for number in range(1, 10)]
    for piece in (*small, BIG, b"behind"):
        line.outlet.reply(piece)
    calls = counted_calls(line)
    assert line.read(len(filled)) == filled
    assert line.read(900 + len(BIG) + 6) == b"".join(small) + BIG + b"behind"
    assert line.outlet.drain(PATIENCE_S)
    # The first is begun when it comes; no more is, than one behind a few small ones.
    assert [[*small[1:], BIG], [b"behind"]] == [call for call in calls if call[0] in (small[1], b"behind")]
    assert line.outlet.bytes_out == 906 + len(BIG)


def test_one_call_writes_only_so_many_pieces(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "MAX_TOGETHER", 3)
    filled = line.fill()
    for number in range(8):
        line.outlet.offer(b"%d" % number)
        line.outlet.kick()
    calls = counted_calls(line)
    assert line.read(len(filled)) == filled
    assert line.read(8) == b"01234567"
    assert max(map(len, calls)) == 3


def test_offer_takes_all_and_says_whether_it_kept_some(line: Line) -> None:
    assert line.outlet.offer(b"small") is True
    assert line.outlet.offer(BIG) is False
    assert line.outlet.offer(b"behind") is False
    line.outlet.kick()
    assert line.read(5 + len(BIG) + 6) == b"small" + BIG + b"behind"
    assert line.outlet.drain(PATIENCE_S)
    assert line.outlet.bytes_out == 5 + len(BIG) + 6
    assert line.outlet.offer(b"again") is True


def test_sendfile_sends_what_the_socket_takes(line: Line) -> None:
    file = MediaFile(BIG)
    sent = line.outlet.sendfile(file.descriptor, 0, len(BIG))
    assert 0 < sent < len(BIG)
    assert line.outlet.sendfile(file.descriptor, sent, len(BIG) - sent) == 0
    assert line.read(sent) == BIG[:sent]
    assert line.outlet.bytes_out == sent


def test_offer_to_a_full_socket_keeps_everything(line: Line) -> None:
    file = MediaFile(BIG)
    sent = line.outlet.sendfile(file.descriptor, 0, len(BIG))
    while more := line.outlet.sendfile(file.descriptor, sent, len(BIG) - sent):
        sent += more
    assert line.outlet.offer(b"kept") is False
    line.outlet.kick()
    assert line.read(sent + 4) == BIG[:sent] + b"kept"


def test_sendfile_does_not_overtake_what_was_kept(line: Line) -> None:
    file = MediaFile(b"message")
    line.outlet.offer(BIG)
    line.peer.recv(65536)
    assert line.outlet.sendfile(file.descriptor, 0, 7) == 0


def test_answers_wait_for_the_end_of_a_message(line: Line) -> None:
    messages = [bytes((number,)) * 50_000 for number in range(1, 9)]
    line.outlet.feed = feed = LogFeed(line.outlet, *messages)
    line.outlet.kick()
    assert 0 < feed.offset < len(feed.file.data)
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


def test_answers_are_bounded_in_bytes(line: Line) -> None:
    line.fill()
    piece = bytes(MAX_ANSWER_BYTES // 8)
    for _ in range(8):
        line.outlet.reply(piece)
    assert failure(line) is None
    assert line.outlet.waiting_bytes == MAX_ANSWER_BYTES
    line.outlet.reply(b"x")
    # The first one is being written, and no longer an answer that waits.
    line.outlet.reply(piece)
    assert (
        line.outlet.failure == f"{MAX_ANSWER_BYTES + 1} bytes of answers not read, limit {MAX_ANSWER_BYTES}"
    )
    assert line.outlet.drain(PATIENCE_S)


def test_copies_of_media_do_not_count_as_answers(line: Line) -> None:
    line.outlet.offer(bytes(2 * MAX_ANSWER_BYTES))
    line.outlet.reply(b"x")
    assert failure(line) is None


def test_answers_that_wait_share_their_bytes(line: Line) -> None:
    line.fill()
    answer = bytes(1_000_000)
    for _ in range(3):
        line.outlet.reply(answer)
    assert all(waiting is answer for waiting in [*line.outlet._pending, *line.outlet._answers])
    line.read(100_000)
    eventually(lambda: line.outlet.bytes_out > 0)
    rest = line.outlet._pending[0]
    assert isinstance(rest, memoryview)
    assert rest.obj is answer


def test_what_waits_is_counted_for_the_process(line: Line) -> None:
    line.outlet.reply(b"taken at once")
    assert line.budget.calls == []
    taken = line.fill()
    line.outlet.reply(BIG)
    line.outlet.offer(b"behind")
    waiting = line.outlet.waiting_bytes
    assert len(BIG) // 2 < waiting <= len(BIG) + 6  # a full socket may still take some
    assert line.budget.held == {(ANSWERS, line.holder): waiting}
    line.outlet.kick()
    assert line.read(13 + len(taken) + len(BIG) + 6).endswith(BIG + b"behind")
    assert line.outlet.drain(PATIENCE_S)
    assert line.budget.held == {}


@pytest.mark.parametrize("end", ["fail", "close", "freeze"])
def test_an_outlet_that_ended_holds_nothing(line: Line, end: str) -> None:
    line.outlet.feed = LogFeed(line.outlet)
    line.outlet.offer(BIG)
    line.outlet.kick()
    line.outlet.reply(BIG)
    getattr(line.outlet, end)(*(["enough"] if end == "fail" else []))
    assert not line.outlet._pending
    assert not line.outlet._answers
    left: list[object] = [line.outlet.feed, line.outlet.waiting_bytes]
    assert left == [None, 0]
    assert line.budget.held == {}
    line.outlet.reply(b"never")
    assert line.outlet.waiting_bytes == 0


def test_peer_that_takes_nothing_is_given_up() -> None:
    line = Line(stall_s=0.01)
    line.outlet.reply(BIG)
    assert line.outlet.drain(PATIENCE_S)
    assert line.outlet.failure == "took nothing for 0.01 s"
    assert len(line.read_to_end()) < len(BIG)
    line.close()


def test_courtesies_that_a_peer_does_not_take_are_left_out(line: Line) -> None:
    taken = line.fill()
    for number in range(1000):
        line.outlet.reply(number.to_bytes(16, "big"), owed=False)
    waiting = line.outlet.waiting_bytes
    assert MAX_COURTESY_BYTES <= waiting <= MAX_COURTESY_BYTES + 16
    line.outlet.reply(b"an answer")
    assert line.outlet.waiting_bytes == waiting + 9, "what was asked for is kept"
    assert line.read(len(taken) + waiting + 9)[len(taken) :].endswith((64).to_bytes(16, "big") + b"an answer")
    line.outlet.reply(b"an acknowledgement", owed=False)
    assert line.read(18) == b"an acknowledgement"


@pytest.mark.parametrize(
    ("plays", "waiting_bytes", "ends"),
    [(False, 16, False), (False, UNREAD_BYTES, False), (False, UNREAD_BYTES + 1, True), (True, 16, True)],
)
def test_who_only_publishes_may_leave_answers_unread(
    line: Line, monkeypatch: pytest.MonkeyPatch, plays: bool, waiting_bytes: int, ends: bool
) -> None:
    waits: list[float] = []

    def wait_write(fd: int, timeout: float) -> None:
        waits.append(timeout)
        gevent.sleep(0)
        raise gsocket.timeout

    line.fill()
    monkeypatch.setattr(gsocket, "wait_write", wait_write)
    if plays:
        line.outlet.feed = FakeFeed(line.outlet)
    line.outlet.reply(bytes(waiting_bytes))
    eventually(lambda: line.outlet.failure is not None or len(waits) > 3)
    assert (failure(line) is not None) == ends


def test_who_leaves_answers_unread_is_given_up_at_its_end(line: Line) -> None:
    line.close()
    line = Line(stall_s=0.01)
    line.fill()
    line.outlet.reply(b"x")
    line.outlet.end_when_empty()
    assert line.outlet.drain(PATIENCE_S)
    assert line.outlet.failure == "took nothing for 0.01 s"
    line.close()


@pytest.mark.parametrize("lane", ["offer", "reply", "together", "sendfile"])
def test_dead_socket_fails_the_outlet_and_wakes_its_reader(line: Line, lane: str) -> None:
    line.peer.close()
    file = MediaFile(b"message")
    for _ in range(2):
        if lane == "offer":
            assert line.outlet.offer(b"x") is False
        elif lane == "reply":
            line.outlet.reply(b"x")
        elif lane == "together":
            line.outlet.reply(b"x", head=b"head")
        else:
            assert line.outlet.sendfile(file.descriptor, 0, 7) == 0
    assert line.outlet.failure == "connection lost: Broken pipe"
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
    assert line.outlet.drain(PATIENCE_S)
    assert len(line.read_to_end()) < len(BIG)


def test_socket_is_shut_down_when_everything_was_written(line: Line) -> None:
    line.outlet.reply(BIG)
    line.outlet.end_when_empty()
    assert line.read_to_end() == BIG


def test_socket_is_shut_down_at_once_where_nothing_waits(line: Line) -> None:
    line.outlet.end_when_empty()
    assert line.read_to_end() == b""


def test_closed_outlet_writes_nothing_more(line: Line) -> None:
    line.outlet.reply(BIG)
    gevent.idle()
    line.outlet.close()
    line.outlet.close()
    assert line.outlet.failure == "closed"
    line.outlet.reply(b"never")
    line.outlet.kick()
    assert line.outlet.offer(b"never") is False


def test_a_reply_that_the_full_socket_refuses_takes_the_feed_off_the_fast_lane(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet_module, "monotonic", lambda: 0.0)  # no turn ends however slow the machine is
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
        outlet = Outlet(PlainTransport(sock), Holder(), FakeBudget(), PATIENCE_S)
        outlet.coalesce()
        outlet.coalesce()
        assert not sock.getsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY)
        outlet.close()
        sock.close()
        outlet.coalesce()  # a dead socket is no error


# --- nobody hurts anybody -----------------------------------------------------------------------------


class Trouble(Exception):
    """A bug of ours."""


@pytest.mark.parametrize("by", ["kick", "reply", "greenlet", "fall_behind", "offer"])
def test_a_fault_of_the_feed_costs_its_connection_only(
    line: Line, by: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)

    def fail(*_: object) -> bool:
        raise Trouble

    feed = FakeFeed(line.outlet)
    line.outlet.feed = feed
    feed.steps = [fail]
    if by == "greenlet":
        feed.steps.insert(0, lambda: False)
    elif by == "fall_behind":
        feed.steps.insert(0, lambda: False)
        monkeypatch.setattr(feed, "fall_behind", fail)
    if by == "reply":
        line.outlet.reply(b"x")
    elif by == "offer":
        line.outlet._write = fail
        assert line.outlet.offer(b"x") is False
    else:
        line.outlet.kick()
    eventually(lambda: line.outlet.failure == "internal error")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "writing failed")
    assert record.exc_info is not None
    assert record.exc_info[0] is Trouble
    line.read_to_end()  # its reader is woken
    assert line.outlet.drain(PATIENCE_S)


def test_a_reader_as_fast_as_the_log_is_sent_it_turn_by_turn(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(outlet_module, "monotonic", lambda: now[0])
    steps_seen: list[int] = []

    def step() -> bool:
        now[0] += TURN_S / 4
        return True

    feed = FakeFeed(line.outlet)
    feed.steps = [step] * 40
    line.outlet.feed = feed
    line.outlet.kick()
    assert len(feed.steps) == 36, "a turn of four"
    while feed.steps:
        steps_seen.append(len(feed.steps))
        gevent.sleep(0.001)
    assert len(steps_seen) >= 2, "others could run meanwhile"
    assert all(number % 4 == 0 for number in steps_seen)


def test_a_kick_from_within_a_step_does_not_write_inside_of_it(line: Line) -> None:
    feed = FakeFeed(line.outlet)
    line.outlet.feed = feed

    def step() -> bool:
        line.outlet.reply(b"answer")
        assert line.outlet.bytes_out == 0
        line.outlet.offer(b"media ")
        return True

    feed.steps = [step]
    line.outlet.kick()
    assert line.read(12) == b"media answer"


def test_a_peer_that_took_bytes_while_this_process_stood_still_is_not_given_up(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def wait_write(fd: int, timeout: float) -> None:
        waits.append(timeout)
        if len(waits) == 1:
            line.peer.recv(1_000_000)
        raise gsocket.timeout

    taken = line.fill()
    monkeypatch.setattr(gsocket, "wait_write", wait_write)
    line.outlet.reply(BIG)
    eventually(lambda: line.outlet.failure is not None)
    assert len(waits) == 2, "the first time it had taken something"
    assert line.outlet.bytes_out > 0
    assert line.outlet.failure == f"took nothing for {PATIENCE_S:g} s"
    assert taken


def test_catching_up_takes_few_calls_for_each_system_call(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet_module, "monotonic", lambda: 0.0)  # no turn ends however slow the machine is
    line.mine.setsockopt(plain.SOL_SOCKET, plain.SO_SNDBUF, 1 << 20)
    file = MediaFile(bytes(1000))
    descriptor = file.descriptor
    sendfile = line.outlet.sendfile

    class Feed(FakeFeed):
        left = 50

        def step(self, to_boundary: bool) -> bool | None:
            if not self.left:
                return None
            self.left -= 1
            return sendfile(descriptor, 0, 100) == 100

    line.outlet.feed = Feed(line.outlet)
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _: calls.append(event) if event in ("call", "c_call") else None)
    try:
        line.outlet.kick()
    finally:
        sys.setprofile(None)
    assert line.outlet.bytes_out == 5000
    assert len(calls) <= 50 * 5 + 10


def test_bytes_of_the_fast_lane_are_credited(line: Line) -> None:
    line.outlet.reply(b"12345")
    line.outlet.credit(100)
    assert line.outlet.bytes_out == 105


# --- moving -------------------------------------------------------------------------------------------


def test_an_outlet_moves_without_a_lost_or_doubled_byte(line: Line) -> None:
    first = line.fill()
    line.outlet.offer(BIG)
    line.outlet.kick()
    line.outlet.reply(b"one")
    line.outlet.reply(b"two")
    line.outlet.coalesce()
    gevent.idle()  # the greenlet waits now
    begun = line.read(len(first) + 1000)
    assert begun == first + BIG[:1000]
    eventually(lambda: line.outlet.bytes_out > 1000)
    sent = line.outlet.bytes_out
    state = pickle.loads(pickle.dumps(line.outlet.freeze()))
    assert line.outlet.failure == "moved"
    assert state.bytes_out == sent
    assert state.coalescing
    assert b"".join([*state.pending, *state.answers]) == BIG[sent:] + b"onetwo"
    gevent.idle()  # the old greenlet ends
    line.outlet = line.make(state)
    assert line.budget.held == {(ANSWERS, line.holder): len(BIG) - sent + 6}
    line.outlet.kick()
    assert line.read(len(BIG) - 1000 + 6) == BIG[1000:] + b"onetwo"
    assert line.outlet.bytes_out == len(BIG) + 6


def test_an_outlet_that_ends_when_it_is_empty_does_so_after_it_moved(line: Line) -> None:
    line.outlet.reply(BIG)
    line.outlet.end_when_empty()
    line.outlet = line.make(line.outlet.freeze())
    line.outlet.kick()
    assert line.read_to_end() == BIG


@pytest.fixture
def other() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def test_a_bug_in_one_outlet_during_a_flush_costs_its_player_only(
    line: Line, other: Line, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Outlet) -> None:
        raise Trouble

    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    house = House()
    for one in (line, other):
        player = Player(one.outlet, PlayerState())
        player.filter(EVERYTHING, paused=False)
        one.outlet.feed = player
        house.channel.join(player)
    house.publish(AVC, key("before"))
    first = line.peer.recv(65536)
    assert other.read(len(first)) == first
    # The next flush finds the socket full and hands the player over to its own outlet, which is broken.
    line.fill()
    monkeypatch.setattr(line.outlet, "_pump", fail.__get__(line.outlet))
    during, after = inter(bytes(100_000)), inter("after")
    house.publish(during, after)
    house.clock.advance(1.0)
    assert line.outlet.failure == "internal error"
    expected = framed(during, after)
    assert other.read(len(expected)) == expected
    assert other.outlet.failure is None
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "writing failed"
    ]
