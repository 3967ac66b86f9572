from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.server.waiting import ReadWait

PATIENCE_S = 5.0  # for what happens at once


class Line:
    """A wait on one end of a pair of sockets; the test writes the other."""

    def __init__(self) -> None:
        self.mine, self.peer = gsocket.socketpair()
        self.wait = ReadWait(self.mine.fileno())

    def close(self) -> None:
        self.wait.close()
        self.mine.close()
        self.peer.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def test_bytes_end_the_wait(line: Line) -> None:
    waiter = gevent.spawn(line.wait.wait, monotonic() + PATIENCE_S)
    gevent.sleep(0)
    assert not waiter.ready()
    line.peer.send(b"x")
    assert waiter.get(timeout=PATIENCE_S) is True


def test_the_end_of_the_peer_ends_the_wait(line: Line) -> None:
    line.peer.close()
    assert line.wait.wait(monotonic() + PATIENCE_S) is True


def test_the_time_ends_the_wait(line: Line) -> None:
    until = monotonic() + 0.02
    assert line.wait.wait(until) is False
    assert monotonic() >= until


def test_a_time_that_is_over_ends_the_wait(line: Line) -> None:
    assert line.wait.wait(monotonic() - 1) is False


def test_a_later_time_counts_although_the_timer_is_set_to_an_earlier_one(line: Line) -> None:
    line.peer.send(b"x")
    assert line.wait.wait(monotonic() + 0.01) is True
    line.mine.recv(1)
    until = monotonic() + 0.05
    assert line.wait.wait(until) is False
    assert monotonic() >= until


def test_an_earlier_time_counts_although_the_timer_is_set_to_a_later_one(line: Line) -> None:
    line.peer.send(b"x")
    assert line.wait.wait(monotonic() + PATIENCE_S) is True
    line.mine.recv(1)
    with gevent.Timeout(PATIENCE_S / 2):
        assert line.wait.wait(monotonic() + 0.01) is False


def test_a_timer_that_fires_while_nobody_waits_is_set_again(line: Line) -> None:
    line.peer.send(b"x")
    until = monotonic() + 0.01
    assert line.wait.wait(until) is True
    line.mine.recv(1)
    while monotonic() < until:
        gevent.sleep(0.005)
    until = monotonic() + 0.02
    assert line.wait.wait(until) is False
    assert monotonic() >= until


def test_a_killed_waiter_leaves_the_wait_usable(line: Line) -> None:
    waiter = gevent.spawn(line.wait.wait, monotonic() + PATIENCE_S)
    gevent.sleep(0)
    waiter.kill()
    line.peer.send(b"x")
    assert line.wait.wait(monotonic() + PATIENCE_S) is True


def test_close_stops_the_timer(line: Line) -> None:
    line.peer.send(b"x")
    line.wait.wait(monotonic() + 0.01)
    line.wait.close()
    line.wait.close()
    gevent.sleep(0.02)  # what is stopped may not fire: nothing to await
