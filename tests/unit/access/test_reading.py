from __future__ import annotations

import socket

import pytest

from rtmpsrv.access.backoff import describe
from rtmpsrv.access.reading import UNIT_BYTES, Meter, MeteredSocket, TooMuch, spend_on_read


class Spent:
    """A share that only counts."""

    def __init__(self) -> None:
        self.units = 0

    def spend(self, units: int = 1) -> None:
        self.units += units


def test_an_answer_may_reach_the_limit_and_not_pass_it() -> None:
    meter = Meter(Spent(), 100)
    meter.took(60)
    meter.took(40)
    with pytest.raises(TooMuch, match="an answer of more than 100 bytes"):
        meter.took(1)


def test_the_next_answer_has_a_limit_of_its_own() -> None:
    meter = Meter(Spent(), 100)
    meter.took(100)
    meter.answer_ends()
    meter.took(100)
    assert meter.total_bytes == 200


def test_an_answer_may_take_so_long_from_its_first_byte_on() -> None:
    now = 0.0
    meter = Meter(Spent(), 100, 5.0, lambda: now)
    now = 1000.0
    meter.took(1)
    now = 1005.0
    meter.took(1)
    now = 1005.1
    with pytest.raises(TooMuch, match="an answer that takes more than 5 s"):
        meter.took(1)
    meter.answer_ends()
    meter.took(1)


def test_the_log_says_what_was_too_much() -> None:
    with pytest.raises(TooMuch) as caught:
        Meter(Spent(), 0).took(1)
    assert describe(caught.value) == "TooMuch: an answer of more than 0 bytes"
    assert not isinstance(caught.value, TimeoutError | ConnectionError)  # libraries try again after those


def test_work_is_counted_by_reads_and_bytes() -> None:
    spent = Spent()
    Meter(spent, 10_000).took(UNIT_BYTES - 1)
    assert spent.units == 1
    spend_on_read(spent, 10 * UNIT_BYTES)
    assert spent.units == 12


def test_a_metered_socket_tells_what_was_read_and_is_a_socket_otherwise() -> None:
    near, far = socket.socketpair()
    with near, far:
        counts: list[int] = []
        metered = MeteredSocket(near, counts.append)
        far.sendall(b"12345")
        assert metered.recv(3) == b"123"
        buffer = bytearray(10)
        assert metered.recv_into(buffer) == 2
        assert counts == [3, 2]
        assert metered.fileno() == near.fileno()
        metered.sendall(b"x")
        assert far.recv(1) == b"x"
