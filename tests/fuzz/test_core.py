"""The bounded share of fuzzing; the long one is `python -m tests.fuzz.run --count 1000000`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.protocol import events
from rtmpsrv.protocol.client import ClientConnection
from tests.fuzz.core import HANDSHAKE, captures, case, check_case

SEEDS_A_BATCH = 50
CORPUS = captures()


@pytest.mark.parametrize("batch", range(10))
def test_nothing_but_a_protocol_error_comes_out(batch: int) -> None:
    for seed in range(batch * SEEDS_A_BATCH, (batch + 1) * SEEDS_A_BATCH):
        check_case(case(seed, CORPUS), seed)


@pytest.mark.parametrize("index", range(len(CORPUS)))
def test_unchanged_captures_pass(index: int) -> None:
    check_case(HANDSHAKE + CORPUS[index], 16 * index)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 1 << 32))
def test_any_bytes_after_the_handshake(data: bytes, seed: int) -> None:
    check_case(HANDSHAKE + data, seed)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(CORPUS),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=10),
    st.integers(0, 1 << 32),
)
def test_captures_with_bytes_changed(capture: bytes, changes: list[tuple[int, int]], seed: int) -> None:
    data = bytearray(capture)
    for at, value in changes:
        data[at % len(data)] = value
    check_case(HANDSHAKE + bytes(data), seed)


@pytest.mark.parametrize("batch", range(4))
def test_nothing_but_a_protocol_error_comes_out_of_a_client(batch: int) -> None:
    """A server may say anything: here it says what clients say, whole or broken."""
    for seed in range(batch * SEEDS_A_BATCH, (batch + 1) * SEEDS_A_BATCH):
        client = ClientConnection()
        client.send(events.ClientHello())
        try:
            client.receive_data(HANDSHAKE)
            client.send(events.ConnectAsked(1.0, "live", {}))
            data = case(seed, CORPUS)
            for start in range(0, len(data), 1 + seed % 700):
                client.receive_data(data[start : start + 1 + seed % 700])
                while client.backlog:
                    list(client.events(1 + seed % 5))
        except RemoteProtocolError:
            assert client.held_bytes == 0
