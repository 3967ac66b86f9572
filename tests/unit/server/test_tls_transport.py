"""Real TLS over socket pairs: no port is opened."""

from __future__ import annotations

import contextlib
import gc
import os
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import pytest
from cryptography import x509
from gevent import socket, ssl

from rtmpsrv.live.budget import Budget
from rtmpsrv.server.barren import MAX_BARREN
from rtmpsrv.server.certificates import CertificatePair, PairContents, check_pair
from rtmpsrv.server.held import TLS
from rtmpsrv.server.outlet import Outlet
from rtmpsrv.server.tls import make_context
from rtmpsrv.server.tls_records import MAX_RECORD_BYTES
from rtmpsrv.server.tls_transport import (
    MAX_HANDSHAKE_BYTES,
    MAX_HANDSHAKE_RECORDS,
    MAX_UNSENT_BYTES,
    RECORD_BYTES,
    RECORDS_PER_READ,
    TAKEN_BYTES,
    TlsTransport,
)
from rtmpsrv.server.transport import Transport
from tests.doubles.pairs import Issued, issue
from tests.doubles.tls13 import Records
from tests.unit.server.stage import FakeBudget, eventually
from tests.unit.server.test_outlet import Holder

BAD_RECORD = b"\x17\x03\x03\0\x30" + bytes(48)


def good(issued: Issued) -> CertificatePair:
    return check_pair(PairContents(issued.chain, issued.key), datetime.now(UTC))


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Connection:
    """Both ends of a TLS connection."""

    def __init__(self, context: ssl.SSLContext, version: ssl.TLSVersion | None = None) -> None:
        near, far = socket.socketpair()
        for end in (near, far):
            end.settimeout(5)
        client = gevent.spawn(client_context(version).wrap_socket, far, suppress_ragged_eofs=False)
        self.budget = FakeBudget()
        self.transport = TlsTransport(near, context, self.budget)
        self.transport.shake_hands()
        self.client: Any = client.get()

    def close(self) -> None:
        self.transport.close()
        self.client.close()


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    return make_context(good(issue()))


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def connection(context: ssl.SSLContext, request: pytest.FixtureRequest) -> Iterator[Connection]:
    opened = Connection(context, request.param)
    yield opened
    opened.close()


# --- writing ------------------------------------------------------------------------------------------


def test_writes_of_all_sizes_arrive(connection: Connection) -> None:
    for size in (0, 1, RECORD_BYTES, RECORD_BYTES + 1, 50000):
        data = os.urandom(size)
        assert connection.transport.write(data) == size
        received = b""
        while len(received) < size:
            received += connection.client.recv(size)
        assert received == data


def test_a_full_socket_takes_whole_records_and_goes_on_where_it_stopped(connection: Connection) -> None:
    data = memoryview(os.urandom(5_000_000))
    written = connection.transport.write(data)
    assert 0 < written < len(data)
    assert written % RECORD_BYTES == 0
    assert connection.transport.write(data[written:]) == 0

    def read_all() -> bytes:
        received = bytearray()
        while len(received) < len(data):
            received += connection.client.recv(100_000)
        return bytes(received)

    reader = gevent.spawn(read_all)
    while written < len(data):
        socket.wait_write(connection.transport.fileno(), timeout=5)
        written += connection.transport.write(data[written:])
    assert reader.get() == bytes(data)


def test_pieces_are_written_as_far_as_they_are_taken(connection: Connection) -> None:
    assert connection.transport.write_together([b"one", b"two"]) == 6
    assert connection.client.recv(100) + connection.client.recv(100) == b"onetwo"
    large = os.urandom(5_000_000)
    taken = connection.transport.write_together([b"head", large, b"never"])
    assert 4 < taken < 4 + len(large)
    assert connection.transport.write_together([large[taken - 4 :], b"never"]) == 0


def test_an_outlet_keeps_what_is_refused_and_sends_it_in_order(connection: Connection) -> None:
    outlet = Outlet(connection.transport, Holder(), FakeBudget(), 5.0)
    pieces = [bytes((number,)) * (1 + number * 997) for number in range(200)]
    results = [outlet.offer(piece) for piece in pieces]
    assert results[0] is True
    assert results[-1] is False, "the socket was meant to be full"
    outlet.kick()
    outlet.reply(b"answer")
    expected = b"".join(pieces) + b"answer"
    received = bytearray()
    while len(received) < len(expected):
        received += connection.client.recv(30_000)
    assert bytes(received) == expected
    assert outlet.bytes_out == len(expected)
    outlet.close()


def test_writing_to_a_peer_that_is_gone_is_an_oserror(connection: Connection) -> None:
    connection.client.close()

    def write_on() -> None:
        for _ in range(100):
            connection.transport.write(bytes(RECORD_BYTES))

    with pytest.raises(OSError, match=r"."):
        write_on()
    connection.transport.close()
    with pytest.raises(BrokenPipeError):
        connection.transport.write(b"x")


# --- reading ------------------------------------------------------------------------------------------


def test_one_read_takes_all_records_that_have_arrived(connection: Connection) -> None:
    data = os.urandom(60_000)
    connection.client.sendall(data)
    assert connection.transport.read(65536) == data
    assert not connection.transport.has_more


def test_a_read_takes_no_more_than_fits(connection: Connection) -> None:
    data = os.urandom(60_000)
    connection.client.sendall(data)
    pieces = [connection.transport.read(20_001) for _ in range(3)]
    assert [len(piece) for piece in pieces] == [20_001, 20_001, 19_998]
    assert b"".join(pieces) == data


def test_a_read_takes_only_so_many_records_and_tells(connection: Connection) -> None:
    for number in range(RECORDS_PER_READ + 5):
        connection.client.send(bytes((number,)))
    assert connection.transport.read(65536) == bytes(range(RECORDS_PER_READ))
    assert connection.transport.has_more
    assert connection.transport.read(65536) == bytes(range(RECORDS_PER_READ, RECORDS_PER_READ + 5))
    assert not connection.transport.has_more


def test_a_read_that_leaves_much_in_the_socket_tells(connection: Connection) -> None:
    """Publishers that rest are read 20 times a second: the end of a keyframe would wait for the next time."""
    connection.transport._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    data = os.urandom(100_000)
    connection.client.sendall(data)
    received, more = [connection.transport.read(65536)], [connection.transport.has_more]
    while more[-1]:
        received.append(connection.transport.read(65536))
        more.append(connection.transport.has_more)
    assert len(received) > 1
    assert b"".join(received) == data


def test_a_read_of_nothing_does_not_wait(connection: Connection) -> None:
    with pytest.raises(BlockingIOError):
        connection.transport.read(10)


@pytest.mark.parametrize("politely", [True, False])
def test_a_read_gives_0_at_the_end_after_what_came_before_it(connection: Connection, politely: bool) -> None:
    connection.client.sendall(b"last words")
    if politely:
        connection.client.settimeout(0.0)
        with pytest.raises(ssl.SSLWantReadError):
            connection.client.unwrap()
    else:
        connection.client.close()
    assert connection.transport.read(100) == b"last words"
    for _ in range(2):
        assert connection.transport.read(100) == b""


def test_the_end_inside_a_record_is_an_end(connection: Connection) -> None:
    connection.client.sendall(b"last words")
    os.write(connection.client.fileno(), BAD_RECORD[:-1])
    connection.client.close()
    assert connection.transport.read(100) == b"last words"
    assert connection.transport.read(100) == b""


@pytest.mark.parametrize("politely", [True, False])
def test_an_end_behind_bytes_is_told_though_tcp_stays_open(connection: Connection, politely: bool) -> None:
    """OpenSSL has taken it from the socket, which therefore is never readable again."""
    transport = connection.transport
    connection.client.sendall(b"last words")
    if politely:
        connection.client.settimeout(0.0)
        with pytest.raises(ssl.SSLWantReadError):
            connection.client.unwrap()
    else:
        os.write(connection.client.fileno(), BAD_RECORD)
    assert transport.read(100) == b"last words"
    assert transport.has_more
    assert transport.has_unread()
    if politely:
        assert transport.read(100) == b""
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|decryption failed"):
            transport.read(100)
    assert not transport.has_more


def test_a_failure_that_was_told_leaves_nothing_to_the_collector(connection: Connection) -> None:
    class Failure(OSError):
        """Unlike the real ones, it can be watched."""

    connection.transport._failure = Failure()
    told = weakref.ref(connection.transport._failure)
    gc.disable()
    try:
        with contextlib.suppress(Failure):
            connection.transport.read(100)
        assert told() is None
    finally:
        gc.enable()


def test_a_failure_that_nobody_was_told_of_leaves_nothing_to_the_collector(context: ssl.SSLContext) -> None:
    connection = Connection(context)
    connection.client.sendall(b"last words")
    os.write(connection.client.fileno(), BAD_RECORD)
    assert connection.transport.read(100) == b"last words"
    assert connection.transport.has_more
    closed = weakref.ref(connection.transport)
    gc.disable()
    try:
        connection.close()
        del connection
        assert closed() is None
    finally:
        gc.enable()


def test_it_is_a_transport(connection: Connection) -> None:
    transport: Transport = connection.transport
    assert not transport.can_sendfile
    assert not transport.can_move
    # Of a pair of sockets that are not TCP.
    assert not transport.limit_unsent(100_000)
    assert not transport.has_left()
    assert not transport.has_unread()
    connection.client.sendall(b"x")
    eventually(transport.has_unread)
    transport.coalesce()


# --- records without data -----------------------------------------------------------------------------


CHANGE_BYTES = 27  # of a record that changes keys


class Raw:
    """A client whose records are made by hand, once it has shaken hands."""

    def __init__(self, context: ssl.SSLContext, folder: Path) -> None:
        near, self.far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        trusting = client_context(ssl.TLSVersion.TLSv1_3)
        trusting.keylog_filename = str(folder / "secrets")
        client = gevent.spawn(trusting.wrap_socket, self.far)
        self.budget = FakeBudget()
        self.transport = TlsTransport(near, context, self.budget)
        self.transport.shake_hands()
        self.client: Any = client.get()
        cipher = self.client.cipher()
        assert cipher is not None
        self.records = Records(folder / "secrets", cipher[0])

    def send(self, data: bytes) -> None:
        os.write(self.client.fileno(), data)

    def close(self) -> None:
        self.transport.close()
        self.client.close()


@pytest.fixture
def raw(context: ssl.SSLContext, tmp_path: Path) -> Iterator[Raw]:
    opened = Raw(context, tmp_path)
    yield opened
    opened.close()


def test_keys_may_change_between_data_on_both_sides(raw: Raw) -> None:
    records, transport = raw.records, raw.transport
    raw.send(records.data(b"one") + records.change(asks=True) + records.change() + records.data(b"two"))
    assert transport.read(100) == b"onetwo"
    assert transport.write(b"three") == 5
    assert raw.client.recv(100) == b"three"


def test_a_read_of_many_records_that_leaves_more_in_the_socket_tells(raw: Raw) -> None:
    """Also where it has used up all that it has taken from there."""
    around = CHANGE_BYTES - 5  # of a record that has nothing else
    size, rest = divmod(TAKEN_BYTES, RECORDS_PER_READ)
    sizes = [size + (number < rest) - around for number in range(RECORDS_PER_READ)]
    raw.send(b"".join([raw.records.data(bytes(size)) for size in [*sizes, 1]]))
    assert len(raw.transport.read(65536)) == sum(sizes)
    assert raw.transport.has_more
    assert len(raw.transport.read(65536)) == 1
    assert not raw.transport.has_more


def test_who_changes_keys_and_sends_no_data_is_cut_off(raw: Raw) -> None:
    """OpenSSL would go on with them, in one call, for as long as they come."""
    raw.send(b"".join([raw.records.change() for _ in range(4 * MAX_BARREN)]))
    with pytest.raises(ConnectionAbortedError, match="without data"):
        raw.transport.read(100)
    assert raw.transport.has_unread() or len(raw.transport._records) > 2 * MAX_BARREN, "it stopped at once"


def test_large_records_without_data_count_as_many(raw: Raw) -> None:
    raw.send(raw.records.change(padding=600) + raw.records.change(padding=600) + raw.records.data(b"a"))
    with pytest.raises(ConnectionAbortedError, match="without data"):
        raw.transport.read(100)


def test_what_is_full_of_hellos_is_not_even_decrypted(connection: Connection) -> None:
    """OpenSSL would refuse to begin anew for each of them: 4,000 in a record of TLS 1.2."""
    os.write(connection.client.fileno(), b"\x16\x03\x03\x08\0" + bytes(2048))
    with pytest.raises(ConnectionAbortedError, match="without data"):
        connection.transport.read(100)


def test_data_behind_changes_of_keys_is_read_at_once(raw: Raw) -> None:
    """It is not in the socket any more, so that nobody would be told of it."""
    raw.send(b"".join([raw.records.change() for _ in range(MAX_BARREN)]) + raw.records.data(b"a"))
    assert raw.transport.read(100) == b"a"


def test_data_does_not_pay_for_changes_of_keys(raw: Raw) -> None:
    raw.send(b"".join([raw.records.change() + raw.records.data(b"a") for _ in range(2 * MAX_BARREN)]))
    received = 0

    def read_on() -> None:
        nonlocal received
        while True:
            received += len(raw.transport.read(65536))

    with pytest.raises(ConnectionAbortedError, match="without data"):
        read_on()
    assert received >= MAX_BARREN


def test_who_pads_what_he_says_is_not_cut_off(raw: Raw) -> None:
    for _ in range(2 * MAX_BARREN):
        raw.send(raw.records.data(b"a", padding=1000))
        assert raw.transport.read(100) == b"a"


def test_who_does_not_read_that_keys_were_changed_is_cut_off(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(100)  # so slowly that they may come
    monkeypatch.setattr("rtmpsrv.server.tls_transport.monotonic", lambda: float(next(seconds)))
    records, transport = raw.records, raw.transport
    while transport.write(bytes(100_000)):
        pass
    held = []

    def change_on() -> None:
        for _ in range(2 * MAX_UNSENT_BYTES // CHANGE_BYTES // 30):
            raw.send(b"".join([records.change(asks=True) for _ in range(30)]) + records.data(b"a"))
            assert transport.read(100) == b"a"
            held.append(raw.budget.held_of(TLS))

    with pytest.raises(ConnectionAbortedError, match="not read"):
        change_on()
    assert len(held) > 1
    assert held[-1] - held[0] >= (len(held) - 1) * 30 * CHANGE_BYTES, "answers are counted"
    assert len(transport._unsent) < MAX_UNSENT_BYTES + 2 * CHANGE_BYTES


# --- the memory budget --------------------------------------------------------------------------------


MOST_HELD_BYTES = 64 * 1024  # of one connection, whatever its peer does


def test_nothing_is_held_where_nothing_waits(connection: Connection) -> None:
    budget, transport = connection.budget, connection.transport
    assert budget.calls[-1:] in ([], [(TLS, 0)]), "after the handshake"
    budget.calls.clear()
    transport.write(bytes(40_000))
    connection.client.sendall(bytes(20_000))
    assert len(transport.read(65536)) == 20_000
    assert budget.held_of(TLS) == 0


def test_what_waits_is_counted_and_bounded(raw: Raw) -> None:
    transport, held_of = raw.transport, raw.budget.held_of
    whole = raw.records.data(bytes(RECORD_BYTES))
    raw.send(whole[:-1])
    with pytest.raises(BlockingIOError):
        transport.read(65536)
    assert held_of(TLS) == len(whole) - 1, "the part of a record that has come"
    raw.send(whole[-1:])
    transport.read(1)
    assert held_of(TLS) == RECORD_BYTES, "OpenSSL has the rest of the record"
    transport.read(65536)
    assert held_of(TLS) == 0
    while transport.write(bytes(100_000)):
        pass
    assert 0 < held_of(TLS) == len(transport._unsent), "of a record that the peer has not taken"
    raw.send(b"".join([raw.records.data(bytes(RECORD_BYTES - 400)) for _ in range(5)]))
    transport.read(1)
    assert RECORD_BYTES + MAX_RECORD_BYTES < held_of(TLS) < MOST_HELD_BYTES
    transport.close()
    transport.close()
    assert held_of(TLS) == 0


def test_what_a_handshake_has_brought_is_counted_while_it_waits(context: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    budget = FakeBudget()
    transport = TlsTransport(near, context, budget)
    shaking = gevent.spawn(transport.shake_hands)
    hello = b"\x01\x01\xf4\0\x03\x03" + bytes(RECORD_BYTES - 6)
    far.sendall(b"\x16\x03\x01\x40\0" + hello + b"\x16\x03\x01\x40\0" + bytes(1000))
    eventually(lambda: budget.held_of(TLS) == RECORD_BYTES + 5 + 1000 + 5)
    transport.drop("holds most")
    with pytest.raises(ConnectionAbortedError, match="holds most"):
        shaking.get(timeout=5)
    transport.close()
    assert budget.held_of(TLS) == 0
    far.close()


def test_who_holds_most_is_ended_and_told_why(raw: Raw) -> None:
    """What all connections hold together has a bound as well."""
    budget = Budget(1 << 30, tls_bytes=RECORD_BYTES // 2)
    raw.transport._budget = budget
    raw.send(raw.records.data(bytes(RECORD_BYTES)))
    assert len(raw.transport.read(1)) == 1
    assert budget.describe()["tls_bytes"] == 0
    assert raw.transport.has_unread()
    with pytest.raises(ConnectionAbortedError, match=f"held {RECORD_BYTES} bytes of tls data"):
        raw.transport.read(65536)
    with pytest.raises(OSError, match=r"."):
        raw.transport.write(b"x")


# --- the end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["shutdown", "close"])
def test_the_peer_is_told_that_the_stream_is_complete(connection: Connection, by: str) -> None:
    connection.transport.write(b"all")
    getattr(connection.transport, by)()
    assert connection.client.recv(10) == b"all"
    assert connection.client.recv(10) == b"", "no SSLEOFError"


def test_shutdown_wakes_a_reader(connection: Connection) -> None:
    waiting = gevent.spawn(socket.wait_read, connection.transport.fileno(), timeout=5)
    gevent.sleep(0)
    connection.transport.shutdown()
    waiting.get(timeout=5)
    assert connection.transport.read(10) == b""


def test_after_a_goodbye_the_rest_of_the_peer_is_thrown_away(connection: Connection) -> None:
    connection.client.sendall(bytes(40_000))
    connection.transport.shutdown(socket.SHUT_WR)
    socket.socket.shutdown(connection.client, socket.SHUT_WR)
    while connection.transport.read(65536):
        pass


def test_shutdown_and_close_are_idempotent_and_never_raise(connection: Connection) -> None:
    connection.client.close()
    for _ in range(2):
        connection.transport.shutdown()
        connection.transport.close()
    connection.transport.shutdown()


def test_a_shutdown_with_a_full_socket_does_not_block(connection: Connection) -> None:
    while connection.transport.write(bytes(100_000)):
        pass
    with gevent.Timeout(5):
        connection.transport.shutdown()
        connection.transport.close()


# --- the handshake ------------------------------------------------------------------------------------


def test_a_context_may_choose_another_by_the_name() -> None:
    """An endpoint may be given one that does."""
    chosen = issue()
    context, other, names = make_context(good(issue())), make_context(good(chosen)), []

    def choose(tls: Any, name: str | None, _: ssl.SSLContext) -> None:
        names.append(name)
        tls.context = other

    context.sni_callback = choose
    near, far = socket.socketpair()
    client = gevent.spawn(client_context().wrap_socket, far, server_hostname="chosen.example")
    transport = TlsTransport(near, context, FakeBudget())
    with gevent.Timeout(5):
        transport.shake_hands()
        with client.get() as checked:
            shown = checked.getpeercert(binary_form=True)
    transport.close()
    assert names == ["chosen.example"]
    assert shown is not None
    assert x509.load_der_x509_certificate(shown).serial_number == chosen.serial


@pytest.mark.parametrize("size", [1, 1000])
def test_a_handshake_without_end_is_cut_off(context: ssl.SSLContext, size: int) -> None:
    """A hello of 128 KB, cut into small records: OpenSSL would take it all in one call."""
    hello = b"\x01\x01\xf4\0\x03\x03" + bytes(2 * MAX_HANDSHAKE_BYTES)
    head = b"\x16\x03\x01" + size.to_bytes(2, "big")
    most = min(MAX_HANDSHAKE_RECORDS, MAX_HANDSHAKE_BYTES // size + 1)
    pieces = [hello[at : at + size] for at in range(0, most * size, size)]
    near, far = socket.socketpair()
    sender = gevent.spawn(far.sendall, b"".join([head + piece for piece in pieces]))
    transport = TlsTransport(near, context, FakeBudget())
    with gevent.Timeout(5), pytest.raises(ConnectionAbortedError, match="too long"):
        transport.shake_hands()
    transport.close()
    sender.kill()
    far.close()


def test_what_comes_together_with_the_end_of_a_handshake_is_kept(context: ssl.SSLContext) -> None:
    near, far = socket.socketpair()
    transport = TlsTransport(near, context, FakeBudget())
    shaking = gevent.spawn(transport.shake_hands)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(ssl.TLSVersion.TLSv1_3).wrap_bio(incoming, outgoing)
    with gevent.Timeout(5):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        far.sendall(outgoing.read())
        while not client.version():
            incoming.write(far.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
        for data in (b"one", b"two"):
            client.write(data)
        far.sendall(outgoing.read())
        shaking.get()
    assert transport.has_unread()
    assert transport.read(100) == b"onetwo"
    transport.close()
    far.close()
