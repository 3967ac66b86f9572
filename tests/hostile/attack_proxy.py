"""Attacks by PROXY headers, by somebody whom the server takes for a proxy."""

from __future__ import annotations

from rtmpsrv.server.proxy_protocol import MAX_REST_BYTES, SIGNATURE

from .attacker import Attack
from .cases import Surroundings, attack
from .wire import HOSTILE_ADDRESS, Connection

PROXY = Surroundings((("PROXY_PROTOCOL_FROM", HOSTILE_ADDRESS),))
SIDE_BY_SIDE = 4
WAITING = 300
V4 = bytes(8) + b"\x9c\x40\x07\x8f"
FULL = SIGNATURE + b"\x21\x11" + MAX_REST_BYTES.to_bytes(2, "big")


@attack(PROXY)
def proxy_headers_that_drip(this: Attack) -> None:
    """Hold three hundred connections in the middle of a PROXY header, each fed a byte at a time."""
    held: list[Connection] = []
    for _ in range(WAITING):
        held.append(this.open())
        held[-1].send(FULL + V4)
    this.flood(held, b"\0", rate=WAITING)


@attack(PROXY)
def proxy_headers_of_many_values(this: Attack) -> None:
    """Send PROXY headers as long as may be, all values empty but a wrong checksum, four side by side."""
    checksum = b"\x03\0\4" + bytes(4)
    empty = (MAX_REST_BYTES - len(V4) - len(checksum)) // 3
    rest = V4 + b"\x04\0\0" * empty + checksum
    header = (SIGNATURE + b"\x21\x11" + len(rest).to_bytes(2, "big") + rest) * 2

    def once() -> None:
        connection = this.open()
        connection.send(header)
        with this.may_be_cut():
            connection.receive()

    this.together(SIDE_BY_SIDE, once)


@attack(PROXY)
def proxy_lines_without_end(this: Attack) -> None:
    """Send PROXY lines that go on and on, four side by side."""

    def once() -> None:
        connection = this.open()
        connection.send(b"PROXY UNKNOWN" + b" " * 65536)
        with this.may_be_cut():
            connection.receive()

    this.together(SIDE_BY_SIDE, once)


@attack(PROXY)
def proxy_headers_of_ever_new_clients(this: Attack) -> None:
    """Name a new client with each connection, of all that there may be, and leave; four side by side."""

    def once() -> None:
        connection = this.open()
        number = connection.raw.getsockname()[1]
        connection.send(f"PROXY TCP4 10.9.{number >> 8}.{number & 255} 10.0.0.1 1 2\r\n".encode())
        connection.shake()

    this.together(SIDE_BY_SIDE, once)
