"""The context of RTMPS, and its listener: real TLS over socket pairs, no port is opened."""

from __future__ import annotations

import logging
import ssl as stdlib_ssl
import struct
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket, ssl

from rtmpsrv.errors import CertificateError
from rtmpsrv.server.certificates import CertificatePair
from rtmpsrv.server.held import TLS
from rtmpsrv.server.tls import TlsListener, make_context
from tests.doubles.pairs import issue, issue_chain
from tests.unit.server.stage import make_parts
from tests.unit.server.test_tls_transport import client_context, good


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    return make_context(good(issue()))


# --- the context --------------------------------------------------------------------------------------


def test_the_context_takes_tls_1_2_and_newer_and_sends_no_tickets(context: ssl.SSLContext) -> None:
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.num_tickets == 0
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert isinstance(context, ssl.SSLContext)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_clients_are_shown_the_whole_chain(kind: str) -> None:
    leaf = issue_chain(kind)
    assert leaf.issuer is not None
    assert leaf.issuer.issuer is not None
    near, far = socket.socketpair()
    trusting = ssl.create_default_context(cadata=leaf.issuer.issuer.pem.decode())
    # The chains of these tests lack what Python 3.13 began to ask for.
    trusting.verify_flags &= ~getattr(stdlib_ssl, "VERIFY_X509_STRICT", 0)
    client = gevent.spawn(trusting.wrap_socket, far, server_hostname="localhost")
    server = make_context(good(leaf)).wrap_socket(near, server_side=True)
    with client.get() as checked:
        shown = checked.getpeercert()
        assert shown is not None
        assert int(str(shown["serialNumber"]), 16) == leaf.serial
    server.close()


def test_a_pair_that_openssl_refuses_raises_our_error() -> None:
    pair = good(issue())
    other = CertificatePair(pair.chain, issue().key, pair.serial, pair.subject, pair.not_after)
    with pytest.raises(CertificateError, match="key values mismatch"):
        make_context(other)


# --- the listener -------------------------------------------------------------------------------------


Listening = Callable[[float], TlsListener]


@pytest.fixture
def listening(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    """Give a maker of listeners on no port; connections are handed to them."""
    made: list[TlsListener] = []
    monkeypatch.setattr("rtmpsrv.server.listener.bind", lambda address, port: socket.socket())

    def listen(handshake_s: float) -> TlsListener:
        nobody: Any = None  # the handshake does not ask the host
        made.append(TlsListener("127.0.0.1", 443, nobody, make_parts(handshake_s=handshake_s), context))
        return made[-1]

    yield listen
    for listener in made:
        listener.close()
        budget: Any = listener._parts.budget
        assert budget.held_of(TLS) == 0, "nothing is left of a handshake, whatever became of it"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.DEBUG, "rtmpsrv")
    return lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_good_handshake_gives_a_transport(listening: Listening) -> None:
    near, far = socket.socketpair()
    client = gevent.spawn(client_context().wrap_socket, far)
    opened = listening(5.0)._open(near, "192.0.2.1", monotonic())
    assert opened is not None
    opened.close()
    client.get().close()


def test_bytes_that_are_not_tls_end_the_connection_with_a_line(
    listening: Listening, lines: Callable[[], list[str]]
) -> None:
    listener = listening(5.0)
    near, far = socket.socketpair()
    far.sendall(b"\x03" + bytes(1536))
    assert listener._open(near, "192.0.2.1", monotonic()) is None
    assert near.fileno() == -1
    assert lines()[0].startswith("DEBUG TLS handshake failed with 192.0.2.1: ")
    assert lines()[1].startswith("INFO TLS handshakes failed: 1, the last with 192.0.2.1: ")
    far.close()


def test_who_speaks_plain_http_is_answered_where_that_is_understood(
    listening: Listening, lines: Callable[[], list[str]]
) -> None:
    listener = listening(5.0)
    listener.plain_answer = b"use https\n"
    near, far = socket.socketpair()
    far.settimeout(5)
    far.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert listener._open(near, "192.0.2.1", monotonic()) is None
    assert far.recv(100) == b"use https\n"
    assert far.recv(100) == b""
    far.close()
    assert lines()[0] == "DEBUG TLS handshake failed with 192.0.2.1: plain HTTP"


@pytest.mark.parametrize("resets", [False, True])
def test_a_probe_that_says_nothing_is_a_line_of_debug(
    listening: Listening, resets: bool, lines: Callable[[], list[str]]
) -> None:
    listener = listening(5.0)
    with socket.create_server(("127.0.0.1", 0)) as port:
        far = socket.create_connection(port.getsockname())
        near, _ = port.accept()
    if resets:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    assert listener._open(near, "192.0.2.1", monotonic()) is None
    assert near.fileno() == -1
    assert lines() == ["DEBUG 192.0.2.1 connected and left without a byte"]


@pytest.mark.parametrize("drip", [False, True])
def test_a_slow_handshake_ends_at_the_deadline_however_it_drips(
    listening: Listening, drip: bool, lines: Callable[[], list[str]]
) -> None:
    listener = listening(0.2)
    near, far = socket.socketpair()

    def send_slowly() -> None:
        far.sendall(b"\x16\x03\x01\x02\x00")
        while True:
            far.sendall(b"\x01")
            gevent.sleep(0.02)

    sender = gevent.spawn(send_slowly) if drip else None
    with gevent.Timeout(5):
        assert listener._open(near, "192.0.2.1", monotonic()) is None
    assert "no TLS handshake within 0.2 s" in lines()[0]
    if sender is not None:
        sender.kill()
    far.close()


def test_who_leaves_in_a_handshake_is_known_for_it(
    listening: Listening, lines: Callable[[], list[str]]
) -> None:
    near, far = socket.socketpair()
    far.sendall(b"\x16\x03\x01\x02\x00\x01")
    far.close()
    with gevent.Timeout(5):
        assert listening(5.0)._open(near, "192.0.2.1", monotonic()) is None
    assert lines()[0] == "DEBUG TLS handshake failed with 192.0.2.1: closed by the peer"


def test_time_before_the_handshake_counts(listening: Listening) -> None:
    listener = listening(10.0)
    near, far = socket.socketpair()
    with gevent.Timeout(5):
        assert listener._open(near, "192.0.2.1", monotonic() - 11) is None
    far.close()


def test_handshakes_end_at_once_when_the_server_stops(listening: Listening) -> None:
    listener = listening(30.0)
    near, far = socket.socketpair()
    running = listener.greenlets.spawn(listener._open, near, "192.0.2.1", monotonic())
    gevent.sleep(0.01)
    with gevent.Timeout(5):
        assert listener.stop_sessions("over", 5.0)
    assert running.dead
    assert near.fileno() == -1
    far.close()
