"""Attacks by RTMPS: what TLS adds is work as well."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack

from .attack_chunks import FRAME
from .attack_tiny import SMALL_KEYFRAME
from .attacker import Attack
from .cases import attack
from .wire import HOST, HOSTILE_ADDRESS, Connection, again, anybody, head

SIDE_BY_SIDE = 4


@attack()
def tls_handshakes(this: Attack) -> None:
    """Shake hands by TLS and leave, four side by side."""
    this.together(SIDE_BY_SIDE, lambda: this.open(secure=True).close())


@attack()
def tls_handshakes_half_done(this: Attack) -> None:
    """Send a ClientHello, let the server answer it, and leave; four side by side."""
    hello = _hello()

    def once() -> None:
        with socket.create_connection((HOST, this.tls_port), 2, source_address=(HOSTILE_ADDRESS, 0)) as raw:
            raw.sendall(hello)
            raw.recv(1)

    this.together(SIDE_BY_SIDE, once)


@attack()
def tls_garbage(this: Attack) -> None:
    """Send what is no TLS, four side by side."""

    def once() -> None:
        with socket.create_connection((HOST, this.tls_port), 2, source_address=(HOSTILE_ADDRESS, 0)) as raw:
            raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
            raw.recv(100)

    this.together(SIDE_BY_SIDE, once)


@attack()
def tls_records_of_one_byte(this: Attack) -> None:
    """Publish empty audio over RTMPS, each byte in a record of its own."""
    publisher = this.publisher(secure=True)
    publisher.send(head(messages.AUDIO, 0))
    this.flood([publisher], again(), piece=1)


@attack()
def tls_tiny_chunks(this: Attack) -> None:
    """Publish frames in chunks of one byte over RTMPS."""
    publisher = this.publisher(secure=True)
    publisher.send(messages.set_chunk_size(1))
    this.flood([publisher], pack(6, 0, messages.VIDEO, 1, FRAME, 1))


@attack()
def tls_tiny_keyframes(this: Attack) -> None:
    """Publish 1-byte keyframes over RTMPS to three players by RTMPS."""
    app = this.app()
    publisher = this.publisher(app, secure=True)
    watching = [this.player(app, secure=True) for _ in range(3)]
    publisher.send(head(messages.VIDEO, 1) + SMALL_KEYFRAME)
    this.flood([publisher], (again() + SMALL_KEYFRAME), readers=watching)


@attack()
def tls_pings_whose_answers_nobody_reads(this: Attack) -> None:
    """Ask for pongs over RTMPS, as players of the good stream that read nothing."""
    players: list[Connection] = [this.player("good", secure=True, receive_buffer=4096) for _ in range(3)]
    this.flood(players, messages.user_control(messages.PING_REQUEST, 7), reads=False)


def _hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = anybody().wrap_bio(incoming, outgoing)
    with suppress(ssl.SSLWantReadError):  # it waits for the answer now
        tls.do_handshake()
    return outgoing.read()
