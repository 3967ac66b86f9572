from __future__ import annotations

import logging
from collections.abc import Iterator
from time import monotonic

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.errors import PeerLost
from rtmpsrv.log import Logger
from rtmpsrv.server import session_state
from rtmpsrv.server.ending import THROWN_UNITS, tell_end, throw_away
from rtmpsrv.server.host import Client
from rtmpsrv.server.session_state import SessionSettings
from rtmpsrv.server.transport import PlainTransport
from rtmpsrv.server.turns import Account, Turns
from tests.unit.server.test_waiting import Line

PATIENCE_S = 20.0  # for what happens at once, on a busy machine


class CountingTurns(Turns):
    """Counts rests."""

    def __init__(self) -> None:
        self.rests = 0

    def rest(self, rest_s: float, bell: object = None) -> None:
        self.rests += 1
        super().rest(0.0)


class LastLine(Line):
    """A reader at its end; the test writes the other end."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = CountingTurns()
        self.account = Account(counted_at=monotonic())
        self.read = PlainTransport(self.mine).read

    def throw_away(self, seconds: float = 2 * PATIENCE_S) -> float:
        """Do so for as long, and return until when that was to be."""
        until = monotonic() + seconds
        with gevent.Timeout(PATIENCE_S):
            throw_away(self.read, self.wait, self.turns.share(self.account), until)
        return until


@pytest.fixture
def line() -> Iterator[LastLine]:
    made = LastLine()
    yield made
    made.close()


def test_what_comes_is_forgotten_up_to_the_end_of_the_peer(line: LastLine) -> None:
    waiter = gevent.spawn(line.throw_away)
    line.peer.send(bytes(1000))
    gevent.sleep(0.001)
    assert not waiter.ready()
    line.peer.send(bytes(1000))
    line.peer.shutdown(gsocket.SHUT_WR)
    waiter.get(timeout=PATIENCE_S)
    assert line.read(1) == b""


def test_who_says_nothing_is_waited_for_as_long_as_that_may_be(line: LastLine) -> None:
    assert line.throw_away(0.02) <= monotonic()


@pytest.mark.parametrize("error", [ConnectionResetError(), PeerLost("closed by the peer")])
def test_a_peer_that_is_gone_is_no_error(line: LastLine, error: Exception) -> None:
    def read(count: int) -> bytes:
        raise error

    line.read = read
    line.throw_away()


def test_who_floods_on_lets_others_run(line: LastLine) -> None:
    parts = iter([b"x"] * 20)
    line.read = lambda count: next(parts, b"")
    line.account.units, line.account.burst = 0.0, THROWN_UNITS  # no more than one read without a rest
    line.throw_away()
    assert line.turns.rests > 5


@pytest.mark.parametrize("channel", ["show", ""])
def test_the_end_is_told_with_its_reason_and_as_fields_with_a_channel_where_one_is_known(
    channel: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.DEBUG, "rtmpsrv")
    client = Client(number=1, ip="192.0.2.7", port=1935, secure=False, channel=channel)
    state = session_state.begin(client, SessionSettings(), monotonic() - 2)
    state.bytes_in = 30
    tell_end(Logger(logging.getLogger("rtmpsrv.server")), logging.DEBUG, state, 40, "enough")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("DEBUG", "closed: enough, in=30 out=40 bytes")
    fields = record.__dict__["fields"]
    assert fields.pop("seconds") >= 2
    known = {"channel": channel} if channel else {}
    assert fields == known | {
        "event": "closed", "address": "192.0.2.7", "received_bytes": 30, "sent_bytes": 40, "reason": "enough",
    }  # fmt: skip
