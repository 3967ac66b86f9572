"""Values and descriptors over a pair of real sockets."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.live.player import PlayerState
from rtmpsrv.workers.wire import Wire, WireLost

PATIENCE_S = 5.0
Pair = tuple[Wire, Wire]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = gsocket.socketpair(gsocket.AF_UNIX)
    wires = Wire(one), Wire(other)
    yield wires
    for wire in wires:
        wire.close()


def test_values_arrive_in_order(pair: Pair) -> None:
    values = [{"a": 1}, b"x" * 3_000_000, PlayerState(7, "key"), None]
    for value in values:
        assert pair[0].post(value)
    assert [pair[1].receive(PATIENCE_S) for _ in values] == [(value, []) for value in values]
    assert pair[0].flush(PATIENCE_S)


def test_descriptors_are_copies_of_the_same_files(pair: Pair) -> None:
    ours = [os.memfd_create(str(number)) for number in range(3)]
    pair[0].post("files", ours * 200)
    value, theirs = pair[1].receive(PATIENCE_S)
    assert value == "files"
    assert len(theirs) == 600
    assert [os.fstat(fd).st_ino for fd in theirs] == [os.fstat(fd).st_ino for fd in ours * 200]
    for fd in ours + theirs:
        os.close(fd)


def test_end_of_the_other_process_is_told(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(WireLost, match="closed by the other process"):
        pair[1].receive(PATIENCE_S)
    assert not pair[0].post("more")


def test_silence_is_told_after_the_deadline(pair: Pair) -> None:
    with pytest.raises(WireLost, match="nothing within"):
        pair[1].receive(0.01)


def called(module: str, name: str) -> bytes:
    """Pickle a call of what a module has under a name, which may have dots."""
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + texts + b"\x93\x8c\x01x\x85R."


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(os.system),
        called("rtmpsrv.run_dir", "os.system"),
        called("rtmpsrv.workers.child", "subprocess.getoutput"),
        called("rtmpsrv.files", "open_regular"),
    ],
)
def test_nothing_but_our_own_classes_is_built(pair: Pair, data: bytes) -> None:
    pair[0]._socket.sendall(struct.pack("!II", len(data), 0) + data)
    with pytest.raises(WireLost, match="may not be sent"):
        pair[1].receive(PATIENCE_S)


def test_other_end_that_reads_nothing_is_given_up(pair: Pair) -> None:
    wire = Wire(pair[0]._socket, max_waiting_bytes=1_000_000)
    gevent.sleep(0)  # the loop has descriptors of its own from now on
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        wire.post(b"x" * 500_000, [0])
        gevent.sleep(0)
    assert wire.lost is not None
    assert not wire.flush(PATIENCE_S)
    gevent.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_oversized_message_is_refused(pair: Pair) -> None:
    pair[0]._socket.sendall(struct.pack("!II", 0xFFFFFFFF, 0))
    with pytest.raises(WireLost, match="limit"):
        pair[1].receive(PATIENCE_S)


@pytest.mark.parametrize(
    ("size", "descriptors", "value", "why"),
    [
        (None, 0, PlayerState(), "may not be sent by this process"),
        (None, 1, 0, "descriptors that nobody wants"),
        (1001, 0, 0, "limit 1000"),
    ],
)
def test_one_that_is_not_trusted_sends_plain_values_only(
    size: int | None, descriptors: int, value: object, why: str
) -> None:
    ours, theirs = gsocket.socketpair(gsocket.AF_UNIX)
    wire, other = Wire(ours, max_message_bytes=1000, is_trusted=False), Wire(theirs)
    plain = ("yes", 1, "", ((True, b"made"),))
    other.post(plain)
    assert wire.receive(PATIENCE_S) == (plain, [])

    data = pickle.dumps(value)
    other._socket.sendall(struct.pack("!II", len(data) if size is None else size, descriptors) + data)

    with pytest.raises(WireLost, match=why):
        wire.receive(PATIENCE_S)
    wire.close()
    other.close()
